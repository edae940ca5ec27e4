"""Preferences: nothing is stored without consent, likes move pictures within bounds, and erased ones are gone."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from rag import KnowledgeBase
from rag.encoders.base import normalize
from rag.errors import QueryError
from rag.explanation import Explanation
from rag.index import SegmentIndex
from rag.index.edge import EdgeIndex
from rag.personalization.preference import Preference, rank_by_preference
from rag.personalization.store import PreferenceStore, preferences_url
from rag.segments import segment_id
from rag.types import Hit
from tests.fakes.segments import DUAL, TEXT, frame, indexed, passage, photo

COLOURS = ("red", "blue", "green", "yellow")


@pytest.fixture
def index(tmp_path: Path) -> Iterator[SegmentIndex]:
    with EdgeIndex(tmp_path / "index", {"joint": DUAL.card, "text": TEXT.card}) as index:
        index.upsert([indexed(photo(f"{colour}.jpg"), colour) for colour in COLOURS])
        index.upsert([indexed(passage("words.txt", "words about red things"))])
        yield index


@pytest.fixture
def preferences(index: SegmentIndex, tmp_path: Path) -> Iterator[PreferenceStore]:
    preferences = PreferenceStore(preferences_url(tmp_path), index, DUAL.card.revision)
    yield preferences
    preferences.close()


def hit(colour: str, score: float = 0.5) -> Hit:
    return Hit(photo(f"{colour}.jpg"), Explanation(score))


def titles(hits: list[Hit]) -> list[str]:
    return [one.segment.title for one in hits]


def test_nothing_is_stored_without_consent(preferences: PreferenceStore) -> None:
    with pytest.raises(QueryError, match="anna"):
        preferences.like("anna", [hit("red")])
    assert preferences.get("anna") is None
    assert preferences.users() == []
    hits = [hit("red"), hit("blue")]
    assert preferences.rank(hits, "anna") == hits


def test_liked_pictures_come_earlier_and_say_why(preferences: PreferenceStore) -> None:
    preferences.consent("anna")
    assert preferences.rank([hit("red"), hit("blue")], "anna") == [hit("red"), hit("blue")]
    preference = preferences.like("anna", [hit("blue"), hit("blue"), hit("blue")])
    assert preference.likes == 3
    found = preferences.rank([hit(colour) for colour in COLOURS], "anna")
    assert titles(found)[0] == "blue.jpg"
    assert found[0].score > 0.5 > found[-1].score
    assert found[0].why.rules[0].startswith("taste ×1.")
    assert "rule: taste ×" in str(found[0].why)
    assert preferences.rank([hit("red"), hit("blue")], "bob") == [hit("red"), hit("blue")]


def test_a_preference_does_not_raise_poor_hits(preferences: PreferenceStore) -> None:
    preferences.consent("anna")
    preferences.like("anna", [hit("blue")] * 50)
    found = preferences.rank([hit("red", 0.8), hit("green", 0.7), hit("blue", 0.1)], "anna")
    assert titles(found)[-1] == "blue.jpg"
    assert found[-1].score == pytest.approx(0.1 * 2.8 / (0.9 + 0.1 * 2.8), abs=0.02)


def test_words_and_lone_pictures_keep_their_scores(preferences: PreferenceStore) -> None:
    preferences.consent("anna")
    preferences.like("anna", [hit("blue")])
    words = Hit(passage("words.txt", "words about red things"), Explanation(0.4))
    assert preferences.rank([words], "anna") == [words]
    found = preferences.rank([words, hit("red", 0.3)], "anna")
    assert [one.score for one in found] == [0.4, pytest.approx(0.3)]


def test_passages_teach_nothing_and_a_moment_teaches_its_frame(
    preferences: PreferenceStore, index: SegmentIndex
) -> None:
    preferences.consent("anna")
    words = passage("words.txt", "words about red things")
    assert preferences.like("anna", [Hit(words, Explanation(0.5)), segment_id(words)]).likes == 0
    index.upsert([indexed(frame("film.mp4", 3.0), "green")])
    part = Hit(frame("film.mp4", 3.0), Explanation(0.5))
    moment = replace(part, segment=replace(part.segment, kind="moment"), parts=(part,))
    assert preferences.like("anna", [moment]).likes == 1
    assert titles(preferences.rank([hit("red"), hit("green")], "anna")) == ["green.jpg", "red.jpg"]


def test_ids_work_like_hits_and_unknown_ones_are_ignored(preferences: PreferenceStore) -> None:
    preferences.consent("anna")
    by_hit = preferences.like("anna", [hit("blue")])
    preferences.consent("bob")
    by_id = preferences.like("bob", [segment_id(photo("blue.jpg")), segment_id(photo("gone.jpg"))])
    assert by_id.likes == 1
    assert np.array_equal(by_hit.mean, by_id.mean)
    with pytest.raises(QueryError, match=r"\.\./etc"):
        preferences.like("anna", ["../etc"])
    with pytest.raises(QueryError, match=r"\b1000\b"):
        preferences.like("anna", [hit("red")] * 1001)


def test_a_second_consent_changes_nothing(preferences: PreferenceStore) -> None:
    first = preferences.consent("anna")
    preferences.like("anna", [hit("red")])
    again = preferences.consent("anna")
    assert (again.since, again.likes) == (first.since, 1)


@pytest.mark.parametrize("user", ["", "  ", "x" * 201, "a\0b", "half a letter \ud83d"])
def test_a_malformed_user_id_is_refused(preferences: PreferenceStore, user: str) -> None:
    with pytest.raises(QueryError, match=r"\b200\b"):
        preferences.consent(user)


def test_erased_preferences_are_gone_from_the_disk(preferences: PreferenceStore, tmp_path: Path) -> None:
    def on_disk() -> bytes:
        return b"".join(file.read_bytes() for file in tmp_path.glob("tastes.db*"))

    preferences.consent("anna-4711")
    preferences.consent("bob-0815")
    mean = preferences.like("anna-4711", [hit("red"), hit("blue")]).mean.tobytes()
    assert b"anna-4711" in on_disk()
    assert mean in on_disk()
    assert preferences.erase("anna-4711")
    assert not preferences.erase("anna-4711")
    assert preferences.users() == ["bob-0815"]
    assert b"anna-4711" not in on_disk()
    assert mean not in on_disk()
    assert b"bob-0815" in on_disk()


def test_the_file_is_its_owners_and_outlives_the_process(
    preferences: PreferenceStore, index: SegmentIndex, tmp_path: Path
) -> None:
    preferences.consent("anna")
    preferences.like("anna", [hit("blue")])
    assert stat.S_IMODE(os.stat(tmp_path / "tastes.db").st_mode) == 0o600
    other = PreferenceStore(preferences_url(tmp_path), index, DUAL.card.revision)
    assert titles(other.rank([hit("red"), hit("blue")], "anna")) == ["blue.jpg", "red.jpg"]
    other.close()


def test_vectors_of_another_encoder_have_no_effect_and_make_way(
    preferences: PreferenceStore, index: SegmentIndex, tmp_path: Path
) -> None:
    preferences.consent("anna")
    preferences.like("anna", [hit("blue")])
    other = PreferenceStore(preferences_url(tmp_path), index, "another revision")
    hits = [hit("red"), hit("blue")]
    assert other.rank(hits, "anna") == hits
    assert other.like("anna", [hit("red")]).likes == 1
    other.close()


def test_a_preference_is_the_mean_and_newer_likes_count_more_in_the_end() -> None:
    first, second = normalize(np.eye(2, 3))
    preference = Preference("anna", 0.0, 0, np.zeros(0, np.float32))
    assert np.allclose(preference.with_likes(np.stack([first, second])).mean, (first + second) / 2)
    long_ago = preference.with_likes(np.repeat(first[None], 500, 0))
    now = long_ago.with_likes(np.repeat(second[None], 100, 0))
    assert now.likes == 600
    assert now.mean @ second > now.mean @ first


def test_boosts_are_bounded_and_grow_with_likes() -> None:
    vectors = normalize(np.random.default_rng(0).standard_normal((20, 8)))
    few, many = (
        Preference("anna", 0.0, 0, np.zeros(0, np.float32)).with_likes(np.repeat(vectors[:1], n, 0)) for n in (1, 1000)
    )
    assert max(few.boosts(vectors)) < max(many.boosts(vectors)) <= 3
    assert min(few.boosts(vectors)) > min(many.boosts(vectors)) >= round(1 / 3, 2)
    assert np.argmax(many.boosts(vectors)) == 0
    assert many.boosts(np.repeat(vectors[:1], 5, 0)) == [1.0] * 5
    assert rank_by_preference([], many, {}) == []


def test_a_search_for_a_user_follows_their_preference(demo_base: KnowledgeBase) -> None:
    def found(**options: str) -> list[str]:
        return [Path(one.path).name for one in demo_base.search("a monkey", modality="image", **options)]

    before, (orangutan, *_) = found(), demo_base.search("an orangutan", modality="image", where={"kind": "picture"})
    demo_base.preferences.consent("anna")
    try:
        demo_base.preferences.like("anna", [orangutan] * 10)
        after = found(user="anna")
        assert sorted(after) == sorted(before)
        assert after.index("photo-04.jpg") < before.index("photo-04.jpg")
        assert found(user="somebody else") == before
    finally:
        demo_base.preferences.erase("anna")
    assert found(user="anna") == before
