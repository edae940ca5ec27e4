"""Statements that are right, each with the place that says so: what `corruptions` alter.

They come from recorded answers that were graded right and from sentences of a knowledge base's own segments. Sentences
are quoted and not paraphrased, which makes them easier to support than an answer; the words of speech and of pictures
are as they were heard and read, mistakes included. Recorded answers have passed the checks once already.
"""

from __future__ import annotations

import random
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice, zip_longest
from pathlib import Path

from rag.answering.markers import MARKER_RUN
from rag.errors import QueryError
from rag.evaluation.answer_metrics import holds
from rag.evaluation.graded_answers import GradedAnswer
from rag.evaluation.question_trials import overlap
from rag.segments import file_name, from_fragment
from rag.text import sentences
from rag.types import PIXELS, Hit
from rag.verification.values import missing, values

TEXT, TABLE, SPEECH, WRITTEN, CAPTIONED, PHOTO = MEDIA = (
    "text",
    "table",
    "speech",
    "picture with text",
    "captioned picture",
    "photo",
)
_TABLES = (".csv", ".tsv", ".xlsx", ".ods", ".json", ".jsonl")
_ROW = re.compile(r"^[^:;\n]{1,40}: [^;\n]+(?:; [^:;\n]{1,40}: [^;\n]+)+$", re.M)
_LENGTH = range(6, 31)  # words of a sentence
_LENGTH_IN_PICTURE = range(2, 31)
_LONG_S = 20.0  # of speech, in which words can be 10 s off either way
_LEAST_LETTERS = 0.6  # of the characters of a line in a picture; below it is hardly text


@dataclass(frozen=True, slots=True)
class Claim:
    """A statement, the question that it answers, and the place that it cites.

    Attributes:
        question: in words.
        text: the statement, without its citation.
        hit: the cited place.
        medium: of the words there, one of `MEDIA`.
        cell: the cell of a table, or the tag of a photo, that the statement gives; empty for sentences.
    """

    question: str
    text: str
    hit: Hit
    medium: str
    cell: str = ""


def medium_of(hit: Hit) -> str:
    """Return the medium of a hit's words, or of its looks; "" for sounds and moments of videos."""
    segment = hit.segment
    if segment.kind == "speech":
        return SPEECH if segment.words else ""
    if segment.kind in PIXELS:
        return WRITTEN if segment.text.strip() else CAPTIONED if segment.caption else PHOTO
    is_table = Path(hit.path).suffix.lower() in _TABLES and _ROW.search(segment.text)
    return (TABLE if is_table else TEXT) if segment.kind == "passage" else ""


def table_rows(text: str) -> list[dict[str, str]]:
    """Return the rows of a table as ingest writes them, "name: Ann; age: 7" a line, as cells by column."""
    return [dict(part.split(": ", 1) for part in row.split("; ") if ": " in part) for row in _ROW.findall(text)]


def own_claims(hits: Iterable[Hit], most: int, seed: int) -> Iterator[Claim]:
    """Yield claims that segments make themselves: at most so many of each medium, from its files in turn.

    Recordings are drawn by sentence instead, those of long ones first: few are long, and only in these the time can be
    shifted.
    """
    chosen = random.Random(seed)
    by_medium: dict[str, dict[str, list[Claim | Hit]]] = defaultdict(lambda: defaultdict(list))
    for hit in hits:
        medium, file = medium_of(hit), hit.segment.asset_id
        if medium == SPEECH:
            for claim in _sentence_claims(hit, SPEECH, hit.segment.text):
                by_medium[medium][f"{file} {claim.text}"].append(claim)
        elif medium:
            by_medium[medium][file].append(hit)
            if medium == WRITTEN and hit.segment.caption:
                by_medium[CAPTIONED][file].append(hit)
    for medium, files in sorted(by_medium.items()):
        turns = [chosen.sample(found, len(found)) for found in files.values()]
        chosen.shuffle(turns)
        turns.sort(key=lambda found: medium == SPEECH and not _is_long(found[0]))
        in_turn = (one for turn in zip_longest(*turns) for one in turn if one is not None)
        claims = (one if isinstance(one, Claim) else _own_claim(one, medium, chosen) for one in in_turn)
        yield from islice((claim for claim in claims if claim), most)


