from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag.retrieval.fusion import (
    Calibration,
    Ranking,
    apply_negatives,
    apply_quotas,
    calibrate,
    calibrate_best_of,
    combine_vectors,
    defer_repeats,
    fuse,
    merge_best,
    penalize_repeats,
    score_negatives,
)

KEYS = st.lists(st.sampled_from("abcdefgh"), unique=True, max_size=8)
SCORES = st.floats(-1, 1, allow_nan=False).map(lambda score: round(score, 3))
CALIBRATIONS = st.none() | st.builds(Calibration, SCORES, st.floats(0.01, 1))


@st.composite
def rankings(draw: st.DrawFn) -> Ranking:
    found = draw(KEYS)
    scores = sorted((draw(SCORES) for _ in found), reverse=True)
    return Ranking(
        draw(st.sampled_from(["words", "looks"])),
        list(zip(found, scores, strict=True)),
        draw(st.floats(0.1, 2)),
        draw(CALIBRATIONS),
        draw(st.floats(0.1, 1)),
    )


CHANNELS = st.dictionaries(st.sampled_from(["text", "bm25", "image", "video"]), rankings(), max_size=4)


def sighted(channel: str, key: str) -> bool:
    return True


def in_own_channels(channel: str, key: str) -> bool:
    return False  # beside those that found it, which `fuse` knows by itself


@given(CHANNELS)
def test_every_candidate_is_ranked_once_with_a_score_between_0_and_1(channels: dict[str, Ranking]) -> None:
    fused = fuse(channels, sees=sighted)
    assert sorted(key for key, _ in fused) == sorted(
        {key for channel in channels.values() for key, _ in channel.scores}
    )
    assert all(0 <= score <= 1 for _, score in fused)
    assert [score for _, score in fused] == sorted((score for _, score in fused), reverse=True)


@given(CHANNELS, st.randoms())
def test_the_order_of_the_channels_does_not_matter(channels: dict[str, Ranking], random: object) -> None:
    shuffled = list(channels.items())
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert fuse(dict(shuffled), sees=sighted) == fuse(channels, sees=sighted)


@given(CHANNELS)
def test_names_do_not_matter(channels: dict[str, Ranking]) -> None:
    def renamed(ranking: Ranking) -> Ranking:
        found = [(f"z{key}", score) for key, score in ranking.scores]
        return Ranking(ranking.view, found, ranking.weight, ranking.calibration, ranking.trust)

    again = fuse({name: renamed(ranking) for name, ranking in channels.items()}, sees=sighted)
    assert again == [(f"z{key}", score) for key, score in fuse(channels, sees=sighted)]


@given(CHANNELS, rankings())
def test_a_channel_that_sees_none_of_the_candidates_changes_nothing(
    channels: dict[str, Ranking], blind: Ranking
) -> None:
    others = Ranking(blind.view, [(f"other {key}", score) for key, score in blind.scores], blind.weight)
    fused = fuse(channels | {"blind": others}, sees=lambda channel, key: channel != "blind")
    assert [pair for pair in fused if not pair[0].startswith("other")] == fuse(channels, sees=sighted)


@given(CHANNELS, st.sampled_from(["text", "bm25", "image", "video"]), st.integers(0, 7))
def test_a_better_place_in_a_channel_never_costs_score(channels: dict[str, Ranking], channel: str, place: int) -> None:
    if channel not in channels or place + 1 >= len(channels[channel].scores):
        return
    before = dict(fuse(channels, sees=sighted))
    ranking = channels[channel]
    found = list(ranking.scores)
    (first, high), (second, low) = found[place], found[place + 1]
    found[place], found[place + 1] = (second, high), (first, low)
    swapped = Ranking(ranking.view, found, ranking.weight, ranking.calibration, ranking.trust)
    after = dict(fuse(channels | {channel: swapped}, sees=sighted))
    assert after[second] >= before[second] - 1e-12
    assert after[first] <= before[first] + 1e-12


@given(CHANNELS)
def test_one_more_view_that_finds_an_item_never_costs_score(channels: dict[str, Ranking]) -> None:
    before = dict(fuse(channels, sees=in_own_channels))
    after = dict(fuse(channels | {"more": Ranking("another", [("a", 0.5)])}, sees=in_own_channels))
    assert all(after[key] >= score - 1e-12 for key, score in before.items())


def test_one_channel_keeps_its_order() -> None:
    found = [("b", 0.9), ("a", 0.5), ("c", 0.1)]
    assert [key for key, _ in fuse({"text": Ranking("words", found)}, sees=sighted)] == ["b", "a", "c"]
    assert fuse({}, sees=sighted) == []
    assert fuse({"text": Ranking("words", [])}, sees=sighted) == []


