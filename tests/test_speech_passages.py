"""Cutting words into passages."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.audio_video.speech_passages import LONGEST_S, SHORTEST_S, join_words, speech_segments, split_speech
from ingest.audio_video.transcribers import Transcript
from rag.types import Source, TimeSpan, Word

SOURCE = Source(Path("talk.mp3"), "ab" * 32, 1, "audio/mpeg", "audio")


def transcript(words: list[Word], language: str = "en") -> Transcript:
    return Transcript(tuple(words), language, words[-1].end_s if words else 0.0)


def talk(sentences: int, words: int = 10, pause_s: float = 0.3, start_s: float = 0.0) -> list[Word]:
    """Sentences of 0.5 s a word, with a pause after each."""
    found, now_s = [], start_s
    for _ in range(sentences):
        for i in range(words):
            found.append(Word("stop." if i == words - 1 else "word", now_s, now_s + 0.45, 0.8))
            now_s += 0.5
        now_s += pause_s
    return found


def lengths(found: list[tuple[str, tuple[Word, ...]]]) -> list[float]:
    return [words[-1].end_s - words[0].start_s for _, words in found]


class TestCuts:
    def test_a_sentence_is_one_passage(self) -> None:
        assert len(list(split_speech([transcript(talk(1))]))) == 1

    def test_long_speech_is_cut_at_sentence_ends(self) -> None:
        found = list(split_speech([transcript(talk(60))]))
        assert all(words[-1].text == "stop." for _, words in found)
        assert all(SHORTEST_S <= length <= LONGEST_S for length in lengths(found))

    def test_without_marks_it_is_cut_at_the_longest_pause(self) -> None:
        words = [Word("word", i * 0.5, i * 0.5 + 0.45) for i in range(60)]
        words += [Word("word", 31.0 + i * 0.5, 31.45 + i * 0.5) for i in range(60)]
        first, *_ = split_speech([transcript(words)])
        assert first[1][-1].end_s == pytest.approx(29.95)

    def test_the_rest_is_not_too_short(self) -> None:
        found = list(split_speech([transcript(talk(8))]))  # 42 s: 37 + 5 would leave a crumb
        assert min(lengths(found)) >= SHORTEST_S

    def test_abbreviations_end_nothing(self) -> None:
        words = [Word("Dr." if i == 50 else "word", i * 0.5, i * 0.5 + 0.45) for i in range(100)]
        words[60] = Word("end.", 30.0, 30.45)
        first, *_ = split_speech([transcript(words)])
        assert first[1][-1].text == "end."

    def test_a_long_silence_ends_a_passage(self) -> None:
        found = list(split_speech([transcript(talk(1) + talk(1, start_s=30.0))]))
        assert len(found) == 2

    def test_another_language_is_another_passage(self) -> None:
        found = list(split_speech([transcript(talk(1)), transcript(talk(1, start_s=6.0), "de")]))
        assert [language for language, _ in found] == ["en", "de"]

    def test_no_words_no_passages(self) -> None:
        assert list(split_speech([])) == []
        assert list(split_speech([transcript([])])) == []

    def test_passages_come_while_the_speech_goes_on(self) -> None:
        taken = 0

        def speech() -> object:
            nonlocal taken
            for i in range(100):
                taken += 1
                yield transcript(talk(5, start_s=30.0 * i))

        next(split_speech(speech()))  # type: ignore[arg-type]
        assert taken <= 4

    @given(st.lists(st.tuples(st.floats(0, 12), st.floats(0, 50), st.sampled_from(["a", "b.", "c?"])), max_size=200))
    def test_no_word_is_lost_or_doubled(self, spoken: list[tuple[float, float, str]]) -> None:
        words, now_s = [], 0.0
        for pause_s, length_s, text in spoken:
            words.append(Word(text, now_s + pause_s, now_s + pause_s + length_s))
            now_s = words[-1].end_s
        found = list(split_speech([transcript(words)]))
        assert [word for _, part in found for word in part] == words
        assert all(
            len(part) == 1 or length <= LONGEST_S for (_, part), length in zip(found, lengths(found), strict=True)
        )


class TestSegments:
    def test_a_segment_has_times_text_and_confidence(self) -> None:
        (segment,) = speech_segments([transcript(talk(1, words=4))], SOURCE, "audio", first=0, caption="A talk")
        assert segment.locator == TimeSpan(0.0, 1.95)
        assert segment.text == "word word word stop."
        assert segment.meta == {"start_s": 0.0, "end_s": 1.95, "language": "en", "confidence": 0.8}
        assert (segment.kind, segment.modality, segment.caption) == ("speech", "audio", "A talk")
        assert len(segment.words) == 4

    def test_only_the_first_segment_has_the_caption(self) -> None:
        found = list(speech_segments([transcript(talk(30))], SOURCE, "audio", first=0, caption="A talk"))
        assert [segment.ordinal for segment in found] == list(range(len(found)))
        assert [bool(segment.caption) for segment in found] == [True] + [False] * (len(found) - 1)
        later = speech_segments([transcript(talk(1))], SOURCE, "video", first=7, caption="A talk")
        assert [(segment.ordinal, segment.caption) for segment in later] == [(7, "")]

    def test_a_passage_is_never_empty_in_time(self) -> None:
        (segment,) = speech_segments([transcript([Word("Oh.", 3.0, 3.0)])], SOURCE, "audio", first=0, caption="")
        assert segment.locator == TimeSpan(3.0, 3.1)

    def test_some_scripts_have_no_spaces(self) -> None:
        words = [Word("你好", 0, 1), Word("世界", 1, 2)]
        assert join_words(words, "zh") == "你好世界"
        assert join_words(words, "en") == "你好 世界"
