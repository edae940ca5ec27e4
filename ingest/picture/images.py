"""Turn picture files into segments: one each; animations by frame, TIFFs by page, scans also by passage."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageFile, ImageFilter

from ingest.document.page_lines import TextLine, page_passages
from ingest.formats.identify import Measure
from ingest.picture.metadata import capture_fields, embedded_captions
from ingest.picture.ocr import PAGE_PX, PICTURE_PX, Ocr, OcrLine
from ingest.picture.pixels import DRAFT_PX, for_segment
from rag.config import Settings
from rag.errors import MediaTooLarge
from rag.media.opening import check_pages, check_pixels, exif, frame_duration_s, open_image, rgb
from rag.media.pictures import crop
from rag.types import (
    Box,
    CharSpan,
    Extracted,
    FrameRegion,
    ImageRegion,
    Locator,
    PageBox,
    Scalar,
    Segment,
    Source,
    TimeSpan,
)

_MAX_FRAMES, _MAX_FRAMES_KEPT = 3000, 40  # of an animation: decoded, and made segments
_MAX_FRAME_PIXELS = 2_000_000_000  # decoded in all to compare frames: about 20 s
_MAX_PIXELS_PER_BYTE = 5000  # limit for a TIFF with more pixels than that; a fax page with a few words has about 2,000
_SAME_FRAME = 6.0  # mean difference of 16 x 16 grey levels below which two frames look the same
_PAGE_LINES, _PAGE_WORDS = 12, 80  # a picture with more is a scanned page and is read again in full size
_PAGE_WORDS_SHOWN = 60
_CAPTION_CHARS = 2000
# A place that is read again: at most 300 DPI of a page 8 inches wide. Reading 2 million pixels takes 4 s of one core.
_LONGEST_PX, _MOST_PIXELS = 2400, 2_000_000
_SHARPEN = ImageFilter.UnsharpMask(radius=3, percent=150, threshold=2)
_MARGIN = 0.01  # of the whole, around the place
_SMALLEST = 0.1  # part of a side below which no larger draft of the whole is decoded
_ROTATED = (5, 6, 7, 8)  # EXIF orientations that exchange width and height
_REDUCED_COPY, _NEW_SUBFILE_TYPE = 1, 254  # TIFF 6.0, section 8


@dataclass(frozen=True, slots=True)
class _View:
    """One picture of a file: its pixels, its place, and its metadata."""

    pixels: Image.Image
    locator: Locator
    meta: dict[str, Scalar]


def measure(source: Source, settings: Settings) -> Measure:
    """Return the number of pictures in the file; for an animation, at most as many as become segments.

    Raises:
        MediaError: its header cannot be read, or states more than the settings allow.
    """
    with open_image(source.path, settings.max_pixels) as image:
        frames: int = getattr(image, "n_frames", 1)
        if image.format == "TIFF":
            _check_pages(image, frames, source.size, settings)
            return Measure(pages=frames, pictures=frames)
        return Measure(pictures=min(frames, _MAX_FRAMES_KEPT))


def segments(source: Source, settings: Settings, ocr: Ocr) -> Iterator[Extracted]:
    """Yield the pictures of a file with the text in them.

    Raises:
        MediaTooLarge: it has more pixels or pages than the settings allow.
        DamagedMedia: it is truncated or malformed.
    """
    ordinal = 0
    with open_image(source.path, settings.max_pixels) as image:
        captions = dict.fromkeys([*source.captions, *embedded_captions(image)])
        caption = "\n".join(captions)[:_CAPTION_CHARS]
        for view in _views(image, source.size, settings):
            lines = _read_text(view.pixels, ocr) if settings.ocr != "off" else []
            is_page = sum(len(line.text.split()) for line in lines) >= _PAGE_WORDS
            words = " ".join(line.text for line in lines).split() if is_page else []
            text = " ".join(words[:_PAGE_WORDS_SHOWN]) if is_page else "\n".join(line.text for line in lines)
            segment = Segment(
                source.asset_id,
                ordinal,
                "image",
                "picture",
                view.locator,
                text=text,
                caption=caption,
                title=source.title,
                meta={**source.fields, **view.meta},
            )
            yield Extracted(segment, for_segment(view.pixels))
            ordinal += 1
            for passage in _passages(source, view, lines, ordinal) if is_page else ():
                yield Extracted(passage)
                ordinal += 1


def first_picture(source: Source, settings: Settings) -> Image.Image:
    """Return the first picture of a file, upright in RGB, in the size in which pages are read.

    Raises:
        MediaError: see `segments`.
    """
    with open_image(source.path, settings.max_pixels) as image:
        pixels = rgb(image)
    pixels.thumbnail((PAGE_PX, PAGE_PX), Image.Resampling.LANCZOS)
    return pixels


def lines_within(path: Path, locator: Locator, ocr: Ocr, *, sharpened: bool) -> list[OcrLine]:
    """Return the lines of text in a place of any file with pages, pictures or frames, read larger than at ingest.

    Args:
        path: of the file.
        locator: the page, picture or frame, or a part of it.
        ocr: any.
        sharpened: whether to sharpen blurred letters.

    Returns:
        The lines in reading order, with boxes in fractions of the whole page, picture or frame.

    Raises:
        UnsupportedMedia: the place has no picture.
        MediaError: the file has gone, is damaged, or ends before the place.
    """
    wide = _with_margin(locator)
    box = None if isinstance(wide, CharSpan | TimeSpan) else wide.box
    draft_px = _LONGEST_PX if box is None else round(_LONGEST_PX / max(box.w, box.h, _SMALLEST))
    picture = crop(path, wide, longest_px=_LONGEST_PX, draft_px=draft_px)
    scale = min(1.0, (_MOST_PIXELS / (picture.width * picture.height)) ** 0.5)
    # Enlarging beyond what helps small letters costs time and reads no better.
    longest_px = min(_LONGEST_PX, max(PICTURE_PX, round(scale * max(picture.size))))
    lines = ocr.read(picture.filter(_SHARPEN) if sharpened else picture, longest_px=longest_px)
    return lines if box is None else [replace(line, box=_within(line.box, box)) for line in lines]


def _with_margin(locator: Locator) -> Locator:
    """Return the place with a margin: boxes of text touch its letters."""
    if isinstance(locator, CharSpan | TimeSpan) or locator.box is None:
        return locator
    box = locator.box
    left, top = max(box.x - _MARGIN, 0.0), max(box.y - _MARGIN, 0.0)
    right, bottom = min(box.x + box.w + _MARGIN, 1.0), min(box.y + box.h + _MARGIN, 1.0)
    return replace(locator, box=Box(left, top, right - left, bottom - top))


def _within(part: Box, whole: Box) -> Box:
    """Return a box in fractions of a part as fractions of the whole."""
    return Box(whole.x + part.x * whole.w, whole.y + part.y * whole.h, part.w * whole.w, part.h * whole.h)


def _views(image: ImageFile.ImageFile, size: int, settings: Settings) -> Iterator[_View]:
    frames = getattr(image, "n_frames", 1)
    if frames == 1 or image.format == "MPO":  # further pictures of an MPO are previews
        known = _full_size(image) | capture_fields(image)  # before decoding, which may scale a JPEG down
        yield _View(rgb(image, DRAFT_PX), ImageRegion(), known)
    elif image.format == "TIFF":
        _check_pages(image, frames, size, settings)
        yield from _pages(image, frames)
    else:
        yield from _frames(image, frames, settings)


def _full_size(image: ImageFile.ImageFile) -> dict[str, Scalar]:
    """Return width and height of the upright picture."""
    width, height = image.size
    if exif(image).get(ExifTags.Base.Orientation, 1) in _ROTATED:
        width, height = height, width
    return {"width_px": width, "height_px": height}


def _check_pages(image: ImageFile.ImageFile, pages: int, size: int, settings: Settings) -> None:
    """Refuse, by its headers, a TIFF with too many pages or pixels; a small file can have both if pages share a strip.

    Raises:
        MediaTooLarge: it is over a limit.
    """
    check_pages(pages, settings.max_pages)
    pixels = 0
    for number in range(pages):
        image.seek(number)
        check_pixels(image.size, settings.max_pixels)
        pixels += image.width * image.height
    if pixels > max(_MAX_FRAME_PIXELS, size * _MAX_PIXELS_PER_BYTE):
        raise MediaTooLarge(f"Its pages have {pixels:,} pixels in all, far too many for {size:,} bytes; split it.")


def _pages(image: ImageFile.ImageFile, pages: int) -> Iterator[_View]:
    for number in range(pages):
        image.seek(number)
        if int(image.tag_v2.get(_NEW_SUBFILE_TYPE, 0)) & _REDUCED_COPY:  # type: ignore[attr-defined]
            continue
        pixels = rgb(image, DRAFT_PX)
        yield _View(
            pixels, PageBox(number + 1), {"page": number + 1, "width_px": pixels.width, "height_px": pixels.height}
        )


def _frames(image: ImageFile.ImageFile, frames: int, settings: Settings) -> Iterator[_View]:
    """Yield the frames of an animation that differ from the one before, evenly thinned if there are too many."""
    distinct: list[tuple[int, float]] = []
    last: NDArray[np.float32] | None = None
    at_s = 0.0
    pixels_each = image.width * image.height
    for number in range(min(frames, _MAX_FRAMES, max(_MAX_FRAMES_KEPT, _MAX_FRAME_PIXELS // pixels_each))):
        image.seek(number)
        check_pixels(image.size, settings.max_pixels)
        thumbnail = _thumbnail(image)
        if last is None or float(np.abs(thumbnail - last).mean()) >= _SAME_FRAME:
            distinct.append((number, at_s))
            last = thumbnail
        at_s += frame_duration_s(image)
    step = -(-len(distinct) // _MAX_FRAMES_KEPT)
    for number, start_s in distinct[::step]:
        image.seek(number)
        pixels = rgb(image, DRAFT_PX)
        yield _View(
            pixels,
            FrameRegion(start_s),
            {"start_s": round(start_s, 3), "width_px": pixels.width, "height_px": pixels.height},
        )


def _thumbnail(image: Image.Image) -> NDArray[np.float32]:
    small = image.convert("RGBA").resize((16, 16), Image.Resampling.BOX)
    paper = Image.new("RGBA", small.size, "white")
    return np.asarray(Image.alpha_composite(paper, small).convert("L"), dtype=np.float32)


def _read_text(pixels: Image.Image, ocr: Ocr) -> list[OcrLine]:
    lines = ocr.read(pixels)
    if len(lines) >= _PAGE_LINES and max(pixels.size) > PAGE_PX * 0.8:
        return ocr.read(pixels, longest_px=PAGE_PX)
    return lines


def _passages(source: Source, view: _View, lines: list[OcrLine], ordinal: int) -> Iterator[Segment]:
    printed = [TextLine(line.text, line.box, size=line.box.h) for line in lines]
    for number, passage in enumerate(page_passages(printed)):
        match view.locator:
            case PageBox(page):
                locator: Locator = PageBox(page, passage.box)
            case FrameRegion(at_s):
                locator = FrameRegion(at_s, passage.box)
            case _:
                locator = ImageRegion(passage.box)
        meta: dict[str, Scalar] = {"heading": passage.heading} if passage.heading else {}
        yield Segment(
            source.asset_id,
            ordinal + number,
            "image",
            "passage",
            locator,
            text=passage.text,
            title=source.title,
            meta=meta | {"ocr": True},
        )