def test_the_score_is_that_of_the_formula() -> None:
    half = Calibration(0.5, 0.1)
    channels = {
        "text": Ranking("words", [("a", 0.5), ("b", 0.42)], 1.0, half),
        "bm25": Ranking("words", [("b", 9.0)], 0.5),
        "image": Ranking("looks", [("b", 0.4)], trust=0.8),
    }
    scores = dict(fuse(channels, sees=lambda channel, key: channel != "image"))
    assert scores["a"] == pytest.approx(0.9 * 0.5 / 1.5)
    words = (0.9 * half.confidence(0.42) * 0.6 + 0.5 * 0.9) / 1.5
    assert scores["b"] == pytest.approx(1 - (1 - words) * (1 - 0.8 * 0.4) ** 0.5)


def test_a_second_view_counts_half_and_a_second_part_of_the_question_in_full() -> None:
    words, looks = Ranking("words", [("a", 0.5)], trust=1.0), Ranking("looks", [("a", 0.5)], trust=1.0)
    assert dict(fuse({"text": words, "image": looks}, sees=sighted))["a"] == pytest.approx(1 - 0.5 * 0.5**0.5)
    other = Ranking("looks", [("a", 0.5)], trust=1.0, part=1)
    assert dict(fuse({"text": words, "image": other}, sees=sighted))["a"] == pytest.approx(1 - 0.5 * 0.5)


def test_a_transcript_at_the_top_of_its_only_channel_beats_a_mediocre_frame_in_two() -> None:
    channels = {
        "text": Ranking("words", [("transcript", 0.99), ("frame", 0.4)], calibration=Calibration(0.3, 0.08)),
        "video": Ranking("looks", [("other", 0.6), ("frame", 0.4)], calibration=Calibration(0.32, 0.1)),
    }
    fused = fuse(channels, sees=lambda channel, key: key == "frame" or channel == "text")
    assert fused[0][0] == "transcript"


def test_equal_ranks_are_separated_by_the_null_scores_of_the_channel() -> None:
    question = {
        "text": Ranking("words", [("passage", 0.6)], calibration=Calibration(0.3, 0.08)),
        "image": Ranking("looks", [("photo", 0.25)], calibration=Calibration(0.32, 0.1)),
    }
    assert [key for key, _ in fuse(question, sees=in_own_channels)] == ["passage", "photo"]
    scene = {
        "text": Ranking("words", [("passage", 0.28)], calibration=Calibration(0.3, 0.08)),
        "image": Ranking("looks", [("photo", 0.45)], calibration=Calibration(0.32, 0.1)),
    }
    assert [key for key, _ in fuse(scene, sees=in_own_channels)] == ["photo", "passage"]


@given(SCORES, SCORES, st.floats(0.001, 10))
def test_trust_grows_with_the_score(low: float, high: float, deviation: float) -> None:
    calibration = Calibration(0.1, deviation)
    low, high = sorted((low, high))
    assert 0 <= calibration.confidence(low) <= calibration.confidence(high) <= 1
    assert calibration.confidence(0.1) == 0.5


def test_calibration_is_robust_to_answerable_questions_and_to_tiny_collections() -> None:
    scores = [0.2 + 0.01 * n for n in range(21)]
    plain = calibrate(scores, 0.01)
    assert plain.middle == pytest.approx(0.3)
    assert plain.deviation == pytest.approx(0.08, abs=0.01)
    assert calibrate([*scores[:-1], 0.99], 0.01) == plain
    assert calibrate([0.0] * 32, 0.03) == Calibration(0.0, 0.03)


def test_the_best_of_several_queries_has_a_null_of_its_own() -> None:
    drawn = np.random.default_rng(0)
    one = Calibration(0.2, 0.1)
    for likeness, foretold in ((0.0, 1.03), (0.6, 0.65), (1.0, 0.0)):
        cosines = likeness + (1 - likeness) * np.eye(4) + 1e-9 * np.eye(4)
        queries = np.linalg.cholesky(cosines).astype(np.float32)
        assert queries @ queries.T == pytest.approx(cosines, abs=1e-3)
        best = calibrate_best_of(one, list(queries))
        assert (best.middle - one.middle) / one.deviation == pytest.approx(foretold, abs=0.04)
        scores = 0.2 + 0.1 * drawn.standard_normal((4000, 4)) @ queries.T  # of four queries to unrelated things
        assert best.middle == pytest.approx(float(scores.max(axis=1).mean()), abs=0.01)
    assert calibrate_best_of(one, [unit(1, 2)]) == one


@given(st.lists(st.integers(0, 20)), st.integers(1, 4))
def test_deferring_repeats_loses_nothing_and_keeps_order_within_a_place(items: list[int], most: int) -> None:
    def place(item: int) -> int:
        return item % 3

    collapsed = defer_repeats(items, place, most=most)
    assert sorted(collapsed) == sorted(items)
    for group in range(3):
        assert [i for i in collapsed if place(i) == group] == [i for i in items if place(i) == group]
    head = collapsed[: sum(min(most, sum(place(i) == group for i in items)) for group in range(3))]
    assert all(sum(place(i) == group for i in head) <= most for group in range(3))


