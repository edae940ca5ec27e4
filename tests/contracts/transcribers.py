"""The contract of transcribers."""

from __future__ import annotations

import re
from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray

from ingest.audio_video.transcribers import (
    Transcriber,
    Transcript,
)
from tests.fakes.media import JFK_TEXT, silence


def spoken(transcript: Transcript) -> str:
    return re.sub(r"[^a-z ]", "", " ".join(word.text for word in transcript.words).lower())


class TranscriberContract:
    @pytest.fixture
    def transcriber(self) -> Transcriber:
        raise NotImplementedError

    def test_words_and_their_times(self, transcriber: Transcriber, jfk: NDArray[np.float32]) -> None:
        heard = transcriber.transcribe(jfk)
        assert spoken(heard) == JFK_TEXT
        assert heard.language == "en"
        assert heard.duration_s == pytest.approx(11.0, abs=0.05)
        assert all(0 <= w.start_s <= w.end_s <= heard.duration_s + 0.01 for w in heard.words)
        assert all(a.start_s <= b.start_s for a, b in pairwise(heard.words))
        assert all(0 <= w.probability <= 1 and w.text == w.text.strip() for w in heard.words)
        assert all(type(w.start_s) is float and type(w.probability) is float for w in heard.words)

    def test_silence_has_no_words(self, transcriber: Transcriber) -> None:
        assert transcriber.transcribe(silence(2)) == Transcript((), "", 2.0)

    def test_the_longest_block_is_stated(self, transcriber: Transcriber) -> None:
        assert transcriber.block_s >= 30
