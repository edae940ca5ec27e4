"""Training pairs: textbook figures with their alt texts and captions, prepared once as arrays on disk.

`prepare` writes into a folder, for ``n`` figures and ``VIEWS`` views of each:

=================  =======================  ==============================================================
file               shape                    content
=================  =======================  ==============================================================
``acts.npy``       (views, n, 88, 17, 17)   output of the backbone's first eight blocks, which are not trained; view
                                            0 is the whole figure, the others are cropped, mirrored and recoloured
``features.npy``   (views, n, 1280)         features of the untrained backbone
``logits.npy``     (views, n, 1000)         logits of its classifier
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
from rag.encoders.training_split import held_out
from rag.media.opening import rgb

VIEWS = 8
_SENTENCE = re.compile(r"(?<=[.!?])\s+(?=[A-Z“\"])")
_KINDS = r"(?:photo(?:graph)?|image|picture|illustration|figure|drawing|painting|diagram|map|graph|chart|portrait)s?"
_LOOKS = r"(?:(?:color(?:ed)?|black[- ]and[- ]white|close-?up|aerial|historical|old|modern) )?"
# Alt texts begin with "a photo of" and the like; people who search for a photo do not write that.
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
    """Return a figure's texts: alt text without preamble, caption without credits, the first sentence of each."""
    alt, caption = _PREAMBLE.sub("", row["alt"].strip()), _CREDIT.sub("", row["caption"] or "").strip()
    texts = (_SENTENCE.split(alt)[0], alt, _SENTENCE.split(caption)[0], caption)
    return [text for text in dict.fromkeys(texts) if len(text) > 3]


def prepare(pairs: Path, folder: Path, lower: OnnxModel, upper: OnnxModel, text: TextEncoder) -> None:
    """Write the arrays.

    Args:
        pairs: folder with ``pairs.jsonl`` and the tar files that it names.
        folder: folder to write to.
        lower: the backbone up to its eighth block: ``pixels`` to ``acts``.
        upper: the rest: ``acts`` to ``features`` and ``logits``.
        text: MiniLM.
    """
    rows = [json.loads(line) for line in (pairs / "pairs.jsonl").read_text("utf-8").splitlines()]
    folder.mkdir(parents=True, exist_ok=True)
    shapes = {"acts": (88, 17, 17), "features": (1280,), "logits": (1000,)}
    arrays = {
        name: np.lib.format.open_memmap(folder / f"{name}.npy", "w+", np.float16, (VIEWS, len(rows), *shape))
        for name, shape in shapes.items()
    }
    for number, pixels in _figures(pairs, rows):
        for view in range(VIEWS):
            image = make_view(pixels, view, number, photo=rows[number]["kind"] == "photo")
            scaled = (image.transpose(2, 0, 1) - np.float32(127)) / np.float32(128)
            (acts,) = lower.run(["acts"], {"pixels": scaled[None]})
            features, logits = upper.run(["features", "logits"], {"acts": acts})
            for name, values in (("acts", acts), ("features", features), ("logits", logits)):
                arrays[name][view, number] = values[0]
    described = [(words, number) for number, row in enumerate(rows) for words in texts_of(row)]
    vectors = text.embed_text([words for words, _ in described])
    np.savez(folder / "texts.npz", vectors=vectors, figures=np.array([number for _, number in described]))
    figures = [[row["id"], row["module_id"], row["kind"], held_out(row["module_id"])] for row in rows]
    (folder / "figures.json").write_text(json.dumps(figures), "utf-8")


def make_view(pixels: Pixels, view: int, number: int, *, photo: bool) -> NDArray[np.float32]:
    """Return a view (260, 260, 3) of a figure, 0 to 255; view 0 is the figure itself. Equal numbers, equal views."""
    if view == 0:
        return pixels.astype(np.float32)
    rng = np.random.default_rng([view, number])
    image = _crop(pixels, rng, min_share=0.35 if photo else 0.6)
    if photo and rng.random() < 0.5:  # a mirrored diagram is another diagram
        image = image[:, ::-1]
    if rng.random() < 0.8:
        image = _recolour(image, rng)
    if rng.random() < 0.08:
        image = np.repeat(image.mean(2, keepdims=True), 3, 2)
    return np.clip(image, 0, 255).astype(np.float32)


def _crop(pixels: Pixels, rng: np.random.Generator, min_share: float) -> NDArray[np.float32]:
    share, ratio = rng.uniform(min_share, 1.0), np.exp(rng.uniform(-0.29, 0.29))
    w, h = min(1.0, (share * ratio) ** 0.5), min(1.0, (share / ratio) ** 0.5)
    x, y = rng.uniform(0, 1 - w), rng.uniform(0, 1 - h)
    box = (x * SIZE_PX, y * SIZE_PX, (x + w) * SIZE_PX, (y + h) * SIZE_PX)
    cropped = Image.fromarray(pixels).resize((SIZE_PX, SIZE_PX), Image.Resampling.BILINEAR, box=box)
    return np.asarray(cropped, np.float32)


def _recolour(image: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """Change brightness, contrast and saturation."""
    image = image * rng.uniform(0.7, 1.3)
    image = (image - image.mean()) * rng.uniform(0.7, 1.3) + image.mean()
    grey = image.mean(2, keepdims=True)
    return np.asarray(grey + (image - grey) * rng.uniform(0.4, 1.4), np.float32)


def _figures(pairs: Path, rows: list[dict[str, Any]]) -> Iterator[tuple[int, Pixels]]:
    """Yield number and pixels (260, 260, 3) of each figure, in the order of the tar files."""
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
