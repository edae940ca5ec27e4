"""Any picture that Pillow opens as upright RGB, the form that encoders and OCR take."""

from __future__ import annotations

import struct

import numpy as np
from PIL import ExifTags, Image, ImageOps

from rag.errors import UnsupportedMedia


def rgb(image: Image.Image) -> Image.Image:
    """The picture as upright RGB: transparent parts over white, deep greys scaled to 8 bits.

    Raises:
        UnsupportedMedia: Pillow has no way from its colour space to RGB.
    """
    image = _upright(image)
    if image.mode == "RGB":
        return image
    if image.mode.startswith(("I", "F")):
        return _from_deep(image).convert("RGB")
    try:
        if image.has_transparency_data:
            layer = image.convert("RGBA")
            return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB")
        return image.convert("RGB")
    except ValueError as error:
        raise UnsupportedMedia(f"A picture in {image.mode} cannot be shown in RGB; convert it to RGB first.") from error


def _upright(image: Image.Image) -> Image.Image:
    try:
        turned = image.getexif().get(ExifTags.Base.Orientation, 1) != 1
        return ImageOps.exif_transpose(image) if turned else image
    except (SyntaxError, struct.error):
        # What Pillow raises on damaged EXIF, found by changing bytes at random; the pixels are sound.
        return image


def _from_deep(image: Image.Image) -> Image.Image:
    """16-bit, 32-bit and floating greys as 8 bits, where Pillow alone would clip all above 255 to white."""
    values = np.nan_to_num(np.asarray(image, dtype=np.float32))
    top = float(values.max(initial=0.0))
    if image.mode == "F" and top <= 1.0:
        values = values * 255.0
    elif image.mode.startswith("I;16") or top > 255.0:
        values = values / 257.0
    return Image.fromarray(np.clip(values, 0, 255).astype(np.uint8))
