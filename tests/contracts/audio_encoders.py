"""The contract of encoders of sounds."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from rag.encoders import AudioEncoder, ModelCard
from rag.errors import QueryError
from tests.contracts.encoders import assert_vectors


def tone(seconds: float, rate: int, hertz: float = 440.0) -> NDArray[np.float32]:
    """Return a tone that swells, with a little noise."""
    clock = np.arange(int(seconds * rate)) / rate
    noise = np.random.default_rng(int(hertz)).standard_normal(len(clock)) * 0.02
    return (np.sin(2 * np.pi * hertz * clock) * np.minimum(clock, 1) * 0.5 + noise).astype(np.float32)


class AudioEncoderContract:
    """Tests for every encoder of sounds; subclasses define the fixture `encoder`."""

    def test_card_is_what_json_keeps_of_it(self, encoder: AudioEncoder) -> None:
        assert ModelCard.from_json(encoder.card.to_json()) == encoder.card

    def test_vectors_are_finite_and_of_unit_length(self, encoder: AudioEncoder) -> None:
        rate = encoder.sample_rate
        assert_vectors(encoder.embed_audio([tone(1, rate), tone(2, rate, 90.0)]), 2, encoder.card)
        assert_vectors(encoder.embed_query("a bell")[None], 1, encoder.card)

    def test_sounds_are_vectors_and_tags(self, encoder: AudioEncoder) -> None:
        look = encoder.embed_and_tag([tone(1, encoder.sample_rate)])
        assert_vectors(look.vectors, 1, encoder.card)
        assert [isinstance(tags, tuple) and len(tags) <= 5 for tags in look.tags] == [True]

    def test_no_sounds_give_no_vectors(self, encoder: AudioEncoder) -> None:
        look = encoder.embed_and_tag([])
        assert_vectors(look.vectors, 0, encoder.card)
        assert look.tags == []

    def test_a_vector_depends_on_its_sound_alone(self, encoder: AudioEncoder) -> None:
        sounds = [tone(seconds, encoder.sample_rate, 50.0 + 300 * seconds) for seconds in (0.5, 3, 12)]
        alone = np.concatenate([encoder.embed_audio([sound]) for sound in sounds])
        np.testing.assert_allclose(encoder.embed_audio(sounds), alone, atol=1e-4)

    @pytest.mark.parametrize("seconds", [0.001, 0.1, 9.99, 10.0, 10.01, 25.0])
    def test_any_length_has_a_vector(self, encoder: AudioEncoder, seconds: float) -> None:
        assert_vectors(encoder.embed_audio([tone(seconds, encoder.sample_rate)]), 1, encoder.card)

    def test_silence_and_clipping_have_vectors(self, encoder: AudioEncoder) -> None:
        silence, loud = np.zeros(encoder.sample_rate, np.float32), np.ones(encoder.sample_rate, np.float32)
        assert_vectors(encoder.embed_audio([silence, loud]), 2, encoder.card)

    def test_a_blank_query_is_refused(self, encoder: AudioEncoder) -> None:
        with pytest.raises(QueryError):
            encoder.embed_query("  ")
