"""Open files with Pillow, PDFium and PyAV, and return their pictures as upright RGB, for ingest, encoders and views.

Files are untrusted: sizes are checked by headers, and the errors of these libraries are mapped only here. Messages
begin with the name that the caller gives, or with "It" if the file is named beside them.
Threads may share all of it: nothing changes the process, and PDFium works for one thread at a time.
"""

from __future__ import annotations

import errno
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from mmap import ACCESS_READ, mmap
from pathlib import Path
from threading import RLock
from typing import IO, TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageFile, ImageOps, UnidentifiedImageError

from rag.errors import DamagedMedia, MediaError, MediaTooLarge, ProtectedMedia, UnsupportedMedia
from rag.types import Box

if TYPE_CHECKING:
    from av import AudioFrame, AudioStream, VideoFrame, VideoStream
    from av.container import InputContainer
    from pypdfium2 import PdfDocument, PdfPage

MAX_PIXELS = 178_956_970  # above this Pillow assumes a decompression bomb
_PICTURE_FORMATS = ("PNG", "JPEG", "GIF", "WEBP", "TIFF", "BMP", "AVIF")
# What Pillow's decoders raise for malformed files, found by flipping bytes; libavif's errors are RuntimeErrors.
_PILLOW_ERRORS = (
    OSError,
    EOFError,
    SyntaxError,
    ValueError,
    LookupError,
    TypeError,
    ArithmeticError,
    RuntimeError,
    struct.error,
)
# Demuxers that read one local file; playlists (HLS, DASH, concat) could name other files or hosts.
_AV_FORMATS = (
    "aac,ac3,aiff,amr,amrnb,amrwb,asf,au,avi,caf,dts,eac3,flac,flv,h264,hevc,matroska,webm,mov,mp4,m4a,3gp,3g2,mj2,mp3,"
    "mpeg,mpegts,mpegvideo,ogg,rm,swf,tta,w64,wav,wv"
)
_TURNS = {90: Image.Transpose.ROTATE_90, 180: Image.Transpose.ROTATE_180, 270: Image.Transpose.ROTATE_270}
_PDFIUM = RLock()


@contextmanager
def open_image(file: Path | IO[bytes], max_pixels: int, name: str = "It") -> Iterator[ImageFile.ImageFile]:
    """Open a picture and check its size by its header; in the body, too, Pillow's errors become `MediaError`s.

    Raises:
        MediaTooLarge: more than `max_pixels`, or than Pillow opens.
        DamagedMedia: truncated, malformed or not a picture.
        ProtectedMedia: it may not be read.
        MediaError: it has gone.
    """
    try:
        with read_errors(file), Image.open(file, formats=_PICTURE_FORMATS) as image:
            check_pixels(image.size, max_pixels, name)
            yield image
    except Image.DecompressionBombError as error:
        raise MediaTooLarge(f"{name} has more than {MAX_PIXELS:,} pixels; scale it down.") from error
    except MemoryError as error:
        raise MediaTooLarge(f"{name} needs more memory than there is; scale it down.") from error
    except UnidentifiedImageError as error:
        raise DamagedMedia(f"{name} cannot be read as a picture; it is truncated or malformed.") from error
    except _PILLOW_ERRORS as error:
        raise DamagedMedia(f"{name} cannot be decoded ({error}); it is truncated or malformed.") from error


@contextmanager
def open_pdf(path: Path, name: str = "It") -> Iterator[PdfDocument]:
    """Open a PDF; in the body, too, errors of PDFium become `MediaError`s. Other threads wait until it is closed.

    Raises:
        ProtectedMedia: it needs a password.
        DamagedMedia: truncated or malformed.
        UnsupportedMedia: a security handler that PDFium does not know.
    """
    import pypdfium2
    import pypdfium2.raw as pdfium

    try:
        with _PDFIUM, pypdfium2.PdfDocument(path) as document:
            yield document
    except pypdfium2.PdfiumError as error:
        # PDFium keeps its last error: one about a password may belong to the file before.
        if error.err_code == pdfium.FPDF_ERR_PASSWORD and _is_encrypted(path):
            raise ProtectedMedia(f"{name} needs a password; save a copy without one.") from error
        if error.err_code == pdfium.FPDF_ERR_SECURITY:
            raise UnsupportedMedia(
                f"{name} is encrypted in a way that is not read here; print it to a new PDF."
            ) from error
        raise DamagedMedia(f"{name} cannot be read as PDF ({error}); it is truncated or malformed.") from error


