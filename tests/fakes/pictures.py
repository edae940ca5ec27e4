"""Pictures that lie on their side until their Exif orientation is applied."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

# The corners of a picture as stored, row by row, that is A B over C D when upright. After Exif's table of orientations
# (JEITA CP-3451, tag 0x0112): with 6, row 0 is the right side and column 0 the top, so that B and D come first.
STORED = {1: "ABCD", 2: "BADC", 3: "DCBA", 4: "CDAB", 5: "ACBD", 6: "BDAC", 7: "DBCA", 8: "CADB"}
GREYS = {"A": 0, "B": 85, "C": 170, "D": 255}


def saved(path: Path, orientation: int, corner: tuple[int, int]) -> Path:
    """Write a PNG of four grey corners of (width, height) pixels: black and 85 above 170 and white when upright."""
    (a, b, c, d), (width, height) = (GREYS[name] for name in STORED[orientation]), corner
    pixels = np.kron(np.array([[a, b], [c, d]], np.uint8), np.ones((height, width), np.uint8))
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(pixels).save(path, exif=exif)
    return path


def corners(pixels: np.ndarray) -> list[float]:
    """Return the values near the corners of pixels (height, width), row by row."""
    return [float(pixels[y, x]) for y in (4, -4) for x in (4, -4)]
