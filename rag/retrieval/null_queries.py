"""Queries that hardly any collection answers: unrelated questions, pictures and sounds, and nonsense.

`rag.retrieval.calibration` measures what the channels of a collection give to them.
"""

from __future__ import annotations

import random
from functools import cache
from importlib.resources import files
from string import ascii_lowercase

import numpy as np
from numpy.typing import NDArray
from PIL import Image

_TILE_PX = 160
_SOUND_S = 3

# Of many kinds, so that hardly any collection answers many of them; `rag.retrieval.fusion.calibrate` tolerates a
# quarter of answerable ones.
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


def nonsense_questions() -> tuple[str, ...]:
    """Return random words, and the unrelated questions with the letters of each word shuffled."""
    rng = random.Random(0)
    words = [[len(word) for word in question.split()] for question in UNRELATED_QUESTIONS]
    drawn = (" ".join("".join(rng.choices(ascii_lowercase, k=length)) for length in lengths) for lengths in words)
    shuffled = (" ".join("".join(rng.sample(word, len(word))) for word in q.split()) for q in UNRELATED_QUESTIONS)
    return (*drawn, *shuffled)


@cache
def unrelated_pictures() -> tuple[Image.Image, ...]:
    """Return 24 photos (160 by 160 px) of many kinds; credits in ``rag/encoders/data/README.md``."""
    with files("rag.encoders").joinpath("data/unrelated_pictures.jpg").open("rb") as file:
        sheet = Image.open(file).convert("RGB")
    corners = ((x, y) for y in range(0, sheet.height, _TILE_PX) for x in range(0, sheet.width, _TILE_PX))
    return tuple(sheet.crop((x, y, x + _TILE_PX, y + _TILE_PX)) for x, y in corners)


def unrelated_sounds(sample_rate: int) -> tuple[NDArray[np.float32], ...]:
    """Return 12 synthetic sounds of 3 s, each (samples,) in [-1, 1]: tones, chords, sweeps, noise and clicks."""
    at_s = np.arange(_SOUND_S * sample_rate) / sample_rate
    noise = np.random.default_rng(0).standard_normal(at_s.size)
    tones = [np.sin(2 * np.pi * hertz * at_s) for hertz in (110, 440, 1760)]
    chords = [np.sum([np.sin(2 * np.pi * hertz * n * at_s) for n in (4, 5, 6)], axis=0) for hertz in (40, 160)]
    sweeps = [np.sin(2 * np.pi * hertz * at_s**2) for hertz in (100, 600)]
    hisses = [noise, np.cumsum(noise - noise.mean()), noise * np.sin(np.pi * at_s)]
    clicks = [(at_s * rate % 1 < 0.02) * noise for rate in (1, 8)]
    sounds = (*tones, *chords, *sweeps, *hisses, *clicks)
    return tuple((0.5 * sound / np.abs(sound).max()).astype(np.float32) for sound in sounds)