@contextmanager
def open_av(path: Path, name: str = "It") -> Iterator[InputContainer]:
    """Open a recording or video; in the body, too, errors of PyAV become `MediaError`s.

    Raises:
        UnsupportedMedia: no demuxer or decoder for it.
        DamagedMedia: truncated or malformed.
        ProtectedMedia: it may not be read.
        MediaError: it has gone.
    """
    import av

    options = {"format_whitelist": _AV_FORMATS, "protocol_whitelist": "file"}
    try:
        with read_errors(path), av.open(f"file:{path}", options=options, metadata_errors="replace") as container:
            yield container
    except av.FFmpegError as error:
        raise _av_error(name, error) from error


@contextmanager
def read_errors(file: Path | IO[bytes]) -> Iterator[None]:
    """Turn the system's errors about a file that it does not open into `MediaError`s.

    Raises:
        MediaError: it has gone.
        ProtectedMedia: it may not be read.
    """
    try:
        yield
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
        raise MediaError(f"The file {file} has gone; ingest its folder again, or put it back.") from error
    except PermissionError as error:
        raise ProtectedMedia(
            f"You have no permission to read {file}; change its permissions or run as its owner."
        ) from error


def check_pixels(size: tuple[int, int], max_pixels: int, name: str = "It") -> None:
    """Refuse a picture that would be too large when decoded.

    Raises:
        MediaTooLarge: more than `max_pixels`.
    """
    pixels = size[0] * size[1]
    if pixels > max_pixels:
        way_out = ", or raise EXHIBIT_MAX_PIXELS" if pixels <= MAX_PIXELS else ""
        raise MediaTooLarge(
            f"{name} has {size[0]:,} x {size[1]:,} pixels, more than the limit of {max_pixels:,}; "
            f"scale it down{way_out}."
        )


def check_pages(pages: int, max_pages: int) -> None:
    """Refuse a file with too many pages.

    Raises:
        MediaTooLarge: more than `max_pages`.
    """
    if pages > max_pages:
        raise MediaTooLarge(
            f"It has {pages:,} pages, more than the limit of {max_pages:,}; split it, or raise EXHIBIT_MAX_PAGES."
        )


def exif(image: Image.Image) -> Image.Exif:
    """Return the picture's EXIF, empty if it is damaged."""
    if image.format == "PNG":
        image.load()  # EXIF may follow the pixels, and errors in them count
    try:
        return image.getexif()
    except _PILLOW_ERRORS:
        return Image.Exif()


def frame_duration_s(image: Image.Image) -> float:
    """Return how long the current frame of an animation lasts; as in browsers, one without a duration lasts 100 ms."""
    return float(image.info.get("duration") or 100) / 1000


def rgb(image: Image.Image, draft_px: int | None = None) -> Image.Image:
    """Return a decoded copy as upright RGB: transparency over white, deep greys as 8 bits; damaged EXIF is ignored.

    Args:
        image: any picture of Pillow.
        draft_px: a larger JPEG is decoded at a half, a quarter or an eighth, while it stays above this.

    Raises:
        UnsupportedMedia: Pillow cannot convert its colour space to RGB.
    """
    if draft_px:
        image.draft(None, (draft_px, draft_px))
    image.load()
    upright = _turned(image)
    if upright.mode.startswith(("I", "F")):
        return _eight_bits(upright).convert("RGB")
    try:
        if upright.has_transparency_data:
            layer = upright.convert("RGBA")
            return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB")
        return upright if upright.mode == "RGB" else upright.convert("RGB")
    except ValueError as error:
        raise UnsupportedMedia(f"A picture in {image.mode} cannot be shown in RGB; convert it to RGB first.") from error


