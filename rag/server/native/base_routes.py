"""Knowledge bases, their assets and segments."""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
import uuid
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request, Response

from rag.catalog.catalog import CatalogEntry
from rag.catalog.contents import Status
from rag.presentation.json_values import hit_json, name_of
from rag.server import uploads
from rag.server.access import Caller, CurrentCaller, ReadableBase, WritableBase
from rag.server.evidence_views import EvidenceLinker
from rag.server.native import schemas
from rag.server.problems import HTTPProblem
from rag.server.redaction import reason_of
from rag.server.state import server_state
from rag.text import escape_surrogates
from rag.types import PIXELS, FileResult, ImageRegion, Locator, Medium, PageBox

router = APIRouter(prefix="/api/bases", tags=["knowledge bases"])

Cursor = tuple[str, str]
_FAILED_FILES = uuid.UUID("0d3c0c0e-6d0f-5a53-8d5f-0f8d2a3f6a11")
AssetId = Annotated[str, Path(alias="id", max_length=100, description="Id of an asset, from the list of assets.")]


@router.get("", summary="List the knowledge bases that you may use")
async def list_bases(caller: CurrentCaller) -> schemas.Bases:
    """Each with its numbers of assets and segments."""
    linkers = [caller.open_base(name) for name in caller.names]
    statuses = await asyncio.gather(*(asyncio.to_thread(linker.base.status) for linker in linkers))
    return schemas.Bases(
        bases=[
            schemas.Base(**_count(caller, linker.name, status))
            for linker, status in zip(linkers, statuses, strict=True)
        ]
    )


@router.get("/{base}", summary="Get a knowledge base, with the files that failed")
async def get_base(caller: CurrentCaller, linker: ReadableBase) -> schemas.BaseDetails:
    """Its numbers, the files that failed and why, and the encoders it was made with."""
    status = await asyncio.to_thread(linker.base.status)
    failed = [
        schemas.Failed(id=failed_file_id(file), name=name_of(file.path), reason=reason_of(file))
        for file in status.failed
    ]
    return schemas.BaseDetails(
        **_count(caller, linker.name, status),
        failed=failed,
        encoders=dict(status.encoders),
        disk_bytes=status.disk_bytes,
    )


@router.get("/{base}/assets", summary="List the assets of a knowledge base, page by page")
async def list_assets(
    linker: ReadableBase,
    limit: Annotated[int, Query(ge=1, le=500, description="Most assets on a page.")] = 50,
    after: Annotated[str | None, Query(max_length=2000, description="`next` of the previous page.")] = None,
    q: Annotated[str, Query(max_length=200, description="Part of the name, ignoring case.")] = "",
    medium: Annotated[Medium | None, Query(description="Only assets of this medium.")] = None,
) -> schemas.Assets:
    """Sorted by name. While assets come and go, none appears twice, and none that stays is left out."""
    begin = _decode_cursor(after) if after else ("", "")
    matching = await asyncio.to_thread(_find_assets, linker, q, medium)
    page = [one for one in matching if _sort_key(one) > begin][: limit + 1]
    assets = await asyncio.to_thread(lambda: [_asset_json(linker, one) for one in page[:limit]])
    return schemas.Assets(assets=assets, next=_encode_cursor(page[limit - 1]) if len(page) > limit else None)


@router.get("/{base}/assets/{id}", summary="Get an asset")
async def get_asset(linker: ReadableBase, asset_id: AssetId) -> schemas.Asset:
    """The asset as in the list of assets."""
    return await asyncio.to_thread(lambda: _asset_json(linker, _find_asset(linker, asset_id)))


@router.get("/{base}/assets/{id}/segments", summary="List the segments of an asset")
async def list_segments(linker: ReadableBase, asset_id: AssetId) -> schemas.Segments:
    """In order: the passages of a document, the speech and frames of a video."""

    def read() -> list[schemas.HitSchema]:
        _find_asset(linker, asset_id)
        return [
            schemas.HitSchema(**hit_json(hit), views=linker.view_urls(hit))
            for hit in linker.base.contents.segments_of(asset_id)
        ]

    return schemas.Segments(segments=await asyncio.to_thread(read))


