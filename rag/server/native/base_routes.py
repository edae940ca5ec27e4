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
from rag.contents import Status
from rag.presentation.json_values import hit_json, name_of
from rag.server import uploads
from rag.server.access import Caller, CurrentCaller, ReadableBase, WritableBase
from rag.server.evidence_views import EvidenceLinker
from rag.server.native import schemas
from rag.server.problems import Problem
from rag.server.redaction import reason_of
from rag.server.signed_links import LinkTarget
from rag.server.state import server_state
from rag.text import escape_surrogates
from rag.types import PIXELS, FileResult, ImageRegion, Locator, Medium, PageBox

router = APIRouter(prefix="/api/bases", tags=["knowledge bases"])

Cursor = tuple[str, str]
_FAILED = uuid.UUID("0d3c0c0e-6d0f-5a53-8d5f-0f8d2a3f6a11")
AssetId = Annotated[str, Path(alias="id", max_length=100, description="Of an asset, as the list of assets has it.")]


@router.get("", summary="The knowledge bases that you may use")
async def list_bases(caller: CurrentCaller) -> schemas.Bases:
    """Each with the number of its assets and segments."""
    viewers = [caller.viewer(name) for name in caller.names]
    found = await asyncio.gather(*(asyncio.to_thread(viewer.base.status) for viewer in viewers))
    return schemas.Bases(
        bases=[
            schemas.Base(**_counts(caller, viewer.name, status)) for viewer, status in zip(viewers, found, strict=True)
        ]
    )


@router.get("/{base}", summary="One knowledge base, with the files that failed")
async def get_base(caller: CurrentCaller, viewer: ReadableBase) -> schemas.BaseDetails:
    """What it holds, what could not be taken in and why, and with which encoders it was made."""
    status = await asyncio.to_thread(viewer.base.status)
    failed = [
        schemas.Failed(id=_failed_id(file), name=name_of(file.path), reason=reason_of(file)) for file in status.failed
    ]
    return schemas.BaseDetails(
        **_counts(caller, viewer.name, status),
        failed=failed,
        encoders=dict(status.encoders),
        disk_bytes=status.disk_bytes,
    )


@router.get("/{base}/assets", summary="The assets of a knowledge base, page by page")
async def list_assets(
    viewer: ReadableBase,
    limit: Annotated[int, Query(ge=1, le=500, description="Most assets on a page.")] = 50,
    after: Annotated[str | None, Query(max_length=2000, description="`next` of the page before.")] = None,
    q: Annotated[str, Query(max_length=200, description="Part of the name, in large or small letters.")] = "",
    medium: Annotated[Medium | None, Query(description="Only these.")] = None,
) -> schemas.Assets:
    """Sorted by name. While assets come and go, none is on two pages, and none that stays is left out."""
    begin = _read(after) if after else ("", "")
    found = await asyncio.to_thread(_found, viewer, q, medium)
    page = [one for one in found if _key(one) > begin][: limit + 1]
    shown = await asyncio.to_thread(lambda: [_asset(viewer, one) for one in page[:limit]])
    return schemas.Assets(assets=shown, next=_written(page[limit - 1]) if len(page) > limit else None)


@router.get("/{base}/assets/{id}", summary="One asset")
async def get_asset(viewer: ReadableBase, asset_id: AssetId) -> schemas.Asset:
    """As the list of assets has it."""
    return await asyncio.to_thread(lambda: _asset(viewer, _known(viewer, asset_id)))


@router.get("/{base}/assets/{id}/segments", summary="All places of an asset")
async def list_segments(viewer: ReadableBase, asset_id: AssetId) -> schemas.Segments:
    """In their order: the passages of a document, the words and frames of a film."""

    def read() -> list[schemas.Hit]:
        _known(viewer, asset_id)
        return [
            schemas.Hit(**hit_json(hit), views=viewer.views(hit)) for hit in viewer.base.contents.segments_of(asset_id)
        ]

    return schemas.Segments(segments=await asyncio.to_thread(read))


@router.delete("/{base}/assets/{id}", status_code=204, summary="Forget an asset, or a file that failed")
async def delete_asset(request: Request, viewer: WritableBase, asset_id: AssetId) -> Response:
    """What was uploaded is deleted from disk; a file that lies elsewhere is not touched.

    While a job runs, it is done between two of its files.
    """
    runner = server_state(request.app).runner

    def done() -> None:
        failed = [file for file in viewer.base.status().failed if _failed_id(file) == asset_id]
        files = [file.path for file in failed] or [str(file) for file in viewer.base.contents.files(asset_id)]
        if not files:
            raise _unknown(asset_id)
        uploads.delete(viewer.base.path, files)
        viewer.base.remove(files)

    await asyncio.wrap_future(runner.between(viewer.name, done))
    return Response(status_code=204)


def _counts(caller: Caller, name: str, status: Status) -> dict[str, Any]:
    counts = {"assets": dict(status.assets), "segments": dict(status.segments)}
    return {"name": name, **counts, "may_write": caller.may_write(name)}


def _found(viewer: EvidenceLinker, part: str, medium: Medium | None) -> list[CatalogEntry]:
    wanted = part.casefold()
    listed = viewer.base.contents.assets()
    kept = (one for one in listed if wanted in name_of(one.path).casefold() and medium in (None, one.medium))
    return sorted(kept, key=_key)


def _known(viewer: EvidenceLinker, asset_id: str) -> CatalogEntry:
    found = viewer.base.contents.asset(asset_id) if _is_id(asset_id) else None
    if found is None:
        raise _unknown(asset_id)
    return found


def _unknown(asset_id: str) -> Problem:
    return Problem(404, f"There is no asset `{asset_id}` in this knowledge base.", code="asset_not_found", param="id")


def _is_id(text: str) -> bool:
    return len(text) == 36 and text.isascii() and text.isprintable()


def _failed_id(file: FileResult) -> str:
    return str(uuid.uuid5(_FAILED, escape_surrogates(file.path)))


def _asset(viewer: EvidenceLinker, listed: CatalogEntry) -> schemas.Asset:
    place = _seen(viewer, listed)
    path = viewer.links.path(LinkTarget(viewer.name, listed.id, place), "thumbnail", viewer.who) if place else ""
    return schemas.Asset(
        id=listed.id,
        name=name_of(listed.path),
        media_type=listed.media_type,
        medium=listed.medium,
        size=listed.size,
        segments=listed.segments,
        state="indexed" if listed.segments else "empty",
        thumbnail=viewer.origin + path if path else None,
    )


def _seen(viewer: EvidenceLinker, listed: CatalogEntry) -> Locator | None:
    """What of an asset its thumbnail shows: the first page, the picture, the first frame that was looked at."""
    if listed.medium == "image":
        return ImageRegion()
    if listed.media_type == "application/pdf":
        return PageBox(1)
    if listed.medium == "video":
        found = (hit.segment for hit in viewer.base.contents.segments_of(listed.id))
        return next((segment.locator for segment in found if segment.kind in PIXELS), None)
    return None


def _key(listed: CatalogEntry) -> Cursor:
    return name_of(listed.path).casefold(), listed.id


def _written(listed: CatalogEntry) -> str:
    return base64.urlsafe_b64encode(json.dumps(_key(listed)).encode()).decode("ascii")


def _read(cursor: str) -> Cursor:
    try:
        match json.loads(base64.urlsafe_b64decode(cursor)):
            case [str(name), str(asset_id)]:
                return name, asset_id
    except (binascii.Error, ValueError):
        pass
    raise Problem(400, "`after` is not what a page gave as `next`.", param="after")
