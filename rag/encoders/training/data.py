"""The training pairs: textbook figures with their alt texts and captions, prepared once into arrays on disk.

`prepare` writes into a folder, for ``n`` figures and ``VIEWS`` views of each:

=================  =======================  ==============================================================
file               shape                    what
=================  =======================  ==============================================================
``acts.npy``       (views, n, 88, 17, 17)   the backbone up to its eighth block, which stays as it is; view 0
                                            is the whole figure, the others are cut, mirrored and recoloured
``features.npy``   (views, n, 1280)         what the untrained backbone makes of those
``logits.npy``     (views, n, 1000)         what its classifier says of them
``texts.npz``      (m, 384) and (m,)        MiniLM's vectors of all texts, and the figure of each
``figures.json``   n rows                   id, module, kind and split
=================  =======================  ==============================================================
"""

from __future__ import annotations

import io
import json
import re
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from rag.encoders.base import TextEncoder
from rag.encoders.lite import SIZE_PX
from rag.encoders.runtime import OnnxModel
from rag.encoders.training.splits import held_out
from rag.media.opening import rgb

VIEWS = 8
_SENTENCE = re.compile(r"(?<=[.!?])\s+(?=[A-Z“\"])")
_KINDS = r"(?:photo(?:graph)?|image|picture|illustration|figure|drawing|painting|diagram|map|graph|chart|portrait)s?"
_LOOKS = r"(?:(?:color(?:ed)?|black[- ]and[- ]white|close-?up|aerial|historical|old|modern) )?"
# Alt texts begin by saying that there is a picture, which nobody who looks for one says.
_PREAMBLE = re.compile(
    rf"^(?:in )?(?:(?:this|the|a|an|one) )?{_LOOKS}{_KINDS}(?: \(?[a-z]\)?)?,? "
    rf"(?:(?:is|are) (?:a |an |of |the )?(?:{_LOOKS}{_KINDS} (?:of|showing|that shows|depicting) )?"
    r"|of |shows? |showing |depicts? |depicting |features? |displays? |illustrates? |presents? |captures "
    r"|there (?:is|are) )",
    re.IGNORECASE,
)
_CREDIT = re.compile(r"\((?:credit|Credit)[^)]*\)\.?")

Pixels = NDArray[np.uint8]


def texts_of(row: dict[str, Any]) -> list[str]:
    """What describes a figure: alt text without preamble, caption without credits, and the first sentence of each."""
    alt, caption = _PREAMBLE.sub("", row["alt"].strip()), _CREDIT.sub("", row["caption"] or "").strip()
    found = (_SENTENCE.split(alt)[0], alt, _SENTENCE.split(caption)[0], caption)
    return [text for text in dict.fromkeys(found) if len(text) > 3]


def prepare(pairs: Path, folder: Path, lower: OnnxModel, upper: OnnxModel, text: TextEncoder) -> None:
    """Write the arrays.

    Args:
        pairs: folder with ``pairs.jsonl`` and the tar files that it names.
        folder: where to write.
        lower: the backbone up to its eighth block: ``pixels`` to ``acts``.
        upper: the rest: ``acts`` to ``features`` and ``logits``.
        text: MiniLM.
    """
    rows = [json.loads(line) for line in (pairs / "pairs.jsonl").read_text("utf-8").splitlines()]
    folder.mkdir(parents=True, exist_ok=True)
    shapes = {"acts": (88, 17, 17), "features": (1280,), "logits": (1000,)}
    kept = {
        name: np.lib.format.open_memmap(folder / f"{name}.npy", "w+", np.float16, (VIEWS, len(rows), *shape))
        for name, shape in shapes.items()
    }
    for number, pixels in _figures(pairs, rows):
        for view in range(VIEWS):
            seen = viewed(pixels, view, number, photo=rows[number]["kind"] == "photo")
            prepared = (seen.transpose(2, 0, 1) - np.float32(127)) / np.float32(128)
            (acts,) = lower.run(["acts"], {"pixels": prepared[None]})
            features, logits = upper.run(["features", "logits"], {"acts": acts})
            for name, values in (("acts", acts), ("features", features), ("logits", logits)):
                kept[name][view, number] = values[0]
    owned = [(words, number) for number, row in enumerate(rows) for words in texts_of(row)]
    vectors = text.embed_text([words for words, _ in owned])
    np.savez(folder / "texts.npz", vectors=vectors, figures=np.array([number for _, number in owned]))
    figures = [[row["id"], row["module_id"], row["kind"], held_out(row["module_id"])] for row in rows]
    (folder / "figures.json").write_text(json.dumps(figures), "utf-8")


def viewed(pixels: Pixels, view: int, number: int, *, photo: bool) -> NDArray[np.float32]:
    """A view (260, 260, 3) of a figure, 0 to 255; view 0 is the figure itself. The same for the same numbers."""
    if view == 0:
        return pixels.astype(np.float32)
    rng = np.random.default_rng([view, number])
    seen = _cut(pixels, rng, least_share=0.35 if photo else 0.6)
    if photo and rng.random() < 0.5:  # a mirrored diagram is another diagram
        seen = seen[:, ::-1]
    if rng.random() < 0.8:
        seen = _recoloured(seen, rng)
    if rng.random() < 0.08:
        seen = np.repeat(seen.mean(2, keepdims=True), 3, 2)
    return np.clip(seen, 0, 255).astype(np.float32)


def _cut(pixels: Pixels, rng: np.random.Generator, least_share: float) -> NDArray[np.float32]:
    share, ratio = rng.uniform(least_share, 1.0), np.exp(rng.uniform(-0.29, 0.29))
    w, h = min(1.0, (share * ratio) ** 0.5), min(1.0, (share / ratio) ** 0.5)
    x, y = rng.uniform(0, 1 - w), rng.uniform(0, 1 - h)
    box = (x * SIZE_PX, y * SIZE_PX, (x + w) * SIZE_PX, (y + h) * SIZE_PX)
    cut = Image.fromarray(pixels).resize((SIZE_PX, SIZE_PX), Image.Resampling.BILINEAR, box=box)
    return np.asarray(cut, np.float32)


def _recoloured(seen: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """Other brightness, contrast and saturation."""
    seen = seen * rng.uniform(0.7, 1.3)
    seen = (seen - seen.mean()) * rng.uniform(0.7, 1.3) + seen.mean()
    grey = seen.mean(2, keepdims=True)
    return np.asarray(grey + (seen - grey) * rng.uniform(0.4, 1.4), np.float32)


def _figures(pairs: Path, rows: list[dict[str, Any]]) -> Iterator[tuple[int, Pixels]]:
    """Number and pixels (260, 260, 3) of each figure, in the order of the tar files."""
    numbers = {row["path"]: number for number, row in enumerate(rows)}
    for shard in sorted({row["shard"] for row in rows}):
        with tarfile.open(pairs / shard) as tar:
            for member in tar:
                number = numbers.get(member.name.removeprefix("./"))
                file = tar.extractfile(member)
                if number is not None and file is not None:
                    picture = rgb(Image.open(io.BytesIO(file.read())))
                    square = picture.resize((SIZE_PX, SIZE_PX), Image.Resampling.BICUBIC)
                    yield number, np.asarray(square)
