"""What is done to questions and media: bounded, repeatable, and of the strength that its name says."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from rag.evaluation.perturb import VARIANTS, add_noise, add_typos, blur, make_ambiguous, make_vague, occlude

CAPTION = "A child in a pink dress is climbing up a set of stairs in an entry way ."


def test_typos_change_few_words_and_no_others() -> None:
    changed = [(a, b) for a, b in zip(CAPTION.split(), add_typos(CAPTION, 1).split(), strict=True) if a != b]
    assert len(changed) == 1
    assert all(a[0] == b[0] and abs(len(a) - len(b)) <= 1 for a, b in changed)
    assert add_typos(CAPTION, 1) == add_typos(CAPTION, 1)
    assert len({add_typos(CAPTION, seed) for seed in range(20)}) > 10


@given(st.text(max_size=60), st.integers(0, 2**32))
def test_words_are_never_lost_to_typos_or_vagueness(text: str, seed: int) -> None:
    assert bool(add_typos(text, seed).strip()) == bool(text.strip())
    assert make_vague(text, seed).strip()


def test_a_long_word_is_mistyped_with_every_seed() -> None:
    assert all(add_typos("stairs", seed) != "stairs" for seed in range(50))
    assert add_typos("a b c", 0) == "a b c"  # nothing to slip on


def test_vague_wording_drops_what_is_specific() -> None:
    assert make_vague(CAPTION) == "a child in a dress is something up a set of stairs in an entry way"
    assert make_vague("Three red kites, 1984") == "something"


def test_ambiguous_wording_names_kinds_of_things() -> None:
    assert make_ambiguous(CAPTION) == "A person in a pink garment is climbing up a set of stairs in an entry way ."
    assert make_ambiguous("An orangutan and 2 ponies watch two buses, men and puppies.") == (
        "A creature and 2 ponies watch two vehicles, people and creatures."
    )
    assert make_ambiguous("") == ""


def test_blur_takes_detail_and_leaves_the_mean() -> None:
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 255, (120, 160, 3), dtype=np.uint8))
    soft = np.asarray(blur(noise), float)
    assert soft.std() < 0.5 * np.asarray(noise, float).std()
    assert soft.mean() == pytest.approx(np.asarray(noise, float).mean(), abs=2)


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA"])
def test_a_quarter_is_covered_somewhere(mode: str) -> None:
    plain = Image.new(mode, (120, 80), "white")
    boxes = [np.asarray(occlude(plain, seed))[..., 0] == 127 for seed in range(20)]
    assert all(box.mean() == pytest.approx(0.25, abs=0.01) for box in boxes)
    assert len({tuple(np.argwhere(box)[0]) for box in boxes}) > 10
    assert np.asarray(plain.convert("L")).min() == 255  # the given picture is left alone


def test_the_smallest_picture_survives() -> None:
    dot = Image.new("RGB", (1, 1))
    assert blur(dot).size == occlude(dot).size == (1, 1)


@pytest.mark.parametrize("snr_db", [0.0, 10.0, 20.0])
def test_noise_has_the_power_that_it_says(snr_db: float) -> None:
    tone = (0.1 * np.sin(np.arange(16_000) / 10)).astype(np.float32)
    heard = add_noise(tone, 3, snr_db=snr_db)
    assert heard.dtype == np.float32
    assert 10 * np.log10(np.mean(tone**2) / np.mean((heard - tone) ** 2)) == pytest.approx(snr_db, abs=0.3)
    assert np.array_equal(heard, add_noise(tone, 3, snr_db=snr_db))


def test_silence_and_nothing_stay_as_they_are() -> None:
    assert not add_noise(np.zeros(100, np.float32)).any()
    assert add_noise(np.zeros(0, np.float32)).shape == (0,)


def test_every_medium_has_a_variant() -> None:
    assert set().union(*(variant.media for variant in VARIANTS)) == {"text", "image", "sound", "speech"}
    assert len({variant.name for variant in VARIANTS}) == len(VARIANTS)