def test_ten_frames_of_a_scene_do_not_fill_the_list() -> None:
    hits = [*(f"scene-{n}" for n in range(10)), "page-0", "page-1"]
    collapsed = defer_repeats(hits, lambda hit: hit.split("-")[0], most=2)
    assert collapsed[:4] == ["scene-0", "scene-1", "page-0", "page-1"]


def test_a_long_scene_leaves_room_for_what_fits_a_quarter_as_well_and_for_nothing_less() -> None:
    scene = [(f"scene-{n}", 0.88) for n in range(12)]

    def order(*others: tuple[str, float]) -> list[str]:
        items = sorted([*scene, *others], key=lambda pair: -pair[1])
        film = {key: "film" for key, _ in scene}
        found = penalize_repeats(items, lambda item: film.get(item[0]), lambda item: item[1], most=3)
        assert [key for key, _ in found if key in film] == list(film)
        return [key for key, _ in found]

    assert order(("photo", 0.6), ("note", 0.3)).index("photo") == 4
    assert order(("photo", 0.6), ("note", 0.3)).index("note") == 8
    assert order(("photo", 0.1))[:10] == [key for key, _ in scene[:10]]
    assert order(("owl", 0.87), ("cat", 0.86), ("bee", 0.85), ("ape", 0.84))[3:7] == ["owl", "cat", "bee", "ape"]


def unit(*numbers: float) -> np.ndarray:
    vector = np.array(numbers, np.float32)
    return vector / np.float32(np.linalg.norm(vector))


def test_several_vectors_are_one_between_them_nearer_to_the_heavier() -> None:
    blend = combine_vectors([(unit(1, 0, 0), 1.0), (unit(0, 1, 0), 0.5)])
    assert blend is not None
    assert blend == pytest.approx(unit(2, 1, 0))
    assert combine_vectors([(unit(1, 0, 0), 0.3)]) == pytest.approx(unit(1, 0, 0))


def test_a_negative_vector_is_subtracted() -> None:
    both, logo = unit(1, 1, 0), unit(0, 1, 0)
    less = combine_vectors([(both, 1.0)], [(logo, 1.0)])
    assert less is not None
    assert less @ logo < both @ logo
    assert less @ unit(1, 0, 0) > both @ unit(1, 0, 0)
    assert float(np.linalg.norm(less)) == pytest.approx(1)
    assert combine_vectors([(logo, 1.0)], [(logo, 1.0), (logo, 1.0)]) is None  # nothing is left of it


def test_an_item_that_fits_the_negatives_better_falls_below_a_quarter() -> None:
    fused = [("a", 0.9), ("b", 0.8), ("c", 0.5)]
    assert apply_negatives(fused, {}) == fused
    assert apply_negatives(fused, {"a": 0.95, "c": 0.1}) == [
        ("b", 0.8),
        ("c", pytest.approx(0.45)),
        ("a", pytest.approx(0.045)),
    ]


@given(st.floats(0, 1), st.floats(0, 1))
def test_the_penalty_of_negatives_is_bounded(score: float, against: float) -> None:
    ((_, found),) = apply_negatives([("a", score)], {"a": against})
    assert 0 <= found <= score
    assert found <= 0.25 or against <= score


def test_negatives_count_scores_and_not_ranks() -> None:
    channel = Ranking("words", [("a", 0.8), *((f"x{n}", 0.8) for n in range(50)), ("z", 0.8)], trust=1.0)
    against = score_negatives({"text": channel}, sees=sighted)
    assert against["a"] == against["z"] == pytest.approx(0.8)
    assert score_negatives({}, sees=sighted) == {}


def test_of_several_rankings_each_item_counts_once_with_its_best_score() -> None:
    rankings = [[("a", 0.9), ("b", 0.2)], [("b", 0.7), ("a", 0.1), ("c", 0.05)]]
    assert merge_best(rankings, str) == [("a", 0.9), ("b", 0.7), ("c", 0.05)]
    assert merge_best([], str) == []


ITEMS = ["t1", "t2", "i1", "t3", "v1", "t4", "i2", "i3", "v2"]


@pytest.mark.parametrize(
    ("quotas", "most", "expected"),
    [
        ({}, 3, ["t1", "t2", "i1"]),
        ({"i": 2}, 4, ["t1", "t2", "i1", "i2"]),
        ({"t": 1}, 4, ["t1", "i1", "v1", "i2"]),
        ({"i": 2, "t": 1}, 9, ["t1", "i1", "v1", "i2", "v2"]),
        ({"i": 9}, 4, ["t1", "i1", "i2", "i3"]),
        ({"t": 3, "i": 3}, 4, ["t1", "t2", "i1", "t3"]),
        ({"i": 0}, 3, ["t1", "t2", "t3"]),
    ],
)
def test_quotas_reserve_and_limit_places(quotas: dict[str, int], most: int, expected: list[str]) -> None:
    assert apply_quotas(ITEMS, lambda item: item[0], quotas, most) == expected
