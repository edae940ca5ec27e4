"""Corrupt right statements and count what is caught: `python -m tests.measure.corrupted_answers --kb FOLDER`.

The statements are the labelled answers of `rag/evaluation/questions.jsonl`, where a segment of a right file holds the
phrase, and sentences of the knowledge base's own segments. No check chose them, so what is alarmed among the
uncorrupted ones is a false alarm. Each is altered in the ways that apply, and goes through the whole check of an answer
that cites this one place. It is *caught* if nothing of it is left as supported; what is left as *unchecked* would be
shown with a mark, and is counted apart.

A corrupted statement may be true by chance: another passage may say the same in other words. Those whose values also
stand in the other passage are left out.
"""

from __future__ import annotations

import argparse
import random
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from rag import KnowledgeBase
from rag.answering.citations import cite
from rag.answering.statement_checks import check_statements
from rag.evaluation.answer_metrics import holds
from rag.evaluation.labelled_questions import SHIPPED, read_questions
from rag.evaluation.metrics import bootstrap
from rag.text import sentences
from rag.types import Hit, TimeSpan, Word
from rag.verification.checker import Checker
from rag.verification.values import missing, values

_VERB = re.compile(r"\b(is|was|are|were|has|have|had|can|could|will|would|may|might|must|should)\b(?! not)")
_WORDS = range(6, 31)  # of a sentence
_SHIFTS_S = (12.0, 25.0)


@dataclass(frozen=True)
class Statement:
    """A statement that is right, the question that it answers, and the place that says it."""

    question: str
    text: str
    hit: Hit
    medium: str


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kb", type=Path, required=True, help="a knowledge base of the folder that EXHIBIT_DATA names")
    parser.add_argument("--most", type=int, default=60, help="most sentences of a medium")
    parser.add_argument("--half", help="of the labelled answers: chosen or untouched")
    parser.add_argument("--show", action="store_true", help="print what slips through and what is falsely alarmed")
    arguments = parser.parse_args()
    with KnowledgeBase.open(arguments.kb) as base:
        checker = base._checker
        assert checker is not None
        measure = Measure(base, checker, show=arguments.show)
        for statement in (*labelled(base, arguments.half), *own_sentences(base, arguments.most)):
            measure.add(statement)
        measure.print()


def labelled(base: KnowledgeBase, half: str | None) -> Iterator[Statement]:
    """Yield the labelled answers with a segment of a right file that holds the phrase."""
    for question in read_questions(SHIPPED):
        if not question.answer or question.kind in ("several", "yes_no") or half not in (None, question.half):
            continue
        for hit in base.search(question.question, top_k=30):
            if any(hit.path.endswith(asset) for asset in question.assets):
                words = hit.segment.searchable_text
                phrase = next((p for p in question.answer if holds(words, [p])), None)
                if phrase:
                    as_written = re.search(re.escape(phrase), words, re.I)
                    yield Statement(question.question, as_written[0] if as_written else phrase, hit, medium_of(hit))
                    break


def own_sentences(base: KnowledgeBase, most: int) -> Iterator[Statement]:
    """Yield sentences with values, at most some of each medium and three of each file."""
    hits = list(base.contents.segments())
    random.Random(0).shuffle(hits)
    of_medium: Counter[str] = Counter()
    of_file: Counter[str] = Counter()
    for hit in hits:
        medium = medium_of(hit)
        if of_medium[medium] >= most or of_file[hit.segment.asset_id] >= 3:
            continue
        if medium == "photo" and not hit.segment.tags:
            continue
        if medium == "photo":
            found = [(f"What does {Path(hit.path).name} show?", f"{Path(hit.path).name} shows a {hit.segment.tags[0]}")]
        else:
            text = hit.segment.searchable_text
            found = [
                (f"What is said of {subject(s)}?", s) for a, b in sentences(text) if is_fit(s := text[a:b].strip())
            ]
        if found:
            of_medium[medium] += 1
            of_file[hit.segment.asset_id] += 1
            yield Statement(*random.Random(of_medium[medium]).choice(found), hit, medium)


def medium_of(hit: Hit) -> str:
    segment = hit.segment
    if segment.kind == "speech":
        return "speech"
    if segment.kind in ("picture", "figure", "frame"):
        return "picture with text" if segment.text.strip() else "captioned picture" if segment.caption else "photo"
    return "table" if hit.path.endswith((".csv", ".xlsx", ".tsv")) else "text"


def is_fit(sentence: str) -> bool:
    return len(sentence.split()) in _WORDS and bool(values(sentence)) and sentence[-1] != "?" and "http" not in sentence


def subject(sentence: str) -> str:
    names = [value.text for value in values(sentence) if value.kind == "name"]
    return names[0] if names else " ".join(sentence.split()[:3]).strip(",.")


