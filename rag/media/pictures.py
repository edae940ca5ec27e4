"""Pictures of a place: the page, picture or frame, whole, cut out or with the place marked."""

from __future__ import annotations

import base64
from io import BytesIO
from pathlib import Path

from PIL import Image, ImageChops, ImageDraw

from rag.errors import MediaError, UnsupportedMedia
from rag.media.files import head_of
from rag.media.opening import MAX_PIXELS, check_pixels, frame_duration_s, open_image, open_pdf, render_page, rgb
from rag.media.seeking import frame_at
from rag.types import Box, FrameRegion, ImageRegion, Locator, PageBox, TimeSpan

PAGE_PX = 1800  # longest side of a rendered page or of a part of it
SHOWN_PX = 1200  # width at which a marked place is shown
_MAX_DPI = 300
_DRAFT_PX = 2400  # a larger JPEG is decoded at a half, a quarter or an eighth, while it stays above this
_WHOLE = Box(0, 0, 1, 1)
_INK, _WASH = (201, 106, 18), (255, 242, 176)


def open_picture(path: Path, locator: Locator, *, draft_px: int = _DRAFT_PX) -> Image.Image:
    """Return the whole page, picture or frame that a locator lies in: RGB, upright.

    The locator's box is ignored. For a `TimeSpan` in a video, it is the frame at its start.

    Args:
        path: of the file.
        locator: the place.
        draft_px: a larger JPEG is decoded at a half, a quarter or an eighth, while it stays above this.

    Raises:
        UnsupportedMedia: the place has no picture, such as characters of a text or a slide.
        MediaError: the file has gone, is damaged, or ends before the place.
    """
    match locator:
        case PageBox(page):
            return _page(path, page, _WHOLE)
        case ImageRegion():
            with open_image(path, MAX_PIXELS, path.name) as image:
                return rgb(image, draft_px)
        case FrameRegion(at_s):
            return _animation_frame(path, at_s) if _is_animation(head_of(path)) else frame_at(path, at_s)
        case TimeSpan(start_s):
            return frame_at(path, start_s)
    raise UnsupportedMedia(f"A place in the text of {path.name} has no picture; show its words.")


def crop(path: Path, locator: Locator, *, longest_px: int = PAGE_PX, draft_px: int = _DRAFT_PX) -> Image.Image:
    """Return the part in the locator's box, as sharp as the medium allows; the whole without a box.

    Args:
        path: of the file.
        locator: the place.
        longest_px: longest side of a part of a page.
        draft_px: of the whole picture, as in `open_picture`.

    Raises:
        MediaError: as `open_picture`.
    """
    box = _box(locator) or _WHOLE
    if isinstance(locator, PageBox):
        return _page(path, locator.page, box, longest_px)
    whole = open_picture(path, locator, draft_px=draft_px)
    return whole if box == _WHOLE else whole.crop(_pixels(box, whole.size))


def thumbnail(path: Path, locator: Locator, size: int) -> Image.Image:
    """Return the same as `crop`, with its longest side at most `size` pixels.

    Raises:
        MediaError: as `open_picture`.
    """
    picture = crop(path, locator)
    picture.thumbnail((size, size), Image.Resampling.LANCZOS)
    return picture


def highlight(path: Path, locator: Locator) -> Image.Image:
    """Return the page, picture or frame, at most `SHOWN_PX` wide, with the locator's box marked.

    Raises:
        MediaError: as `open_picture`.
    """
    picture = open_picture(path, locator)
    picture.thumbnail((SHOWN_PX, 2 * SHOWN_PX), Image.Resampling.LANCZOS)
    box = _box(locator)
    return picture if box is None else _mark(picture, box, as_paper=isinstance(locator, PageBox))


def data_uri(content: Image.Image | bytes, media_type: str = "image/jpeg") -> str:
    """Return a picture (JPEG; PNG if transparent) or the bytes of any medium as a ``data:`` URI."""
    if isinstance(content, Image.Image):
        media_type = "image/png" if content.mode in ("RGBA", "LA") else "image/jpeg"
        buffer = BytesIO()
        content.save(buffer, media_type.removeprefix("image/"), quality=82, optimize=True)
        content = buffer.getvalue()
    return f"data:{media_type};base64,{base64.b64encode(content).decode('ascii')}"