@router.delete("/{base}/assets/{id}", status_code=204, summary="Remove an asset, or a file that failed")
async def delete_asset(request: Request, linker: WritableBase, asset_id: AssetId) -> Response:
    """An uploaded file is deleted from disk; a file elsewhere stays.

    While a job runs, this happens between two of its files.
    """
    runner = server_state(request.app).runner

    def remove() -> None:
        failed = [file for file in linker.base.status().failed if failed_file_id(file) == asset_id]
        files = [file.path for file in failed] or [str(file) for file in linker.base.contents.files(asset_id)]
        if not files:
            raise _not_found(asset_id)
        uploads.delete(linker.base.path, files)
        linker.base.remove(files)

    await asyncio.wrap_future(runner.run_between_files(linker.name, remove))
    return Response(status_code=204)


def failed_file_id(file: FileResult) -> str:
    """Return the id of a file that failed, which takes the place of an asset's id."""
    return str(uuid.uuid5(_FAILED_FILES, escape_surrogates(file.path)))


def _count(caller: Caller, name: str, status: Status) -> dict[str, Any]:
    counts = {"assets": dict(status.assets), "segments": dict(status.segments)}
    return {"name": name, **counts, "may_write": caller.may_write(name)}


def _find_assets(linker: EvidenceLinker, part: str, medium: Medium | None) -> list[CatalogEntry]:
    folded = part.casefold()
    entries = linker.base.contents.assets()
    matching = (one for one in entries if folded in name_of(one.path).casefold() and medium in (None, one.medium))
    return sorted(matching, key=_sort_key)


def _find_asset(linker: EvidenceLinker, asset_id: str) -> CatalogEntry:
    entry = linker.base.contents.asset(asset_id) if _is_id(asset_id) else None
    if entry is None:
        raise _not_found(asset_id)
    return entry


def _not_found(asset_id: str) -> HTTPProblem:
    return HTTPProblem(
        404, f"There is no asset `{asset_id}` in this knowledge base.", code="asset_not_found", param="id"
    )


def _is_id(text: str) -> bool:
    return len(text) == 36 and text.isascii() and text.isprintable()


def _asset_json(linker: EvidenceLinker, entry: CatalogEntry) -> schemas.Asset:
    place = _thumbnail_place(linker, entry)
    return schemas.Asset(
        id=entry.id,
        name=name_of(entry.path),
        media_type=entry.media_type,
        medium=entry.medium,
        size=entry.size,
        segments=entry.segments,
        state="indexed" if entry.segments else "empty",
        thumbnail=linker.url(entry.id, place, "thumbnail") if place else None,
    )


def _thumbnail_place(linker: EvidenceLinker, entry: CatalogEntry) -> Locator | None:
    """Return the place that an asset's thumbnail shows: the first page, the picture, or the first indexed frame."""
    if entry.medium == "image":
        return ImageRegion()
    if entry.media_type == "application/pdf":
        return PageBox(1)
    if entry.medium == "video":
        segments = (hit.segment for hit in linker.base.contents.segments_of(entry.id))
        return next((segment.locator for segment in segments if segment.kind in PIXELS), None)
    return None


def _sort_key(entry: CatalogEntry) -> Cursor:
    return name_of(entry.path).casefold(), entry.id


def _encode_cursor(entry: CatalogEntry) -> str:
    return base64.urlsafe_b64encode(json.dumps(_sort_key(entry)).encode()).decode("ascii")


def _decode_cursor(cursor: str) -> Cursor:
    try:
        match json.loads(base64.urlsafe_b64decode(cursor)):
            case [str(name), str(asset_id)]:
                return name, asset_id
    except (binascii.Error, ValueError):
        pass
    raise HTTPProblem(400, "`after` is not the `next` of a page.", param="after")
