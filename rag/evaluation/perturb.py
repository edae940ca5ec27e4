"""Perturbations as questions and media suffer them in practice: typos, vague and ambiguous words, blur, noise.

Pure functions; the same input and seed give the same output.
"""

from __future__ import annotations

import random
import re
import string
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from PIL.Image import Image

Medium = Literal["text", "image", "sound", "speech"]

_WORD = re.compile(r"\w+")
_TYPO_SHARE = 0.15  # of the words of four letters or more, at least one
_COLOURS = "black white grey gray red green blue yellow orange purple pink brown golden silver dark light bright pale"
_SIZES = "big small large little tiny huge tall short long wide narrow young old older elderly new left right"
_NUMBERS = "one two three four five six seven eight nine ten several many few first second last"
_SPECIFIC = frozenset(f"{_COLOURS} {_SIZES} {_NUMBERS}".split())
# Everyday things by their kind: 94 % of `flickr_dev`'s captions name some. Hypernyms in the glosses of `lite`'s 1000
# classes are not a substitute: they help with a quarter of the captions, and sometimes in the wrong sense.
_KINDS = {
    ("person", "people"): "man woman boy girl child kid baby toddler lady guy player climber hiker rider surfer skier"
    " swimmer skater skateboarder cyclist biker runner dancer singer musician worker teacher student doctor nurse"
    " farmer soldier hunter mother father mom dad son daughter brother sister bride",
    ("people", "people"): "men women children",
    ("creature", "creatures"): "dog puppy cat kitten horse cow sheep goat pig bird duck goose fish monkey ape gorilla"
    " chimpanzee orangutan elephant bear lion tiger wolf deer rabbit mouse snake frog insect bee butterfly",
    ("vehicle", "vehicles"): "car truck bus bike bicycle motorcycle motorbike boat canoe kayak raft ship train plane"
    " airplane helicopter jeep van tractor",
    ("garment", "garments"): "shirt t-shirt jacket coat dress skirt hat cap helmet vest sweater sweatshirt outfit suit"
    " uniform costume",
    ("garments", "garments"): "shorts jeans pants trousers clothes",
    (
        "place",
        "places",
    ): "beach street sidewalk road park field yard lawn pool lake river stream ocean sea mountain"
    " hill cliff forest desert city building house room kitchen playground",
    ("thing", "things"): "ball football baseball frisbee toy stick rope table bench chair couch guitar drum microphone"
    " sign camera book phone computer bottle cup balloon umbrella flag bag backpack",
}
_LEAST_LETTERS = 4
_GREY = (127, 127, 127)  # color of the occluding box


def add_typos(text: str, seed: int = 0) -> str:
    """Return the text with a typo in about one word of seven: a letter swapped, left out, doubled or replaced."""
    rng = random.Random(seed)
    words = [found for found in _WORD.finditer(text) if len(found[0]) >= _LEAST_LETTERS]
    slips = rng.sample(words, min(len(words), max(1, round(_TYPO_SHARE * len(words)))))
    for found in sorted(slips, key=lambda found: -found.start()):
        text = text[: found.start()] + _mistyped(found[0], rng) + text[found.end() :]
    return text


def _mistyped(word: str, rng: random.Random) -> str:
    at = rng.randrange(1, len(word) - 1)  # first letters are rarely mistyped
    kinds = {
        "swap": word[:at] + word[at + 1] + word[at] + word[at + 2 :],
        "drop": word[:at] + word[at + 1 :],
        "double": word[:at] + word[at] + word[at:],
        "mistake": word[:at] + rng.choice(string.ascii_lowercase) + word[at + 1 :],
    }
    kept = sorted({mistyped for mistyped in kinds.values() if mistyped != word})
    return rng.choice(kept)


def make_vague(text: str, seed: int = 0) -> str:
    """Return the text as a question by a person who does not remember it well.

    Lower case, no punctuation, without colours, sizes and numbers, and "something" for its longest word.
    """
    words = [word for word in _WORD.findall(text.lower()) if word not in _SPECIFIC and not word.isdigit()]
    longest = max(words, key=len, default="")
    return " ".join("something" if word == longest else word for word in words) or "something"


def make_ambiguous(text: str, seed: int = 0) -> str:
    """Return the text with broader words, so that it fits more than was meant: a creature, not a dog.

    Words of no known kind stay.
    """
    broader = _broader()
    text = re.sub(r"[\w-]+", lambda found: broader.get(found[0].lower(), found[0]), text)
    return re.sub(r"\b([Aa])n(?= (?:person|creature|vehicle|garment|place|thing)\b)", r"\1", text)


@cache
def _broader() -> dict[str, str]:
    """Return the broader word for each word, in singular and plural."""
    found: dict[str, str] = {}
    for (kind, kinds), words in _KINDS.items():
        for word in words.split():
            found |= {word: kind, _plural(word): kinds}
    return found


def _plural(word: str) -> str:
    if word.endswith("y") and word[-2] not in "aeiou":
        return f"{word[:-1]}ies"
    return f"{word}es" if word.endswith(("s", "ch", "sh")) else f"{word}s"


def blur(picture: Image, seed: int = 0, *, share: float = 0.015) -> Image:
    """Return the picture out of focus: Gaussian blur with a radius of this share of its shorter side."""
    from PIL import ImageFilter

    return picture.filter(ImageFilter.GaussianBlur(max(1.0, share * min(picture.size))))


def occlude(picture: Image, seed: int = 0, *, share: float = 0.25) -> Image:
    """Return the picture with a grey box over this share of it, in its proportions, at a random place."""
    rng = random.Random(seed)
    width, height = (max(1, round(side * share**0.5)) for side in picture.size)
    left, top = rng.randint(0, picture.width - width), rng.randint(0, picture.height - height)
    covered = picture.convert("RGB")
    covered.paste(_GREY, (left, top, left + width, top + height))
    return covered


def add_noise(samples: NDArray[np.float32], seed: int = 0, *, snr_db: float = 10.0) -> NDArray[np.float32]:
    """Return the sound with white noise at a signal-to-noise ratio of `snr_db`; silence stays silent."""
    power = float(np.mean(np.square(samples, dtype=np.float64))) if samples.size else 0.0
    deviation = (power / 10 ** (snr_db / 10)) ** 0.5
    noise = np.random.default_rng(seed).standard_normal(samples.shape) * deviation
    changed: NDArray[np.float32] = np.clip(samples + noise, -1.0, 1.0).astype(np.float32)
    return changed


@dataclass(frozen=True, slots=True)
class Variant:
    """A named perturbation of some media, as a function of a value and a seed."""

    name: str
    media: frozenset[Medium]
    change: Callable[[Any, int], Any]


_HEARD: frozenset[Medium] = frozenset({"sound", "speech"})
VARIANTS = (
    Variant("typos", frozenset({"text"}), add_typos),
    Variant("vague wording", frozenset({"text"}), make_vague),
    Variant("ambiguous wording", frozenset({"text"}), make_ambiguous),
    Variant("blur", frozenset({"image"}), blur),
    Variant("occlusion", frozenset({"image"}), occlude),
    Variant("noise, 10 dB", _HEARD, add_noise),
)
