"""Queries that hardly any collection answers: unrelated questions, pictures and sounds, and nonsense.

`rag.retrieval.calibration` measures what the channels of a collection give to them. They depend on nothing but the
encoders, so they are encoded once for each set of encoders and kept in a file.
"""

from __future__ import annotations

import contextlib
import hashlib
import random
import tempfile
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from itertools import zip_longest
from pathlib import Path
from string import ascii_lowercase
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from rag.encoders.base import CLOUD, Vectors
from rag.query.language import Query, QueryPart
from rag.retrieval.planner import EncodedQuery, QueryPlanner

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


class NullQueries:
    """The null queries as a planner encodes them, computed once and stored.

    Args:
        planner: encodes the queries.
        folder: holds files for each set of encoders; None to keep nothing. Nothing is kept of encoders behind an API.
    """

    def __init__(self, planner: QueryPlanner, folder: Path | None = None) -> None:
        self._planner, self._folder = planner, folder

    def unrelated(self) -> list[EncodedQuery]:
        """Return the unrelated questions, with pictures and sounds: each asks every channel, as long as media last."""
        audio = self._planner.audio
        return self._encode(_unrelated_queries(audio.sample_rate if audio else None))

    def nonsense(self) -> list[EncodedQuery]:
        """Return the nonsense questions."""
        return self._encode([Query(words) for words in nonsense_questions()])

    def _encode(self, queries: Sequence[Query]) -> list[EncodedQuery]:
        # A provider may change a model under its name, and the stored vectors would no longer fit.
        is_lasting = not any(card.name.startswith(CLOUD) for card in self._planner.cards)
        file = self._folder / f"{_fingerprint(queries, self._planner)}.npz" if self._folder and is_lasting else None
        if file and (stored := _load(file, queries)):
            return stored
        encoded = [self._planner.encode(query) for query in queries]
        if file:
            with contextlib.suppress(OSError):  # without room on the disk, they are encoded again next time
                _save(file, encoded)
        return encoded


def _fingerprint(queries: Sequence[Query], planner: QueryPlanner) -> str:
    """Return a hash of the queries and of what encodes them."""
    content = hashlib.sha256("".join(card.to_json() for card in planner.cards).encode())
    for part in (part for query in queries for part in query.parts):
        content.update(repr(part.words).encode())
        for array in (*map(np.asarray, part.pictures), *part.sounds):
            content.update(array.tobytes())
    return content.hexdigest()[:32]


def _save(file: Path, encoded: Sequence[EncodedQuery]) -> None:
    """Write the encoded parts under names such as ``3/0/text``: the query, its part, the channel."""
    arrays: dict[str, Any] = {
        f"{n}/{m}/{channel}": np.asarray(queries)
        for n, query in enumerate(encoded)
        for m, part in enumerate(query.parts)
        for channel, queries in part.items()
    }
    file.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=file.parent) as unfinished:  # other processes see all of the file, or none
        np.savez(Path(unfinished) / file.name, **arrays)
        (Path(unfinished) / file.name).replace(file)


def _load(file: Path, queries: Sequence[Query]) -> list[EncodedQuery]:
    """Read what `_save` wrote of these queries; empty if the file is missing or damaged."""
    parts: list[list[dict[str, list[Vectors | str]]]] = [[{} for _ in query.parts] for query in queries]
    try:
        with file.open("rb") as opened, np.load(opened, allow_pickle=False) as arrays:
            for name, array in arrays.items():
                n, m, channel = name.split("/")
                parts[int(n)][int(m)][channel] = array.tolist() if array.dtype.kind == "U" else list(array)
    except (OSError, ValueError, LookupError, EOFError, BadZipFile):
        return []
    return [EncodedQuery(query, tuple(one)) for query, one in zip(queries, parts, strict=True)]


def _unrelated_queries(sample_rate: int | None) -> list[Query]:
    """Return queries of words, a picture and a sound; once a medium runs out, without it.

    Args:
        sample_rate: of the sound encoder, in Hz; None for no sounds.
    """
    sounds = unrelated_sounds(sample_rate) if sample_rate else ()
    media = zip_longest(UNRELATED_QUESTIONS, unrelated_pictures(), sounds)
    return [
        Query(
            parts=(
                QueryPart(words),
                QueryPart(pictures=() if picture is None else (picture,)),
                QueryPart(sounds=() if sound is None else (sound,)),
            )
        )
        for words, picture, sound in media
    ]


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
