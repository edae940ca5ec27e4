"""Which frames are kept, on made-up pictures."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from ingest.audio_video.shots import (
    GRID,
    SAMPLE_PX,
    SAMPLES_PER_S,
    FrameSample,
    Shot,
    changed_share,
    difference,
    sample_frame,
    select_shots,
)
from tests.fakes.media import plain, slide, texture

Scene = Callable[[float], Image.Image]
RNG = np.random.default_rng(7)


def pixels(image: Image.Image) -> NDArray[np.uint8]:
    return np.asarray(image.resize(SAMPLE_PX, Image.Resampling.BOX))


def video(*scenes: tuple[float, Scene], noise: float = 2.0) -> Iterator[FrameSample[str]]:
    """Scenes of so many seconds, each a picture that may change with the time since it began; with grain."""
    now_s = 0.0
    for number, (length_s, scene) in enumerate(scenes):
        for i in range(round(length_s * SAMPLES_PER_S)):
            at_s = i / SAMPLES_PER_S
            grain = RNG.normal(0, noise, (SAMPLE_PX[1], SAMPLE_PX[0], 1))
            rgb = np.clip(pixels(scene(at_s)) + grain, 0, 255).astype(np.uint8)
            yield sample_frame(now_s + at_s, rgb, f"{number}")
        now_s += length_s


def still(image: Image.Image) -> Scene:
    return lambda at_s: image


def pan(seed: int, pixels_per_s: float) -> Scene:
    wide = texture(seed, (2000, 180))
    return lambda at_s: wide.crop((round(at_s * pixels_per_s), 0, round(at_s * pixels_per_s) + 320, 180))


def frames_of(shots: Iterator[Shot[str]]) -> list[str]:
    return [shot.sample.frame for shot in shots]


class TestMeasures:
    def test_equal_frames_have_no_change(self) -> None:
        (a,) = video((0.125, still(texture(1))), noise=0)
        assert changed_share(a.cells, a.cells) == difference(a.cells, a.cells) == 0.0

    def test_black_and_white_are_as_far_apart_as_can_be(self) -> None:
        black, white = video((0.125, still(plain((0, 0, 0)))), (0.125, still(plain((255, 255, 255)))), noise=0)
        assert changed_share(black.cells, white.cells) == 1.0
        assert difference(black.cells, white.cells) == pytest.approx(1.5)
        assert black.is_blank
        assert white.is_blank

    def test_blur_is_less_sharp(self) -> None:
        sharp = sample_frame(0, pixels(slide(["Sharp words"])), "")
        soft = sample_frame(0, pixels(slide(["Sharp words"]).filter(ImageFilter.GaussianBlur(6))), "")
        assert sharp.sharpness > 2 * soft.sharpness


class TestCuts:
    def test_each_shot_gives_a_frame_from_its_beginning(self) -> None:
        shots = list(select_shots(video(*((3.0, still(texture(i))) for i in range(6))), 60.0))
        assert frames_of(iter(shots)) == ["0", "1", "2", "3", "4", "5"]
        assert [shot.start_s for shot in shots] == pytest.approx([0, 3, 6, 9, 12, 15])
        assert [shot.end_s for shot in shots] == pytest.approx([3, 6, 9, 12, 15, 18])
        assert all(shot.start_s <= shot.sample.at_s <= shot.start_s + 0.6 for shot in shots)

    def test_a_line_that_appears_on_a_slide(self) -> None:
        lines = ["Results", "Revenue grew", "Costs fell", "Outlook"]
        shots = list(select_shots(video(*((4.0, still(slide(lines[: i + 1]))) for i in range(4))), 60.0))
        assert frames_of(iter(shots)) == ["0", "1", "2", "3"]

    def test_a_pan_is_not_a_cut(self) -> None:
        shots = list(select_shots(video((6.0, pan(3, 25))), 60.0))
        assert len(shots) == 1

    def test_a_dissolve_is_not_caught_in_the_middle(self) -> None:
        a, b = texture(1), texture(2)
        scenes = [(4.0, still(a)), (1.0, lambda at_s: Image.blend(a, b, at_s)), (4.0, still(b))]
        first, second = select_shots(video(*scenes), 60.0)
        (pure,) = video((0.125, still(b)), noise=0)
        assert first.sample.frame == "0"
        assert changed_share(second.sample.cells, pure.cells) < 0.05

    def test_a_blurred_beginning_is_skipped(self) -> None:
        sharp = texture(5).resize((320, 180))
        sharp.paste(slide(["Sharp"]).resize((160, 90)), (20, 20))
        blurred = sharp.filter(ImageFilter.GaussianBlur(8))
        shots = list(select_shots(video((3.0, still(texture(1))), (0.25, still(blurred)), (3.0, still(sharp))), 60.0))
        assert frames_of(iter(shots)) == ["0", "2"]


class TestSteadyRate:
    def test_a_moving_scene_is_sampled_at_the_rate(self) -> None:
        shots = list(select_shots(video((21.0, pan(3, 25))), 5.0))
        assert [shot.start_s for shot in shots] == pytest.approx([0, 5, 10, 15, 20], abs=1.0)

    def test_a_still_scene_is_sampled_once_in_two_minutes(self) -> None:
        shots = list(select_shots(video((110.0, still(texture(1)))), 5.0))
        assert len(shots) == 1
        assert (shots[0].start_s, shots[0].end_s) == pytest.approx((0, 110))

    def test_a_scene_that_comes_back_is_not_repeated(self) -> None:
        a, b = still(texture(1)), still(texture(2))
        shots = list(select_shots(video((3.0, a), (3.0, b), (3.0, a), noise=0), 60.0))
        assert frames_of(iter(shots)) == ["0", "1"]
        assert shots[1].end_s == pytest.approx(6.0)

    def test_the_number_is_bounded(self) -> None:
        scenes = RNG.integers(0, 256, (1000, *GRID, 3), dtype=np.uint8)
        hectic = (FrameSample(i / 8, scenes[i % 1000], 1.0, 0.3, i) for i in range(8 * 1200))
        times = [shot.sample.at_s for shot in select_shots(hectic, 5.0)]
        assert len(times) < 850
        assert min(np.diff(times)) >= 0.9


class TestBlank:
    def test_black_is_dropped(self) -> None:
        black = still(plain((3, 3, 3)))
        shots = list(select_shots(video((2.0, black), (3.0, still(texture(1))), (2.0, black)), 60.0))
        assert frames_of(iter(shots)) == ["1"]
        assert (shots[0].start_s, shots[0].end_s) == pytest.approx((2.0, 5.0))

    def test_a_black_video_still_has_one_frame(self) -> None:
        assert frames_of(select_shots(video((5.0, still(plain((0, 0, 0))))), 60.0)) == ["0"]

    def test_no_frames_give_no_shots(self) -> None:
        assert list(select_shots(iter(()), 5.0)) == []


@settings(max_examples=15)
@given(st.lists(st.tuples(st.floats(0.13, 6), st.integers(0, 5)), min_size=1, max_size=12), st.floats(0.5, 10))
def test_shots_are_in_order_and_do_not_overlap(scenes: list[tuple[float, int]], every_s: float) -> None:
    shots = list(select_shots(video(*((length_s, still(texture(seed))) for length_s, seed in scenes)), every_s))
    assert shots
    for shot in shots:
        assert shot.start_s <= shot.sample.at_s <= shot.end_s
    assert all(a.end_s <= b.start_s + 1e-9 for a, b in pairwise(shots))
