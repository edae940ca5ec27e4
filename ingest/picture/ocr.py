"""Read text in pictures with RapidOCR (PP-OCR detection and recognition, ONNX, in its wheel).

Measured on one core: 0.28 s for a photo of 500 px without text, 0.6 s for one of 1280 px or more, and 0.1 s for each
line of a page. A first pass at 384 px, to skip pictures without text, saved 20 % on 190 photos but lost a chart's
labels, so there is none. On printed pages 1600 px read as well as 2000 px (0.1 % of the characters wrong); 1280 px lost
lines.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL.Image import Image, Resampling

from ingest.document.layout import reading_order
from rag.types import Box

if TYPE_CHECKING:
    from rapidocr import RapidOCR

PICTURE_PX = 1280  # longest side that is enough for signs, slides and labels
PAGE_PX = 1600  # for pages of text: 10 pt on A4 is then 19 px high
_MIN_CONFIDENCE = 0.65
_MIN_CONFIDENCE_SHORT = 0.9  # for one or two characters: textures are often mistaken for single letters
_MIN_SIDE_PX = 8
_SHORTER_PX = 736


@dataclass(frozen=True, slots=True)
class OcrLine:
    """A line of text in a picture: its words, its box in fractions, and the model's confidence in [0, 1]."""

    text: str
    box: Box
    confidence: float


class Ocr:
    """A reader of text in pictures; it loads its models with the first picture."""

    def __init__(self, threads: int) -> None:
        self._threads = threads

    def read(self, image: Image, *, longest_px: int = PICTURE_PX) -> list[OcrLine]:
        """Return the lines of text in reading order; none for a picture without text.

        Args:
            image: RGB, upright.
            longest_px: the longest side at which it is read.
        """
        if min(image.size) < _MIN_SIDE_PX:
            return []
        # Small pictures are enlarged to read small letters, by the shorter side as in PaddleOCR, but never beyond
        # `longest_px`: a banner of 900 x 120 px would become 5520 x 736 and take 4 s.
        scale = min(max(1.0, _SHORTER_PX / min(image.size)), longest_px / max(image.size))
        if scale != 1:
            size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
            image = image.resize(size, Resampling.BICUBIC)
        pixels = np.ascontiguousarray(np.asarray(image.convert("RGB"))[:, :, ::-1])  # RapidOCR takes BGR
        lines = _confident_lines(self._engine(pixels), image.width, image.height)
        return [lines[i] for i in reading_order([line.box for line in lines])]

    @cached_property
    def _engine(self) -> RapidOCR:
        from rapidocr import RapidOCR

        return RapidOCR(
            params={
                "Global.log_level": "critical",  # it logs a line for every model and for every picture without text
                "Det.limit_side_len": _MIN_SIDE_PX,  # the pictures come in the right size
                "EngineConfig.onnxruntime.intra_op_num_threads": self._threads,
                "EngineConfig.onnxruntime.inter_op_num_threads": 1,
            }
        )


def _confident_lines(result: Any, width: int, height: int) -> list[OcrLine]:
    if result.boxes is None or not result.txts:
        return []
    lines = []
    for corners, text, confidence in zip(result.boxes, result.txts, result.scores, strict=True):
        text = " ".join(text.split())
        least = _MIN_CONFIDENCE if len(text) > 2 else _MIN_CONFIDENCE_SHORT
        if text and confidence >= least:
            (left, top), (right, bottom) = corners.min(axis=0), corners.max(axis=0)
            box = Box(left / width, top / height, (right - left) / width, (bottom - top) / height)
            lines.append(OcrLine(text, box, round(float(confidence), 3)))
    return lines
