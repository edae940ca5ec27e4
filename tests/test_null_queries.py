from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from rag.retrieval.channels import SearchPlan
from rag.retrieval.null_queries import NullQueries, unrelated_pictures, unrelated_sounds
from rag.retrieval.planner import QueryPlanner
from rag.types import Filter
from tests.fakes.encoders import CountingTextEncoder, HashingEncoder, HashingTextEncoder, PitchEncoder


def create_planner(text: HashingTextEncoder) -> QueryPlanner:
    return QueryPlanner(text, HashingEncoder(text), PitchEncoder())


def plans(planner: QueryPlanner, folder: Path | None) -> list[SearchPlan]:
    queries = NullQueries(planner, folder)
    return [planner.plan(query, 1, Filter()) for query in (*queries.unrelated(), *queries.nonsense())]


def as_text(plans: list[SearchPlan]) -> str:
    with np.printoptions(threshold=10_000, floatmode="unique"):
        return repr(plans)


@pytest.fixture
def text() -> CountingTextEncoder:
    return CountingTextEncoder()


def test_stored_queries_plan_the_same_searches(text: CountingTextEncoder, tmp_path: Path) -> None:
    planner = create_planner(text)
    expected, first, again = plans(planner, None), plans(planner, tmp_path), plans(planner, tmp_path)
    assert {channel for plan in again for channel in plan} >= {"text", "bm25", "sound", "like image", "blend image"}
    assert as_text(expected) == as_text(first) == as_text(again)


def test_queries_are_encoded_once_for_each_set_of_encoders(text: CountingTextEncoder, tmp_path: Path) -> None:
    for _ in range(2):
        plans(create_planner(text), tmp_path)
    assert len(text.queries) == len(set(text.queries)) == 96
    other = CountingTextEncoder(dimensions=32, name="other")
    plans(create_planner(other), tmp_path)
    plans(QueryPlanner(text, HashingEncoder(text)), tmp_path)  # without sounds
    assert (len(text.queries), len(other.queries)) == (192, 96)


def test_nothing_is_stored_of_an_encoder_behind_an_api(tmp_path: Path) -> None:
    text = CountingTextEncoder(name="litellm:provider/model")
    for _ in range(2):
        plans(create_planner(text), tmp_path)
    assert len(text.queries) == 192
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("damage", [b"", b"PK", b"nonsense", None])
def test_a_damaged_file_is_written_again(text: CountingTextEncoder, tmp_path: Path, damage: bytes | None) -> None:
    expected = as_text(plans(create_planner(text), tmp_path))
    for file in tmp_path.iterdir():
        file.write_bytes(file.read_bytes()[:-2000] if damage is None else damage)
    assert as_text(plans(create_planner(text), tmp_path)) == expected
    text.queries.clear()
    assert as_text(plans(create_planner(text), tmp_path)) == expected
    assert not text.queries


def test_a_folder_that_cannot_be_written_only_costs_time(text: CountingTextEncoder, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert plans(create_planner(text), tmp_path / "file")


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
