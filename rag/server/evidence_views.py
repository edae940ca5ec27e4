"""Links to evidence, and the routes that they open: marked page, picture or frame, crop, clip, waveform, text."""

from __future__ import annotations

import asyncio
import pathlib
import time
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Request, Response

from rag.errors import MediaError, QueryError
from rag.knowledge_base import KnowledgeBase
from rag.media import View
from rag.presentation.verdicts import narrowed, visible_place
from rag.segments import describe_place, playable_span
from rag.server import delivery
from rag.server.openai.markdown import EvidenceLink
from rag.server.problems import HTTPProblem
from rag.server.signed_links import LinkTarget, SignedLinks, ViewName
from rag.server.state import server_state
from rag.server.streams import until_gone
from rag.types import PIXELS, Answer, Hit, Locator, PageBox, TimeSpan

_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; sandbox",
    "Cross-Origin-Resource-Policy": "cross-origin",  # assistants show pictures on pages of their own
}

_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The picture, clip or text.",
        "content": {name: {} for name in ("image/jpeg", "image/png", "video/mp4", "text/plain")},
    },
    206: {"description": "The requested ranges."},
    304: {"description": "Unchanged since the `ETag` that was sent as `If-None-Match`."},
}

# `ViewName` spelled out, so that the OpenAPI description lists all values in one place.
_AnyView = Literal["marked", "crop", "thumbnail", "clip", "waveform", "text"]

router = APIRouter(tags=["evidence"])


@dataclass(frozen=True)
class EvidenceLinker:
    """Makes one caller's links to the evidence of one knowledge base.

    Attributes:
        name: name of the knowledge base.
        base: the knowledge base.
        links: signs the links.
        origin: start of each URL, such as ``https://exhibit.example``.
        key_id: id of the caller's key; empty if none is needed.
    """

    name: str
    base: KnowledgeBase
    links: SignedLinks
    origin: str
    key_id: str

    def url(self, asset_id: str, locator: Locator, view: ViewName) -> str:
        """Return the URL of a view of a place."""
        return self.origin + self.links.path(LinkTarget(self.name, asset_id, locator), view, self.key_id)

    def view_urls(self, hit: Hit, narrower: Locator | None = None) -> dict[str, str]:
        """Return the URL of each view of a hit; `narrower` as in `view_places`."""
        places = view_places(hit, narrower)
        return {view: self.url(hit.segment.asset_id, locator, view) for view, locator in places.items()}

    async def link_evidence(self, answer: Answer) -> dict[int, EvidenceLink]:
        """Return a link for each piece of evidence that an answer cites, by number.

        Its pictures are rendered now, so that every link works.
        """
        links = (
            asyncio.to_thread(self._link, evidence.hit, narrowed(answer, evidence.number).locator)
            for evidence in answer.cited
        )
        made = await asyncio.gather(*links)
        return {evidence.number: link for evidence, link in zip(answer.cited, made, strict=True)}

    def _link(self, hit: Hit, narrower: Locator | None) -> EvidenceLink:
        urls, places = self.view_urls(hit, narrower), view_places(hit, narrower)
        pictures: tuple[View, ...] = ("marked", "crop")
        for view in pictures:
            if view in urls:
                try:
                    self.base.media.rendering(hit.segment.asset_id, places[view], view)
                except (MediaError, QueryError):  # a slide has no picture; a file may be gone
                    del urls[view]
        best = next((urls[view] for view in ("clip", "marked", "text") if view in urls), "")
        return EvidenceLink(best, describe_place(hit), urls.get("crop", "") if hit.picture_segment else "", urls)


def view_places(hit: Hit, narrower: Locator | None = None) -> dict[ViewName, Locator]:
    """Return the views of a hit, each with the place that it shows.

    Args:
        hit: the hit.
        narrower: the place in it that supports a statement, which is marked instead of all of it.
    """
    segment, seen = hit.segment, hit.picture_segment
    places: dict[ViewName, Locator] = {}
    if seen or isinstance(segment.locator, PageBox):
        place = seen.locator if seen else segment.locator
        places |= {"marked": visible_place(place, narrower), "crop": place, "thumbnail": place}
    if span := playable_span(segment):
        places["clip"] = span
        if segment.modality == "audio":
            places["waveform"] = span
    if segment.kind not in PIXELS or segment.searchable_text:
        places["text"] = segment.locator
    return places


@router.head("/evidence/{token}/{view}", include_in_schema=False)
@router.get(
    "/evidence/{token}/{view}",
    summary="Show, play or read a cited place",
    response_class=Response,
    responses=_RESPONSES,
)
async def show_evidence(
    request: Request,
    token: Annotated[str, Path(max_length=2000, description="Token of a link that this server made.")],
    view: Annotated[_AnyView, Path(description="`marked`: the page, picture or frame with the place marked.")],
) -> Response:
    """A page, picture or frame (JPEG), a clip (MP4, with range requests), a waveform (PNG), or the text of a place.

    Search and answers make the links. They are signed and expire after a day.
    """
    state = server_state(request.app)
    claims = state.access.links.verify(token)
    base = await asyncio.to_thread(state.access.base_of_link, claims.target.base, claims.key_id)
    headers = _HEADERS | {"Cache-Control": f"private, max-age={max(claims.until - int(time.time()), 0)}, immutable"}
    if view == "text":
        return delivery.send_text(request, await asyncio.to_thread(_read_text, base, claims.target), headers)
    rendering = asyncio.to_thread(_render, base, claims.target, view)
    file = await until_gone(request, rendering, state.gates.render)
    return delivery.send_file(request, file, headers)


def _render(base: KnowledgeBase, target: LinkTarget, view: View) -> pathlib.Path:
    try:
        return base.media.rendering(target.asset_id, target.locator, view)
    except QueryError as error:
        raise _not_found() from error


def _not_found() -> HTTPProblem:
    return HTTPProblem(404, "The evidence of this link is no longer in the knowledge base.", code="evidence_not_found")


def _read_text(base: KnowledgeBase, target: LinkTarget) -> str:
    """Return the text of a place; for a moment of a video, everything that is said during it."""
    segments = [hit.segment for hit in base.contents.segments_of(target.asset_id)]
    matching = [segment for segment in segments if segment.locator == target.locator]
    if not matching and isinstance(target.locator, TimeSpan):
        span = target.locator
        located = ((segment, segment.locator) for segment in segments)
        matching = [
            s for s, at in located if isinstance(at, TimeSpan) and at.start_s < span.end_s and span.start_s < at.end_s
        ]
    texts = [segment.searchable_text for segment in matching if segment.searchable_text]
    if not texts:
        raise _not_found()
    return "\n\n".join(texts)
