"""Exhibits as links, and what the links show: page, picture or frame with the place marked, crop, clip, words."""

from __future__ import annotations

import asyncio
import pathlib
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Request, Response

from rag.errors import MediaError, QueryError
from rag.knowledge_base import KnowledgeBase
from rag.media import View
from rag.segments import describe_place, playable_span
from rag.server import delivery
from rag.server.openai.markdown import EvidenceLink
from rag.server.problems import Problem
from rag.server.signed_links import LinkTarget, SignedLinks, ViewName
from rag.server.state import server_state
from rag.server.streams import until_gone
from rag.types import PIXELS, Evidence, Hit, Locator, PageBox, TimeSpan

_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; sandbox",
    "Cross-Origin-Resource-Policy": "cross-origin",  # assistants show pictures on pages of their own
}

_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "What is shown, played or read.",
        "content": {name: {} for name in ("image/jpeg", "image/png", "video/mp4", "text/plain")},
    },
    206: {"description": "The ranges that were asked for."},
    304: {"description": "Nothing has changed since the `ETag` that was sent as `If-None-Match`."},
}

# `ViewName`, spelled out: so the OpenAPI description lists the values in one place.
_AnyView = Literal["marked", "crop", "thumbnail", "clip", "waveform", "text"]

router = APIRouter(tags=["evidence"])


@dataclass(frozen=True)
class EvidenceLinker:
    """Makes links to the exhibits of one knowledge base for one caller.

    Attributes:
        name: of the knowledge base.
        base: the knowledge base.
        links: signs.
        origin: what stands before a path, such as ``https://exhibit.example``.
        who: id of the caller's key.
    """

    name: str
    base: KnowledgeBase
    links: SignedLinks
    origin: str
    who: str

    def views(self, hit: Hit) -> dict[str, str]:
        """URLs under which a hit can be seen, played and read, by view."""
        return {
            view: self.origin + self.links.path(LinkTarget(self.name, hit.segment.asset_id, locator), view, self.who)
            for view, locator in views(hit).items()
        }

    async def linked(self, cited: Sequence[Evidence]) -> dict[int, EvidenceLink]:
        """A link for each exhibit by its number; pictures are made now, so that what is promised is there."""
        found = await asyncio.gather(*(asyncio.to_thread(self._linked, exhibit.hit) for exhibit in cited))
        return {exhibit.number: link for exhibit, link in zip(cited, found, strict=True)}

    def _linked(self, hit: Hit) -> EvidenceLink:
        urls, places = self.views(hit), views(hit)
        made: tuple[View, ...] = ("marked", "crop")
        for view in made:
            if view in urls:
                try:
                    self.base.media.rendering(hit.segment.asset_id, places[view], view)
                except (MediaError, QueryError):  # a slide has no picture, a file may have gone
                    del urls[view]
        best = next((urls[view] for view in ("clip", "marked", "text") if view in urls), "")
        return EvidenceLink(best, describe_place(hit), urls.get("crop", "") if hit.seen else "", urls)


def views(hit: Hit) -> dict[ViewName, Locator]:
    """The views that a hit has, each with the place that it shows."""
    segment, seen = hit.segment, hit.seen
    found: dict[ViewName, Locator] = {}
    if seen or isinstance(segment.locator, PageBox):
        place = seen.locator if seen else segment.locator
        found |= {"marked": place, "crop": place, "thumbnail": place}
    if span := playable_span(segment):
        found["clip"] = span
        if segment.modality == "audio":
            found["waveform"] = span
    if segment.kind not in PIXELS or segment.searchable_text:
        found["text"] = segment.locator
    return found


@router.head("/evidence/{token}/{view}", include_in_schema=False)
@router.get(
    "/evidence/{token}/{view}",
    summary="Show, play or read a cited place",
    response_class=Response,
    responses=_RESPONSES,
)
async def show_evidence(
    request: Request,
    token: Annotated[str, Path(max_length=2000, description="From a link that this server made.")],
    view: Annotated[_AnyView, Path(description="`marked`: the page, picture or frame with the place marked.")],
) -> Response:
    """A page, picture or frame (JPEG), a clip (MP4, with range requests), a waveform (PNG), or the words of a place.

    Links are made by search and answers, signed, and end after a day.
    """
    state = server_state(request.app)
    access = state.access
    opened = access.links.opened(token)
    base = await asyncio.to_thread(access.shown, opened.place.base, opened.who)
    headers = _HEADERS | {"Cache-Control": f"private, max-age={max(opened.until - int(time.time()), 0)}, immutable"}
    if view == "text":
        return delivery.text(request, await asyncio.to_thread(_words, base, opened.place), headers)
    made = asyncio.to_thread(_rendered, base, opened.place, view)
    file = await until_gone(request, made, state.gates.render)
    return delivery.file(request, file, headers)


def _rendered(base: KnowledgeBase, place: LinkTarget, view: View) -> pathlib.Path:
    try:
        return base.media.rendering(place.asset_id, place.locator, view)
    except QueryError as error:
        raise _gone() from error


def _gone() -> Problem:
    return Problem(404, "What this link leads to is not in the knowledge base any more.", code="evidence_not_found")


def _words(base: KnowledgeBase, place: LinkTarget) -> str:
    """What is read or said at a place; of a moment, all that is said in its seconds."""
    found = [hit.segment for hit in base.contents.segments_of(place.asset_id)]
    here = [segment for segment in found if segment.locator == place.locator]
    if not here and isinstance(place.locator, TimeSpan):
        span = place.locator
        spoken = ((segment, segment.locator) for segment in found)
        here = [
            s for s, at in spoken if isinstance(at, TimeSpan) and at.start_s < span.end_s and span.start_s < at.end_s
        ]
    texts = [segment.searchable_text for segment in here if segment.searchable_text]
    if not texts:
        raise _gone()
    return "\n\n".join(texts)
