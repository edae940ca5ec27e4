"""The content of a place in a file as blocks of an MCP result: words, pictures, sound.

The id of a place is the id of an asset and a media fragment, either from a search or an answer, or of another place in
the same file. All blocks are made from the file itself; together they stay below a megabyte.
"""

from __future__ import annotations

import base64
import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Literal

from mcp.types import AudioContent, ContentBlock, ImageContent, TextContent
from PIL import Image

from rag import media
from rag.errors import QueryError, UnsupportedMedia
from rag.knowledge_base import KnowledgeBase
from rag.segments import KIND_NAMES, from_fragment, place
from rag.text import replace_surrogates
from rag.types import CharSpan, FrameRegion, Hit, ImageRegion, Locator, PageBox, Segment, TimeSpan

View = Literal["marked", "crop", "words"]

_PICTURE_PX, _FRAME_PX = 1200, 640
_PICTURE_BYTES, _FRAME_BYTES = 400_000, 70_000  # three frames and the sound are as much as a picture
_MOST_FRAMES = 3
_MOST_SOUND_S = 45.0
_WORDS_CHARS = 8000
_QUALITIES = (85, 70, 50, 30)


@dataclass(frozen=True)
class _Spot:
    """A place in a file, with the segments and frames there."""

    path: Path
    asset_id: str
    locator: Locator
    here: tuple[Segment, ...]
    frames: tuple[float, ...]


def evidence_blocks(base: KnowledgeBase, place_id: str, view: View, *, with_sound: bool = False) -> list[ContentBlock]:
    """Return the content of a place: words first, then pictures and sound.

    Args:
        base: the knowledge base.
        place_id: from `rag.mcp.tool_results.hit_id`, or an asset's id with another media fragment.
        view: the whole page or picture with the place marked, the place alone, or only its words.
        with_sound: whether to add sound; many clients reject a result that contains any.

    Raises:
        QueryError: there is no such place.
        MediaError: the file has gone, has changed since it was indexed, or cannot be read.
    """
    spot = _spot(base, place_id)
    if view == "words":
        return [_describe(spot)]
    media.check_same(spot.path, spot.asset_id)
    try:
        blocks = list(_media_blocks(spot, view, with_sound=with_sound))
    except UnsupportedMedia as error:  # slides cannot be drawn
        return [_describe(spot, str(error))]
    return [_describe(spot, _sound_note(spot.locator, with_sound=with_sound)), *blocks]


def _sound_note(locator: Locator, *, with_sound: bool) -> str:
    if not isinstance(locator, TimeSpan):
        return ""
    if not with_sound:
        return "Its sound comes with sound=true."
    return (
        f"The sound is of the first {_MOST_SOUND_S:.0f} s." if locator.end_s - locator.start_s > _MOST_SOUND_S else ""
    )


def _spot(base: KnowledgeBase, place_id: str) -> _Spot:
    asset_id, _, fragment = place_id.strip().partition("#")
    hits = base.contents.segments_of(asset_id)
    if not hits:
        raise QueryError(f"There is no evidence {place_id[:100]!r} here; use an id that search or ask returned.")
    locator = from_fragment(fragment)
    if isinstance(locator, ImageRegion) and hits[0].segment.modality != "image":
        raise QueryError("This names a whole file; say where in it, with #page=3 or #t=10,20 behind the id.")
    return _Spot(Path(hits[0].path), asset_id, locator, tuple(_here(hits, locator)), tuple(_frames(hits, locator)))


def _here(hits: Sequence[Hit], locator: Locator) -> list[Segment]:
    """Return the segment with this locator, or else all segments that overlap it."""
    segments = [hit.segment for hit in hits]
    same = [segment for segment in segments if segment.locator == locator]
    return same or [segment for segment in segments if _overlap(segment.locator, locator)]


def _overlap(one: Locator, other: Locator) -> bool:
    match one, other:
        case (PageBox(), PageBox()):
            return one.page == other.page
        case (CharSpan(), CharSpan()):
            return one.start < other.end and other.start < one.end
        case (TimeSpan(), TimeSpan()):
            return one.start_s < other.end_s and other.start_s < one.end_s
        case (TimeSpan(), FrameRegion()):
            return one.start_s <= other.at_s < one.end_s
        case (FrameRegion(), TimeSpan()):
            return other.start_s <= one.at_s < other.end_s
        case (ImageRegion(), ImageRegion()):
            return True
    return False


