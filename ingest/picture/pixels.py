"""Scale pictures to the size in which they are read and stored."""

from __future__ import annotations

from PIL import Image

SEGMENT_PX = 768  # longest side of the pixels that go to the encoder
DRAFT_PX = 2000  # a larger JPEG is decoded at a half, a quarter or an eighth, while it stays above this


def for_segment(image: Image.Image) -> Image.Image:
    """Return the picture for the encoder: longest side at most `SEGMENT_PX`."""
    small = image.copy()
    small.thumbnail((SEGMENT_PX, SEGMENT_PX), Image.Resampling.LANCZOS)
    return small
