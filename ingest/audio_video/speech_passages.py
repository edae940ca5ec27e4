"""Group words into passages: 15 to 40 seconds of speech, cut where sentences end and speakers pause.

Passages are what search finds and answers cite. A passage carries the times of its first and last word, its language,
and the confidence of the transcriber.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from ingest.audio_video.transcribers import Transcript
from rag.text import ends_sentence
from rag.types import Modality, Segment, Source, TimeSpan, Word

SHORTEST_S = 15.0
LONGEST_S = 40.0
_SHORTEST_SPAN_S = 0.1
# A silence this long ends any passage, however short: the topic changes.
_BREAK_S = 8.0
# Languages written without spaces; those that Whisper's own tokenizer splits by character.
_UNSPACED = frozenset({"zh", "ja", "th", "lo", "my", "yue"})


def split_speech(transcripts: Iterable[Transcript]) -> Iterator[tuple[str, tuple[Word, ...]]]:
    """Yield language and words of each passage, as soon as its end is known.

    Every given word is in exactly one passage, in order. A change of language also ends a passage.
    """
    language = ""
    words: list[Word] = []
    for transcript in transcripts:
        if transcript.language != language:
            yield from ((language, part) for part in _split_all(words))
            language, words = transcript.language, []
        words.extend(transcript.words)
        # Wait for the length of two passages before cutting the first, as the rest may be too short to stand alone.
        while words and words[-1].end_s - words[0].start_s > 2 * LONGEST_S:
            end = _first_passage_length(words)
            yield language, tuple(words[:end])
            words = words[end:]
    yield from ((language, part) for part in _split_all(words))


def speech_segments(
    transcripts: Iterable[Transcript], source: Source, modality: Modality, *, first: int, caption: str
) -> Iterator[Segment]:
    """Yield passages as segments numbered from `first`; only the first segment of an asset gets the caption."""
    for ordinal, (language, words) in enumerate(split_speech(transcripts), start=first):
        span = TimeSpan(words[0].start_s, max(words[-1].end_s, words[0].start_s + _SHORTEST_SPAN_S))
        yield Segment(
            asset_id=source.asset_id,
            ordinal=ordinal,
            modality=modality,
            kind="speech",
            locator=span,
            text=join_words(words, language),
            caption=caption if ordinal == 0 else "",
            title=source.title,
            words=words,
            meta={
                "start_s": span.start_s,
                "end_s": span.end_s,
                "language": language,
                "confidence": round(sum(word.probability for word in words) / len(words), 3),
            },
        )


def join_words(words: Sequence[Word], language: str) -> str:
    """Join words to running text."""
    return ("" if language in _UNSPACED else " ").join(word.text for word in words)


def _split_all(words: Sequence[Word]) -> Iterator[tuple[Word, ...]]:
    while words:
        end = _first_passage_length(words)
        yield tuple(words[:end])
        words = words[end:]


def _first_passage_length(words: Sequence[Word]) -> int:
    """Return how many words the first passage takes: up to a long silence, or to the best place between 15 and 40 s.

    The end of a sentence is best; next, a place that leaves enough for another passage; next, the longest pause.
    """
    start_s, left_s = words[0].start_s, words[-1].end_s
    possible: list[tuple[bool, bool, float, int]] = []
    for end in range(1, len(words)):
        last, following = words[end - 1], words[end]
        if last.end_s - start_s > LONGEST_S:
            break
        pause_s = following.start_s - last.end_s
        if pause_s >= _BREAK_S:
            return end
        if last.end_s - start_s >= SHORTEST_S:
            leaves_enough = left_s - following.start_s >= SHORTEST_S
            possible.append((ends_sentence(last.text), leaves_enough, pause_s, -end))
    else:
        end = len(words)
    if words[end - 1].end_s - start_s <= LONGEST_S:
        return end
    return -max(possible)[-1] if possible else max(end - 1, 1)
