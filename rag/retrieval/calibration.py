"""What a collection says to queries that it cannot answer: the null distributions that make scores comparable.

A cosine of 0.3 means little between two sentences, and much between a sentence and a photo. So every channel of a
collection is given questions, pictures and sounds that hardly any collection has to do with; the best scores that come
back are what the channel gives for nothing, for this encoder, this kind of query and this medium
(`rag.retrieval.fusion.Calibration` reads a score against them). They are measured when a collection is taken in, kept
beside it, and measured again when what it holds of any kind has grown or shrunk by half.
"""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cache
from importlib.resources import files
from string import ascii_lowercase

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from rag.retrieval.fusion import Calibration
from rag.types import Kind

_GROWTH = 1.5
_TILE_PX = 160
_SOUND_S = 3

# Of all sorts, so that hardly any one collection answers many of them; `rag.retrieval.fusion.calibrate` bears a
# quarter.
UNRELATED_QUESTIONS = (
    *("how do I reset my password", "the recipe for lemon cake", "a red car parked beside a house"),
    *("who won the final last night", "how to repair a bicycle tyre", "a cup of coffee on a wooden table"),
    *("interest rates and the price of bonds", "a cat asleep on a sofa", "the capital of Australia"),
    *("symptoms of a broken ankle", "a bridge over a river at night", "installing a printer driver"),
    *("two people playing chess", "the boiling point of water at altitude", "a bowl of fruit"),
    *("how does a diesel engine work", "train times from London to Leeds", "a mountain covered in snow"),
    *("what is a black hole", "a page of handwritten notes", "the rules of offside in football"),
    *("a plane landing at an airport", "how to plant tomatoes", "a child holding a balloon"),
    *("the third movement of the symphony", "a crowded street market", "terms of the rental agreement"),
    *("a diagram of an electric circuit", "when is the meeting on Thursday", "a man wearing a blue hat"),
    *("how vaccines are tested", "a field of yellow flowers"),
)


@dataclass(frozen=True)
class CollectionCalibration:
    """The calibrations of a collection's channels.

    Attributes:
        encoders: the encoders that they were measured with, as their cards' revisions.
        segments: how many segments of each kind the collection had then.
        channels: calibration by channel.
        noise_floor: the best score that a search for nonsense got; what scores less is not worth more.
    """

    encoders: tuple[str, ...] = ()
    segments: Mapping[Kind, int] = field(default_factory=dict)
    channels: Mapping[str, Calibration] | None = None
    noise_floor: float = 0.0

    def fit(self, encoders: tuple[str, ...], segments: Mapping[Kind, int]) -> bool:
        """Whether they still hold for a collection with so many segments of each kind; never where a kind is new."""
        if self.channels is None or self.encoders != encoders:
            return False
        sizes = ((self.segments.get(kind, 0), segments.get(kind, 0)) for kind in {*self.segments, *segments})
        return all(then / _GROWTH <= now <= then * _GROWTH for then, now in sizes)

    def to_json(self) -> str:
        """One JSON object; `from_json` reads it back to equal calibrations."""
        values = {
            "encoders": self.encoders,
            "segments": dict(self.segments),
            "lanes": None if self.channels is None else {name: asdict(one) for name, one in self.channels.items()},
            "least_believed": self.noise_floor,
        }
        return json.dumps(values, indent=1, sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> CollectionCalibration:
        """What `to_json` wrote; empty calibrations, which fit nothing, for anything else."""
        try:
            kept = json.loads(text)
            channels = {name: Calibration(**held) for name, held in kept["lanes"].items()}
            return cls(tuple(kept["encoders"]), dict(kept["segments"]), channels, float(kept["least_believed"]))
        except (ValueError, TypeError, KeyError, AttributeError):
            return cls()


def nonsense_questions() -> tuple[str, ...]:
    """Random words, and the same questions with the letters of each word shuffled."""
    rng = random.Random(0)
    words = [[len(word) for word in question.split()] for question in UNRELATED_QUESTIONS]
    drawn = (" ".join("".join(rng.choices(ascii_lowercase, k=length)) for length in lengths) for lengths in words)
    shuffled = (" ".join("".join(rng.sample(word, len(word))) for word in q.split()) for q in UNRELATED_QUESTIONS)
    return (*drawn, *shuffled)


@cache
def unrelated_pictures() -> tuple[Image.Image, ...]:
    """24 photos (160 by 160 px) of all sorts; credits in ``rag/encoders/data/README.md``."""
    with files("rag.encoders").joinpath("data/unrelated_pictures.jpg").open("rb") as file:
        sheet = Image.open(file).convert("RGB")
    corners = ((x, y) for y in range(0, sheet.height, _TILE_PX) for x in range(0, sheet.width, _TILE_PX))
    return tuple(sheet.crop((x, y, x + _TILE_PX, y + _TILE_PX)) for x, y in corners)


def unrelated_sounds(sample_rate: int) -> tuple[NDArray[np.float32], ...]:
    """12 sounds of 3 s that nobody recorded, each (samples,) in [-1, 1]: tones, chords, sweeps, noise and clicks."""
    at_s = np.arange(_SOUND_S * sample_rate) / sample_rate
    noise = np.random.default_rng(0).standard_normal(at_s.size)
    tones = [np.sin(2 * np.pi * hertz * at_s) for hertz in (110, 440, 1760)]
    chords = [np.sum([np.sin(2 * np.pi * hertz * n * at_s) for n in (4, 5, 6)], axis=0) for hertz in (40, 160)]
    sweeps = [np.sin(2 * np.pi * hertz * at_s**2) for hertz in (100, 600)]
    hisses = [noise, np.cumsum(noise - noise.mean()), noise * np.sin(np.pi * at_s)]
    clicks = [(at_s * rate % 1 < 0.02) * noise for rate in (1, 8)]
    sounds = (*tones, *chords, *sweeps, *hisses, *clicks)
    return tuple((0.5 * sound / np.abs(sound).max()).astype(np.float32) for sound in sounds)
