"""Pictures out of files: bounded, RGB, upright, with Pillow's errors mapped."""

from __future__ import annotations

import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import numpy as np
from PIL import Image, ImageFile, ImageOps, UnidentifiedImageError

from rag.errors import DamagedMedia, MediaTooLarge, UnsupportedMedia

SEGMENT_PX = 768  # longest side of the pixels that go to the encoder
FORMATS = ("PNG", "JPEG", "GIF", "WEBP", "TIFF", "BMP", "AVIF")
_DRAFT_PX = 2000  # a larger JPEG is decoded at a half, a quarter or an eighth, while it stays above this
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
_WIDE_MODES = ("I", "F", "I;16", "I;16B", "I;16L", "I;16N")


@contextmanager
def opened(file: Path | IO[bytes], max_pixels: int) -> Iterator[ImageFile.ImageFile]:
    """Open a picture and check its size by its header; in the body, too, Pillow's errors become `MediaError`s.

    Raises:
        MediaTooLarge: more than `max_pixels`.
        DamagedMedia: truncated or malformed.
        UnsupportedMedia: an unknown format, or a compression that is not built in.
    """
    limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None  # checked here, against the setting
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns of odd metadata and goes on
            with Image.open(file, formats=FORMATS) as image:
                check_pixels(image.size, max_pixels)
                yield image
    except UnidentifiedImageError as error:
        raise DamagedMedia("It cannot be read as a picture; it is truncated or malformed.") from error
    except _PILLOW_ERRORS as error:
        raise DamagedMedia(f"It cannot be decoded ({error}); it is truncated or malformed.") from error
    except MemoryError as error:
        raise MediaTooLarge("It needs more memory than there is; scale it down.") from error
    finally:
        Image.MAX_IMAGE_PIXELS = limit


def check_pixels(size: tuple[int, int], max_pixels: int) -> None:
    """Refuse a picture that would be too large when decoded.

    Raises:
        MediaTooLarge: more than `max_pixels`.
    """
    if size[0] * size[1] > max_pixels:
        raise MediaTooLarge(
            f"It has {size[0]:,} x {size[1]:,} pixels, more than the limit of {max_pixels:,}; "
            "scale it down, or raise EXHIBIT_MAX_PIXELS."
        )


def upright_rgb(image: Image.Image) -> Image.Image:
    """A decoded copy: RGB over white where it is transparent, turned as its EXIF orientation says.

    Raises:
        UnsupportedMedia: colours that cannot be brought to RGB.
    """
    if isinstance(image, ImageFile.ImageFile) and image.format in ("JPEG", "MPO"):
        image.draft(None, (_DRAFT_PX, _DRAFT_PX))
    image.load()
    turned = ImageOps.exif_transpose(image)
    if turned.mode in _WIDE_MODES:
        turned = _stretched(turned)
    if turned.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in turned.info:
        coloured = turned.convert("RGBA")
        paper = Image.new("RGBA", coloured.size, "white")
        return Image.alpha_composite(paper, coloured).convert("RGB")
    if turned.mode == "LAB":
        raise UnsupportedMedia("Its colours are in CIELAB; save it as RGB.")
    return turned.convert("RGB") if turned.mode != "RGB" else turned.copy()


def for_segment(image: Image.Image) -> Image.Image:
    """The picture as it goes to the encoder: longest side at most `SEGMENT_PX`."""
    small = image.copy()
    small.thumbnail((SEGMENT_PX, SEGMENT_PX), Image.Resampling.LANCZOS)
    return small


def _stretched(image: Image.Image) -> Image.Image:
    """A picture of 16 bits or more as 8-bit grey, its darkest value black and its brightest white."""
    values = np.asarray(image, dtype=np.float64)
    finite = values[np.isfinite(values)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
    scaled = np.nan_to_num((values - low) * (255 / (high - low or 1)), nan=0.0, posinf=255.0, neginf=0.0)
    return Image.fromarray(scaled.clip(0, 255).astype(np.uint8))
