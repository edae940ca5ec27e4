"""The contracts of encoders of texts and of pictures, and of those with real weights."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from rag.encoders import (
    DualEncoder,
    ModelCard,
    TextEncoder,
)
from rag.encoders.base import Vectors
from rag.errors import ModelError, QueryError

PASSAGES = [
    "A red bicycle leans against the wall of a bakery.",
    "The mitochondrion is the powerhouse of the cell.",
    "Rain is expected in the north on Tuesday.",
]


ODD = ["\ud800 broken", "😀", "a\x00b", "\u200b", "?!", "word " * 50_000, "x" * 100_000, "Ελληνικά και 日本語"]


def assert_vectors(vectors: Vectors, count: int, card: ModelCard) -> None:
    assert vectors.dtype == np.float32
    assert vectors.shape == (count, card.dimensions)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-5)


class TextEncoderContract:
    def test_card_is_what_json_keeps_of_it(self, encoder: TextEncoder) -> None:
        assert ModelCard.from_json(encoder.card.to_json()) == encoder.card

    def test_vectors_are_finite_and_of_unit_length(self, encoder: TextEncoder) -> None:
        assert_vectors(encoder.embed_text(PASSAGES), 3, encoder.card)
        assert_vectors(encoder.embed_query(PASSAGES[0])[None], 1, encoder.card)

    def test_no_texts_give_no_vectors(self, encoder: TextEncoder) -> None:
        assert_vectors(encoder.embed_text([]), 0, encoder.card)

    def test_odd_texts_have_vectors_too(self, encoder: TextEncoder) -> None:
        assert_vectors(encoder.embed_text(ODD), len(ODD), encoder.card)

    def test_a_vector_depends_on_its_text_alone(self, encoder: TextEncoder) -> None:
        texts = [f"{passage} " * (1 + n % 7) for n in range(15) for passage in PASSAGES]
        alone = np.concatenate([encoder.embed_text([text]) for text in texts])
        np.testing.assert_allclose(encoder.embed_text(texts), alone, atol=1e-4)

    @pytest.mark.parametrize("blank", ["", " \n\t"])
    def test_blank_text_is_refused(self, encoder: TextEncoder, blank: str) -> None:
        with pytest.raises(QueryError):
            encoder.embed_query(blank)
        with pytest.raises(ModelError, match="2 of 2"):
            encoder.embed_text(["words", blank])


class SenseContract:
    """Tests for encoders with real weights."""

    def test_a_query_is_nearest_to_the_passage_it_is_about(self, encoder: TextEncoder) -> None:
        passages = encoder.embed_text(PASSAGES)
        for number, query in enumerate(["a bicycle at a bakery", "the powerhouse of the cell", "rain on Tuesday"]):
            assert int(np.argmax(passages @ encoder.embed_query(query))) == number


def drawn(number: int = 0, size: tuple[int, int] = (60, 40)) -> Image.Image:
    """Return a small asymmetrical picture, different for each number."""
    pixels = np.random.default_rng(number).integers(0, 256, (4, 6, 3), dtype=np.uint8)
    return Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC)


class DualEncoderContract(TextEncoderContract):
    def test_pictures_become_vectors_and_tags(self, encoder: DualEncoder) -> None:
        look = encoder.embed_and_tag([drawn(n) for n in range(3)])
        assert_vectors(look.vectors, 3, encoder.card)
        assert len(look.tags) == 3
        assert all(isinstance(tags, tuple) and len(tags) <= 5 for tags in look.tags)

    def test_no_pictures_give_no_vectors(self, encoder: DualEncoder) -> None:
        look = encoder.embed_and_tag([])
        assert_vectors(look.vectors, 0, encoder.card)
        assert look.tags == []

    def test_a_vector_depends_on_its_picture_alone(self, encoder: DualEncoder) -> None:
        images = [drawn(n) for n in range(18)]
        alone = np.concatenate([encoder.embed_images([image]) for image in images])
        np.testing.assert_allclose(encoder.embed_images(images), alone, atol=1e-4)

    @pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "PA", "RGBA", "RGBX", "CMYK", "YCbCr", "I", "I;16", "F"])
    def test_any_mode_has_a_vector(self, encoder: DualEncoder, mode: str) -> None:
        assert_vectors(encoder.embed_images([drawn().convert("L").convert(mode)]), 1, encoder.card)

    @pytest.mark.parametrize("size", [(1, 1), (1, 500), (3000, 2), (4000, 3000)])
    def test_any_size_has_a_vector(self, encoder: DualEncoder, size: tuple[int, int]) -> None:
        assert_vectors(encoder.embed_images([drawn(size=size)]), 1, encoder.card)
