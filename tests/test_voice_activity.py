"""Finding speech, packing it into blocks, and putting words back on the recording's clock."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray

from ingest.audio_video.decode import SAMPLE_RATE, AudioPiece
from ingest.audio_video.voice_activity import SpeechBlock, speech_blocks, transcribe_speech, trim_pause
from rag.types import Word
from tests.fakes.media import noise, silence, tone
from tests.fakes.speech import ScriptedTranscriber


def in_pieces(samples: NDArray[np.float32], start_s: float = 0.0) -> Iterator[AudioPiece]:
    for first in range(0, len(samples), 10 * SAMPLE_RATE):
        yield AudioPiece(start_s + first / SAMPLE_RATE, samples[first : first + 10 * SAMPLE_RATE])


class TestBlocks:
    @pytest.mark.parametrize("sound", [silence(20), noise(20), tone(20)], ids=["silence", "noise", "tone"])
    def test_there_are_none_without_a_voice(self, sound: NDArray[np.float32]) -> None:
        assert list(speech_blocks(in_pieces(sound), 30.0)) == []

    def test_silence_is_left_out_and_times_stay_true(self, jfk: NDArray[np.float32]) -> None:
        sound = np.concatenate([silence(20), jfk, silence(30), jfk])
        (block,) = speech_blocks(in_pieces(sound), 30.0)
        assert len(block.samples) / SAMPLE_RATE == pytest.approx(22, abs=2)
        (_, first_s), (seam, second_s) = block.pieces
        assert first_s == pytest.approx(20, abs=0.5)
        assert second_s == pytest.approx(61, abs=0.5)
        word = block.to_recording_time(Word("again", (seam + 1000) / SAMPLE_RATE, (seam + 9000) / SAMPLE_RATE))
        assert word.start_s == pytest.approx(second_s + 1000 / SAMPLE_RATE, abs=0.001)

    def test_no_block_is_longer_than_the_transcriber_takes(self, jfk: NDArray[np.float32]) -> None:
        found = list(speech_blocks(in_pieces(np.tile(jfk, 10)), 30.0))
        assert len(found) >= 4
        assert all(len(block.samples) <= 30 * SAMPLE_RATE for block in found)

    def test_speech_across_windows_comes_once(self, jfk: NDArray[np.float32]) -> None:
        rounds = 40  # 440 s: two windows
        found = list(speech_blocks(in_pieces(np.tile(jfk, rounds)), 30.0))
        heard_s = sum(len(block.samples) for block in found) / SAMPLE_RATE
        assert heard_s == pytest.approx(11 * rounds, rel=0.03)
        spans = [
            (start_s, start_s + (following - first) / SAMPLE_RATE)
            for block in found
            for (first, start_s), following in zip(
                block.pieces, [*(first for first, _ in block.pieces[1:]), len(block.samples)], strict=True
            )
        ]
        assert all(a[1] <= b[0] + 0.001 for a, b in pairwise(spans))

    def test_a_gap_in_the_sound_is_not_silence(self, jfk: NDArray[np.float32]) -> None:
        pieces = [*in_pieces(jfk), *in_pieces(jfk, start_s=500.0)]
        found = list(speech_blocks(pieces, 30.0))
        assert [block.pieces[0][1] for block in found] == pytest.approx([0.0, 500.0], abs=0.5)

    def test_long_sound_takes_little_memory(self) -> None:
        def half_an_hour() -> Iterator[AudioPiece]:
            block = noise(10)
            for i in range(180):
                yield AudioPiece(10.0 * i, block)

        tracemalloc.start()
        assert list(speech_blocks(half_an_hour(), 30.0)) == []
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 70e6  # its samples are 115 MB


class TestWords:
    def test_words_are_cut_to_the_stretch_they_are_in(self) -> None:
        block = SpeechBlock(np.zeros(3 * SAMPLE_RATE, np.float32), ((0, 10.0), (SAMPLE_RATE, 50.0)))
        assert block.to_recording_time(Word("end", 0.5, 1.2)) == Word("end", 10.5, 11.0, 1.0)
        assert block.to_recording_time(Word("start", 0.9, 1.6)) == Word("start", 50.0, 50.6, 1.0)
        assert block.to_recording_time(Word("late", 2.9, 9.0)).end_s == 52.0

    def test_a_pause_is_not_part_of_a_word(self) -> None:
        samples = np.concatenate([tone(0.1), silence(1.0), tone(0.4), silence(0.5)])
        word = trim_pause(Word("now", 0.0, 2.0), samples)
        assert (word.start_s, word.end_s) == pytest.approx((1.1, 1.5), abs=0.04)

    @pytest.mark.parametrize(
        "samples", [silence(2), np.zeros(0, np.float32), noise(2)], ids=["silent", "none", "noise"]
    )
    def test_without_a_pause_a_word_stays(self, samples: NDArray[np.float32]) -> None:
        word = Word("now", 0.5, 1.5)
        found = trim_pause(word, samples)
        assert (found.start_s, found.end_s) == pytest.approx((0.5, 1.5), abs=0.011)


class TestTranscripts:
    def test_words_come_with_the_time_of_the_recording(self, jfk: NDArray[np.float32]) -> None:
        scripted = ScriptedTranscriber("one two three four")
        (heard,) = transcribe_speech(in_pieces(np.concatenate([silence(60), jfk])), scripted)
        assert 59.5 <= heard.words[0].start_s < heard.words[-1].end_s <= 71.1

    def test_the_language_so_far_is_a_hint(self, jfk: NDArray[np.float32]) -> None:
        scripted = ScriptedTranscriber("eins zwei", language="de")
        heard = list(transcribe_speech(in_pieces(np.tile(jfk, 6)), scripted))
        assert len(heard) >= 2
        assert {transcript.language for transcript in heard} == {"de"}

    def test_silence_is_never_transcribed(self) -> None:
        scripted = ScriptedTranscriber("thank you for watching")
        assert list(transcribe_speech(in_pieces(noise(30)), scripted)) == []
        assert scripted.blocks_s == []