def answer_claims(answers: Iterable[GradedAnswer], hits: Iterable[Hit]) -> Iterator[Claim]:
    """Yield the cited statements that hold a phrase of the answer, of answers graded right, in a right file.

    Args:
        answers: of a run.
        hits: all segments of the knowledge base that gave them.
    """
    by_path: dict[str, list[Hit]] = defaultdict(list)
    for hit in hits:
        by_path[hit.path].append(hit)
    for one in answers:
        if one.grade != "right" or not one.question.answer:
            continue
        for citation in one.record.citations:
            text = MARKER_RUN.sub("", one.record.text[citation.start : citation.end]).strip()
            cited = _cited(by_path.get(citation.path, ()), citation.place)
            if cited and one.question.names(citation.path) is not None and holds(text, one.question.answer):
                yield Claim(one.question.question, text, cited, _medium_of_claim(text, one.question.question, cited))


def _cited(hits: Sequence[Hit], place: str) -> Hit | None:
    """Return the segment with words that lies at a cited place, or None."""
    try:
        wanted = from_fragment(place)
    except QueryError:
        return None
    found = [hit for hit in hits if medium_of(hit) and overlap(wanted, hit.segment.locator)]
    return max(found, key=lambda hit: bool(hit.segment.searchable_text), default=None)


def _medium_of_claim(text: str, question: str, hit: Hit) -> str:
    medium = medium_of(hit)
    return CAPTIONED if medium == WRITTEN and not missing(text, hit.segment.caption, question) else medium


def _is_long(claim: Claim | Hit) -> bool:
    words = claim.hit.segment.words if isinstance(claim, Claim) else ()
    return bool(words) and words[-1].end_s - words[0].start_s >= _LONG_S


def _own_claim(hit: Hit, medium: str, chosen: random.Random) -> Claim | None:
    segment = hit.segment
    if medium == PHOTO:
        if not segment.tags:
            return None
        name, tag = file_name(hit), segment.tags[0]
        return Claim(f"What does {name} show?", f"{name} shows a {tag}", hit, medium, tag)
    if medium == TABLE:
        return _cell_claim(hit, chosen)
    found = list(_sentence_claims(hit, medium, segment.caption if medium == CAPTIONED else segment.text))
    with_values = [claim for claim in found if values(claim.text)]
    if not with_values and medium == WRITTEN:  # a line without a name or number is often a bare label, or noise
        return None
    return chosen.choice(with_values or found) if found else None


def _sentence_claims(hit: Hit, medium: str, text: str) -> Iterator[Claim]:
    for start, end in sentences(text):
        sentence = text[start:end].strip()
        if _is_fit(sentence, _LENGTH_IN_PICTURE if medium == WRITTEN else _LENGTH):
            yield Claim(f"What is said of {_subject(sentence)}?", sentence, hit, medium)


def _cell_claim(hit: Hit, chosen: random.Random) -> Claim | None:
    rows = [row for row in table_rows(hit.segment.text) if len(row) > 1]
    if not rows:
        return None
    (_, first), *others = chosen.choice(rows).items()
    column, cell = chosen.choice(others)
    cell = cell.strip(" .")
    return Claim(f"What is the {column} of {first}?", f"The {column} of {first} is {cell}", hit, TABLE, cell)


def _is_fit(sentence: str, length: range) -> bool:
    letters = sum(letter.isalnum() or letter.isspace() for letter in sentence)
    return (
        len(sentence.split()) in length
        and not sentence.endswith("?")
        and "http" not in sentence
        and letters >= _LEAST_LETTERS * len(sentence)
    )


def _subject(sentence: str) -> str:
    """Return what a sentence speaks of: its first name, or its first words."""
    names = [value.text for value in values(sentence) if value.kind == "name"]
    return names[0] if names else " ".join(sentence.split()[:3]).strip(" ,.;:")


def names_of(hits: Iterable[Hit], most: int, seed: int) -> list[str]:
    """Return names of two or three words that some passages of a collection hold."""
    passages = [hit for hit in hits if medium_of(hit) == TEXT]
    drawn = random.Random(seed).sample(passages, min(most, len(passages)))
    found = chain.from_iterable(values(hit.segment.text) for hit in drawn)
    names = {value.text for value in found if value.kind == "name"}
    return sorted(name for name in names if re.fullmatch(r"[A-Z][a-z]+(?: [A-Z][a-z]+){1,2}", name))


def by_file(hits: Iterable[Hit]) -> Mapping[str, list[Hit]]:
    """Return hits by the id of their asset."""
    found: dict[str, list[Hit]] = defaultdict(list)
    for hit in hits:
        found[hit.segment.asset_id].append(hit)
    return found
