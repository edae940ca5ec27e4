"""What calibration is for, on real encoders: no lane drowns another, and nonsense is not believed."""

from __future__ import annotations

import random
import string
from collections.abc import Iterator

import numpy as np
import pytest

from rag import KnowledgeBase
from rag.calibration import UNRELATED_QUESTIONS, Calibrations, unrelated_pictures, unrelated_sounds
from rag.fusion import Calibration
from rag.query import Query
from rag.retrieve import Retriever
from rag.types import Filter, Modality

OLD = '{"encoders": [], "segments": 0, "lanes": {}, "least_believed": 0.5}'  # before kinds were counted
ASKED: list[tuple[str, str, Modality]] = [
    ("an orangutan", "photo-04.jpg", "image"),
    ("a gorilla", "photo-02.jpg", "image"),
    ("a bee on a flower", "film.mp4", "video"),
    ("an ape looks into the camera", "film.mp4", "video"),
    ("the first chimpanzee that let Jane Goodall come near", "audio-guide.m4a", "audio"),
    ("a young woman set up camp at Gombe", "audio-guide.m4a", "audio"),
]


def letters(seed: int) -> Iterator[str]:
    """Random words, and real questions with the letters of each word shuffled."""
    rng = random.Random(seed)
    for asked in UNRELATED_QUESTIONS:
        lengths = [rng.randint(3, 9) for _ in range(rng.randint(1, 5))]
        yield " ".join("".join(rng.choices(string.ascii_lowercase, k=length)) for length in lengths)
        yield " ".join("".join(rng.sample(word, len(word))) for word in asked.split())
    for words, _, _ in ASKED:
        yield " ".join("".join(rng.sample(word, len(word))) for word in words.split())


def rank(retriever: Retriever, base: KnowledgeBase, words: str, name: str) -> int:
    """Rank of the first hit in a file, 99 where there is none."""
    found = base._engine.located(retriever.retrieve(Query(words), top_k=20))
    return next((n for n, hit in enumerate(found, 1) if hit.path.endswith(name)), 99)


@pytest.fixture(scope="module")
def wordless(demo_base: KnowledgeBase) -> Retriever:
    return Retriever(demo_base._index, demo_base._text, demo_base._dual, demo_base._audio, without={"bm25"})


@pytest.mark.parametrize("modality", ["image", "video", "audio"])
@pytest.mark.parametrize("k", [1, 5])
def test_word_search_never_lowers_the_recall_of_a_medium(
    demo_base: KnowledgeBase, wordless: Retriever, modality: Modality, k: int
) -> None:
    asked = [(words, name) for words, name, medium in ASKED if medium == modality]
    found = [sum(rank(r, demo_base, *pair) <= k for pair in asked) for r in (demo_base._engine.retriever, wordless)]
    assert found[0] >= found[1]
    assert k == 1 or found[0] == len(asked)


def test_what_is_said_word_by_word_is_not_beaten_by_a_mediocre_frame(demo_base: KnowledgeBase) -> None:
    (speech, *_) = demo_base.search("Jane Goodall", modality="audio")
    sentence = " ".join(word.text for word in speech.segment.words[:40])
    assert demo_base.search(sentence)[0].segment.asset_id == speech.segment.asset_id


def test_of_random_and_shuffled_letters_at_most_one_in_twenty_is_believed(demo_base: KnowledgeBase) -> None:
    scores = [hits[0].score if (hits := demo_base.search(words, top_k=1)) else 0.0 for words in letters(seed=1)]
    assert sum(score > demo_base.least_believed for score in scores) <= len(scores) / 20
    real = [demo_base.search(words, top_k=1)[0].score for words, _, _ in ASKED]
    assert sum(score > demo_base.least_believed for score in real) >= len(real) - 1


def test_calibrations_are_kept_with_the_collection(demo_base: KnowledgeBase) -> None:
    kept = Calibrations.from_json((demo_base.path / "calibration.json").read_text("utf-8"))
    assert sum(kept.segments.values()) == demo_base._index.count(Filter())
    assert kept.segments["frame"] == demo_base._index.count(Filter(where={"kind": "frame"})) > 0
    assert kept.lanes is not None
    assert {"text", "bm25", "image", "video", "like image", "like video", "like text", "like sound"} <= set(kept.lanes)
    assert kept == Calibrations.from_json(kept.to_json())


@pytest.mark.parametrize("text", ["", "[]", '{"lanes": 3}', '{"lanes": {"text": {"mean": 1}}, "encoders": []}', OLD])
def test_what_was_not_kept_whole_fits_nothing(text: str) -> None:
    assert not Calibrations.from_json(text).fit((), {})


def test_calibrations_hold_until_what_there_is_of_a_kind_has_grown_by_half() -> None:
    kept = Calibrations(("a", "b"), {"passage": 1000, "picture": 100, "frame": 0}, {"text": Calibration(0.3, 0.1)}, 0.6)
    assert kept.fit(("a", "b"), {"passage": 900, "picture": 149})
    assert not kept.fit(("a", "b"), {"passage": 1000, "picture": 151})
    assert not kept.fit(("a", "b"), {"passage": 1000, "picture": 60})
    assert not kept.fit(("a", "b"), {"passage": 1000, "picture": 100, "frame": 1})
    assert not kept.fit(("a", "b"), {"passage": 1000})
    assert not kept.fit(("a", "c"), {"passage": 1000, "picture": 100})


def test_unrelated_pictures_are_photos_of_their_own() -> None:
    pictures = unrelated_pictures()
    assert {picture.size for picture in pictures} == {(160, 160)}
    assert len({picture.tobytes() for picture in pictures}) == 24


def test_unrelated_sounds_differ_and_are_the_same_every_time() -> None:
    sounds = unrelated_sounds(16_000)
    assert {sound.shape for sound in sounds} == {(48_000,)}
    assert len({sound.tobytes() for sound in sounds}) == 12
    assert all(0.49 < np.abs(sound).max() <= 0.5 for sound in sounds)
    assert [sound.tobytes() for sound in sounds] == [sound.tobytes() for sound in unrelated_sounds(16_000)]