def _page(path: Path, number: int, box: Box, longest_px: int = PAGE_PX) -> Image.Image:
    head = head_of(path)
    if b"%PDF-" in head:
        with open_pdf(path, path.name) as document:
            if not 1 <= number <= len(document):
                raise _beyond(path, f"{len(document)} pages", f"page {number}")
            page = document[number - 1]
            try:
                return render_page(page, longest_px, box, dpi=_MAX_DPI)
            finally:
                page.close()
    if head[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return _tiff_page(path, number, box)
    raise UnsupportedMedia(f"Pages of {path.name} cannot be drawn; show their words, or print the file to PDF.")


def _tiff_page(path: Path, number: int, box: Box) -> Image.Image:
    with open_image(path, MAX_PIXELS, path.name) as image:
        pages = getattr(image, "n_frames", 1)
        if not 1 <= number <= pages:
            raise _beyond(path, f"{pages} pages", f"page {number}")
        image.seek(number - 1)
        check_pixels(image.size, MAX_PIXELS, path.name)
        whole = rgb(image, _DRAFT_PX)
    return whole if box == _WHOLE else whole.crop(_pixels(box, whole.size))


def _is_animation(head: bytes) -> bool:
    return head.startswith((b"GIF8", b"\x89PNG")) or head[8:12] == b"WEBP" or head[4:12] in (b"ftypavis", b"ftypavif")


def _animation_frame(path: Path, at_s: float) -> Image.Image:
    """Return the frame that an animation shows at this time."""
    with open_image(path, MAX_PIXELS, path.name) as image:
        end_s = 0.0
        for number in range(getattr(image, "n_frames", 1)):
            image.seek(number)
            end_s += frame_duration_s(image)
            # A millisecond, to which times are rounded.
            if at_s < end_s - 0.001:
                return rgb(image, _DRAFT_PX)
    raise _beyond(path, f"{end_s:.1f} s", f"second {at_s:.1f}")


def _box(locator: Locator) -> Box | None:
    return locator.box if isinstance(locator, (PageBox, ImageRegion, FrameRegion)) else None


def _pixels(box: Box, size: tuple[int, int]) -> tuple[int, int, int, int]:
    """Return the box in pixels, at least one wide and high, within the picture."""
    left, top = min(int(box.x * size[0]), size[0] - 1), min(int(box.y * size[1]), size[1] - 1)
    right, bottom = round((box.x + box.w) * size[0]), round((box.y + box.h) * size[1])
    return left, top, min(max(right, left + 1), size[0]), min(max(bottom, top + 1), size[1])


def _mark(picture: Image.Image, box: Box, *, as_paper: bool) -> Image.Image:
    """Outline the box; on paper also wash it in yellow, which leaves the print black."""
    margin = max(4, picture.width // 200)
    left, top, right, bottom = _pixels(box, picture.size)
    area = (
        max(left - margin, 0),
        max(top - margin, 0),
        min(right + margin, picture.width),
        min(bottom + margin, picture.height),
    )
    marked = picture.copy()
    if as_paper:
        part = marked.crop(area)
        marked.paste(ImageChops.multiply(part, Image.new("RGB", part.size, _WASH)), area)
    edge = (area[0], area[1], area[2] - 1, area[3] - 1)
    draw = ImageDraw.Draw(marked)
    stroke = max(2, picture.width // 400)
    if not as_paper:
        draw.rounded_rectangle(edge, radius=2 * stroke, outline="white", width=2 * stroke)
    draw.rounded_rectangle(edge, radius=2 * stroke, outline=_INK, width=stroke)
    return marked


def _beyond(path: Path, length: str, place: str) -> MediaError:
    return MediaError(f"{path.name} has {length} and no {place}; it has changed since, so ingest it again.")