class Measure:
    """Corrupts statements, checks them, and keeps what was caught."""

    def __init__(self, base: KnowledgeBase, checker: Checker, *, show: bool) -> None:
        self._base, self._checker, self._show = base, checker, show
        self._names = sorted(
            {
                v.text
                for hit in base.search("people and places", top_k=200)
                for v in values(hit.segment.searchable_text)
                if v.kind == "name" and " " in v.text
            }
        )
        self._found: dict[tuple[str, str], list[str]] = defaultdict(list)

    def add(self, statement: Statement) -> None:
        """Check a statement as it is, and in all its corruptions."""
        self._note("none", statement, statement)
        chosen = random.Random(statement.text)
        for kind, corrupt in _CORRUPTIONS.items():
            if (other := corrupt(statement, self, chosen)) is not None:
                self._note(kind, statement, other)

    def _note(self, kind: str, right: Statement, statement: Statement) -> None:
        verdict = self._verdict(statement)
        self._found[right.medium, kind].append(verdict)
        if self._show and (verdict == "supported") != (kind == "none"):
            print(f"{right.medium} · {kind} · {verdict} · {statement.question} · {statement.text[:150]}", flush=True)

    def _verdict(self, statement: Statement) -> str:
        cited = cite(f"{statement.text.rstrip('.!')} [E1].", 1)
        checked = check_statements(statement.question, cited, [statement.hit], [], self._checker)
        names = {citation.verdict.name for citation in checked.citations}
        return "supported" if "supported" in names else "unchecked" if "unchecked" in names else "dropped"

    def other_place(self, statement: Statement, *, same_file: bool) -> Statement | None:
        """Return the statement at the nearest segment that does not say it, of the same file or of another."""
        for hit in self._base.search(f"{statement.question} {statement.text}", top_k=30):
            is_same = hit.segment.asset_id == statement.hit.segment.asset_id
            if is_same != same_file or hit.segment == statement.hit.segment or medium_of(hit) != statement.medium:
                continue
            if statement.medium == "photo":
                if hit.segment.tags and not set(hit.segment.tags) & set(statement.hit.segment.tags):
                    name, other = Path(statement.hit.path).name, Path(hit.path).name
                    return replace(statement, hit=hit, text=statement.text.replace(name, other))
            elif missing(statement.text, hit.segment.searchable_text, statement.question):
                return replace(statement, hit=hit)
        return None

    def another_name(self, chosen: random.Random) -> str:
        return chosen.choice(self._names)

    def print(self) -> None:
        """Print the table: false alarms by medium, then what is caught by medium and kind."""
        print("\n| medium | corruption | n | caught % (95 %) | of these unchecked % |\n| --- | --- | --- | --- | --- |")
        for (medium, kind), verdicts in sorted(
            self._found.items(), key=lambda item: (item[0][0], item[0][1] != "none")
        ):
            caught = [float(verdict != "supported") for verdict in verdicts]
            share = bootstrap(caught)
            unchecked = verdicts.count("unchecked") / max(sum(caught), 1)
            name = "none: false alarms" if kind == "none" else kind
            print(
                f"| {medium} | {name} | {len(verdicts)} | {share.mean:.1%} ({share.low:.0%}–{share.high:.0%}) "
                f"| {unchecked:.0%} |"
            )


def _number(statement: Statement, _: Measure, chosen: random.Random) -> Statement | None:
    digits = [v for v in values(statement.text) if v.kind == "number" and v.text[0].isdigit() and not v.is_reference]
    if not digits:
        return None
    value = chosen.choice(digits)
    written = re.sub(r"\d", lambda match: str((int(match[0]) + 3) % 10), value.text, count=1)
    return _swapped(statement, value.start, value.end, chosen.choice([written, f"1{value.text}"]))


def _date(statement: Statement, _: Measure, chosen: random.Random) -> Statement | None:
    years = list(re.finditer(r"\b(1[5-9]|20)\d\d\b", statement.text))
    if not years:
        return None
    year = chosen.choice(years)
    return _swapped(statement, *year.span(), str(int(year[0]) - chosen.randint(2, 30)))


def _name(statement: Statement, measure: Measure, chosen: random.Random) -> Statement | None:
    names = [v for v in values(statement.text, statement.question) if v.kind == "name"]
    names = [v for v in names if v.text not in statement.question]
    if not names:
        return None
    value = chosen.choice(names)
    return _swapped(statement, value.start, value.end, measure.another_name(chosen))


def _negation(statement: Statement, _: Measure, __: random.Random) -> Statement | None:
    verb = _VERB.search(statement.text)
    return _swapped(statement, verb.end(), verb.end(), " not") if verb else None


def _other_passage(statement: Statement, measure: Measure, _: random.Random) -> Statement | None:
    return measure.other_place(statement, same_file=True)


def _other_file(statement: Statement, measure: Measure, _: random.Random) -> Statement | None:
    return measure.other_place(statement, same_file=False)


def _shifted(statement: Statement, _: Measure, chosen: random.Random) -> Statement | None:
    """Return the statement with its words at other seconds of the recording, as a wrong index would have them."""
    segment = statement.hit.segment
    if not segment.words or segment.words[-1].end_s - segment.words[0].start_s < 2 * _SHIFTS_S[0]:
        return None
    middle = (segment.words[0].start_s + segment.words[-1].end_s) / 2
    shift = chosen.choice(_SHIFTS_S)
    words = tuple(
        Word(w.text, w.start_s + s, w.end_s + s)
        for w in segment.words
        for s in [shift if w.start_s < middle else -shift]
    )
    moved = replace(segment, words=words, locator=TimeSpan(words[0].start_s, words[-1].end_s))
    return replace(statement, hit=replace(statement.hit, segment=moved))


def _swapped(statement: Statement, start: int, end: int, text: str) -> Statement:
    return replace(statement, text=f"{statement.text[:start]}{text}{statement.text[end:]}")


_Corruption = Callable[[Statement, Measure, random.Random], Statement | None]
_CORRUPTIONS: dict[str, _Corruption] = {
    "number altered": _number,
    "year altered": _date,
    "name swapped": _name,
    "negation": _negation,
    "another passage of the file": _other_passage,
    "another file": _other_file,
    "time shifted": _shifted,
}


if __name__ == "__main__":
    main()