def _frames(hits: Sequence[Hit], locator: Locator) -> list[float]:
    """Return the times of a few stored frames within a span of a video, evenly chosen; by default its start."""
    if not isinstance(locator, TimeSpan) or hits[0].segment.modality != "video":
        return []
    places = (hit.segment.locator for hit in hits)
    times = sorted(
        {at.at_s for at in places if isinstance(at, FrameRegion) and locator.start_s <= at.at_s < locator.end_s}
    )
    step = max(len(times) / _MOST_FRAMES, 1.0)
    return [times[int(n * step)] for n in range(min(_MOST_FRAMES, len(times)))] or [locator.start_s]


def _media_blocks(spot: _Spot, view: View, *, with_sound: bool) -> Iterator[ContentBlock]:
    if isinstance(spot.locator, TimeSpan):
        for at_s in spot.frames:
            yield _encode_jpeg(media.open_picture(spot.path, FrameRegion(at_s)), _FRAME_PX, _FRAME_BYTES)
        if with_sound:
            yield from _sound_block(spot, spot.locator)
    elif not isinstance(spot.locator, CharSpan):
        draw = media.crop if view == "crop" else media.highlight
        yield _encode_jpeg(draw(spot.path, spot.locator), _PICTURE_PX, _PICTURE_BYTES)


def _sound_block(spot: _Spot, span: TimeSpan) -> Iterator[ContentBlock]:
    end_s = min(span.end_s, span.start_s + _MOST_SOUND_S)
    with contextlib.suppress(UnsupportedMedia) if spot.frames else contextlib.nullcontext():  # a video without sound
        mp3 = media.mp3(spot.path, TimeSpan(span.start_s, end_s))
        yield AudioContent(data=base64.b64encode(mp3).decode("ascii"), mime_type="audio/mpeg")


def _encode_jpeg(picture: Image.Image, most_px: int, most_bytes: int) -> ImageContent:
    """Encode a picture as JPEG, with lower quality and size until it fits."""
    image = picture.convert("RGB")
    image.thumbnail((most_px, 2 * most_px), Image.Resampling.LANCZOS)
    while True:
        for quality in _QUALITIES:
            buffer = BytesIO()
            image.save(buffer, "JPEG", quality=quality)
            if buffer.tell() <= most_bytes:
                return ImageContent(data=base64.b64encode(buffer.getvalue()).decode("ascii"), mime_type="image/jpeg")
        image = image.resize((max(image.width // 2, 1), max(image.height // 2, 1)))


def _words(segment: Segment, locator: Locator) -> str:
    """Return the words at a place; of longer speech only those within the span."""
    if isinstance(locator, TimeSpan) and segment.words:
        spoken = (word for word in segment.words if word.start_s < locator.end_s and locator.start_s < word.end_s)
        return " ".join(word.text.strip() for word in spoken)
    return segment.text


def _describe(spot: _Spot, note: str = "") -> TextContent:
    """Describe the place in text: kind, position, headings, captions, tags and words."""
    placeholder = Segment(spot.asset_id, 0, "text", "passage", spot.locator)
    kinds = ", ".join(dict.fromkeys(KIND_NAMES[segment.kind] for segment in spot.here))
    lines = [f"{kinds or 'Place'}: {' of '.join(part for part in (place(placeholder), spot.path.name) if part)}", note]
    lines += [f"Heading: {title}" for title in dict.fromkeys(s.title.partition(" › ")[2] for s in spot.here) if title]
    lines += [f"Caption: {segment.caption}" for segment in spot.here if segment.caption]
    tags = dict.fromkeys(tag for segment in spot.here for tag in segment.tags[:5])
    lines += [f"A classifier guesses: {', '.join(tags)}"] if tags else []
    if spot.frames:
        lines.append("Frames at " + ", ".join(f"{at_s:.1f} s" for at_s in spot.frames))
    words = "\n".join(text for segment in spot.here if (text := _words(segment, spot.locator)))
    cut = " … (cut)" if len(words) > _WORDS_CHARS else ""
    lines += [f"Words in it:\n{words[:_WORDS_CHARS]}{cut}"] if words else ["There are no words in it."]
    return TextContent(text=replace_surrogates("\n".join(line for line in lines if line)))