def render_page(page: PdfPage, longest_px: int, box: Box | None = None, *, dpi: int) -> Image.Image:
    """Render a page or a part of it: RGB, at most `dpi`, longest side at most `longest_px`.

    PDFium crops to the visible box and turns it, so fractions need no mapping.
    """
    width, height = page.get_size()
    part = box or Box(0, 0, 1, 1)
    longest = max(part.w * width, part.h * height) or 1.0
    scale = min(dpi / 72, longest_px / longest)
    margins = (part.x * width, (1 - part.y - part.h) * height, (1 - part.x - part.w) * width, part.y * height)
    bitmap = page.render(scale=scale, crop=tuple(max(0.0, side) for side in margins), rev_byteorder=True)
    picture: Image.Image = bitmap.to_pil().convert("RGB")
    bitmap.close()
    picture.thumbnail((longest_px, longest_px))
    return picture


def picture_stream(container: InputContainer) -> VideoStream | None:
    """Return the first moving-picture track that can be decoded; cover art of a recording does not count."""
    from av.stream import Disposition

    still = Disposition.attached_pic | Disposition.timed_thumbnails
    found = (s for s in container.streams.video if not s.disposition & still and s.codec_context is not None)
    return next(found, None)


def sound_stream(container: InputContainer) -> AudioStream | None:
    """Return the sound track that a player would choose; None if there is none."""
    return container.streams.best("audio")


def stated_duration_s(container: InputContainer) -> float:
    """Return the length in seconds that the headers state or suggest; 0 if they do not."""
    return max(container.duration or 0, 0) / 1e6


def time_s(frame: AudioFrame | VideoFrame, container: InputContainer) -> float | None:
    """Return the time of a frame in seconds from the container's start time; None if it has none."""
    if frame.pts is None or frame.time_base is None:
        return None
    return float(frame.pts * frame.time_base) - (container.start_time or 0) / 1e6


def frame_rgb(frame: VideoFrame, aspect: Fraction | None, longest_px: int) -> Image.Image:
    """Return a frame as a player shows it: RGB, square pixels, turned by its display matrix, at most `longest_px`.

    Args:
        frame: as decoded.
        aspect: width of a pixel over its height; None for square ones.
        longest_px: longest side of the result.
    """
    width, height = frame.width * float(aspect or 1), float(frame.height)
    scale = min(1.0, longest_px / max(width, height))
    size = max(2, round(width * scale)), max(2, round(height * scale))
    picture: Image.Image = frame.reformat(*size, format="rgb24", interpolation="BICUBIC").to_image()
    turn = _TURNS.get(round(frame.rotation / 90) * 90 % 360)
    return picture.transpose(turn) if turn is not None else picture


def _turned(image: Image.Image) -> Image.Image:
    try:
        return ImageOps.exif_transpose(image)
    except (*_PILLOW_ERRORS, AttributeError):  # damaged EXIF: the pixels are decoded by now
        return image.copy()


def _eight_bits(image: Image.Image) -> Image.Image:
    """Return greys of 16 and 32 bits and floats as 8 bits.

    Values that fill 8 or 16 bits, or floats up to 1, keep their shades. Others, such as 12-bit X-rays, heights and
    temperatures, are stretched from the darkest to the brightest value.
    """
    values = np.asarray(image, dtype=np.float64)
    finite = values[np.isfinite(values)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
    if 0 <= low <= high <= 255:
        low, high = 0.0, 1.0 if image.mode == "F" and high <= 1 else 255.0
    elif low >= 0 and 2**15 <= high < 2**16:
        low, high = 0.0, 65535.0
    scaled = np.nan_to_num((values - low) * (255 / (high - low or 1.0)), nan=0.0, posinf=255.0, neginf=0.0)
    return Image.fromarray(scaled.clip(0, 255).round().astype(np.uint8))


def _is_encrypted(path: Path) -> bool:
    with path.open("rb") as file, mmap(file.fileno(), 0, access=ACCESS_READ) as data:
        return data.find(b"/Encrypt") >= 0


def _av_error(name: str, error: Any) -> MediaError:
    import av.error

    # libavformat refuses a container outside its allowed list with EINVAL.
    unknown = (av.error.DecoderNotFoundError, av.error.DemuxerNotFoundError, av.error.PatchWelcomeError)
    if error.errno == errno.EINVAL or isinstance(error, unknown):
        return UnsupportedMedia(
            f"{name} is in a container or codec that is not read here; convert it to MP4 (H.264, AAC), WebM or WAV."
        )
    return DamagedMedia(f"{name} cannot be decoded ({error.strerror}); it is truncated or malformed.")
