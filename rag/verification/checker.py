"""Checks a statement of an answer against the evidence that it cites, and gives a verdict.

Words are checked in two steps: the values of the statement (numbers, names, dates) must stand in the evidence, and the
verifier must find that the evidence supports the statement. A photo without words is checked by its tags.
"""

from __future__ import annotations

import re
from dataclasses import replace

from rag.query.question_kind import asks_for_medium, is_there
from rag.segments import describe_place, file_name
from rag.text import new_stems, stems
from rag.types import CharSpan, Hit, Verdict
from rag.verification.displaced import displaced
from rag.verification.pairing import mispaired
from rag.verification.passages import passage_of
from rag.verification.rereading import Rereader
from rag.verification.rows import misrowed
from rag.verification.second_reading import confirm
from rag.verification.values import conflicts, missing, values
from rag.verification.verifier import EvidencePassage, Judgement, Verifier

# A short statement is supported from this probability, in a passage of at least this relevance (log-odds).
_LEAST_OF_SHORT, _RELEVANT = 0.15, -0.5
_SHORT = 4  # words
_MOST_QUOTE = 300
# Places in time, such as 0:32, and words with which a statement speaks of a picture or a sound, beside what is in it.
_ABSENCE = re.compile(r"\W*(?:no\b|there (?:is|are) no\b)", re.I)
_TIME = re.compile(r"\b\d{1,2}:\d\d(?::\d\d)?\b")
_WORD = re.compile(r"\w+")
_NAMING = stems(
    "picture photo photograph image figure chart map video film clip frame recording sound file shows show showing "
    "shown seen see visible depicts depicted features contains heard hear yes one titled called named the this that "
    "there and with has looks like tagged second seconds minute screen clearly"
)


class Checker:
    """Checks statements against evidence.

    Args:
        verifier: judges what words support; None where it cannot be had, which leaves statements unchecked.
        rereader: reads cited places again; None to trust what was indexed.
        least_support: the probability from which a passage supports a statement.
    """

    def __init__(
        self, verifier: Verifier | None, rereader: Rereader | None = None, *, least_support: float = 0.5
    ) -> None:
        self.verifier, self._rereader, self._least_support = verifier, rereader, least_support

    def close(self) -> None:
        """Stop reading files."""
        if self._rereader is not None:
            self._rereader.close()

    def confirmed(self, question: str, statement: str, hit: Hit) -> Verdict:
        """Return the verdict as `verdict` does, confirmed by a second reading of the medium where it was supported."""
        verdict = self.verdict(question, statement, hit)
        if self._rereader is None or verdict.name != "supported":
            return verdict
        return confirm(question, statement, hit, verdict, self._rereader)

    def verdict(self, question: str, statement: str, hit: Hit) -> Verdict:
        """Return whether the indexed words or tags of a hit support a statement that answers a question."""
        passage = passage_of(hit)
        if _ABSENCE.match(statement) and is_there(question):
            return Verdict("unsupported", "That something is nowhere cannot be cited.")
        if hit.segment.tags and (by_tags := _check_by_tags(statement, hit)):
            return by_tags
        if not passage.text.strip():
            return _check_wordless(question, statement, hit)
        if self.verifier is None:
            return Verdict(reason="The verifier is not installed.")
        (judged,) = self.verifier.support(question, statement, [passage])
        verdict = _check_values(question, statement, hit, passage, judged)
        if verdict.name != "supported" or judged.probability >= self._least_support:
            return verdict
        if judged.probability >= _LEAST_OF_SHORT and self._stands_where_asked(question, statement, passage):
            return verdict
        return replace(verdict, name="unsupported", reason=f"{describe_place(hit)} does not seem to say this.")

    def best_words(self, question: str, hit: Hit) -> str:
        """Return the sentences of a hit that answer a question best; "" if nothing can tell."""
        passage = passage_of(hit)
        if self.verifier is None or not passage.text.strip():
            return ""
        (judged,) = self.verifier.relevance(question, [passage])
        return passage.text[judged.window.start : judged.window.end]

    def _stands_where_asked(self, question: str, statement: str, passage: EvidencePassage) -> bool:
        """Return whether a short statement stands in the very sentences which answer the question.

        The verifier finds too little support for bare values, such as "5.6 metres", and for labels in pictures.
        """
        added = new_stems(statement, question)
        if not added or len(statement.split()) > _SHORT or self.verifier is None:
            return False
        (judged,) = self.verifier.relevance(question, [passage])
        window = passage.text[judged.window.start : judged.window.end]
        return judged.log_odds >= _RELEVANT and added <= stems(window) and not missing(statement, window, question)


def _check_values(question: str, statement: str, hit: Hit, passage: EvidencePassage, judged: Judgement) -> Verdict:
    """Return whether the values of a statement stand in the words of a hit, and nothing there contradicts them."""
    quote = passage.text[judged.window.start : judged.window.end]
    verdict = Verdict("unsupported", support=round(judged.probability, 3), quote=quote[:_MOST_QUOTE])
    if against := _contradiction(question, statement, passage.text, quote):
        return replace(verdict, name="contradicted", reason=against)
    if lacking := missing(statement, f"{passage.heading}\n{passage.text}", question):
        names = ", ".join(dict.fromkeys(value.text for value in lacking))
        return replace(verdict, reason=f"{describe_place(hit)} does not mention {names}.")
    return replace(verdict, name="supported", locator=_narrower(hit, judged))


def _contradiction(question: str, statement: str, passage: str, quote: str) -> str:
    """Return why a passage, or the sentences of it that speak of the same, say otherwise; "" if they do not."""
    against = conflicts(_dated(statement, question), quote)
    if against:
        return against[0]
    checks = (mispaired, misrowed, displaced)
    return next((reason for check in checks if (reason := check(question, statement, passage))), "")


def _dated(statement: str, question: str) -> str:
    """Return a statement with the dates of its question, which it answers for: "69 percent" in 1960."""
    dates = [value.text for value in values(question) if value.kind == "date" and not value.is_reference]
    untold = [date for date in dates if date not in statement]
    return f"{statement.rstrip('. ')}, {', '.join(untold)}" if untold else statement


def _narrower(hit: Hit, judged: Judgement) -> CharSpan | None:
    """Return the place of the supporting sentences in a text; None for other media."""
    locator, segment = hit.segment.locator, hit.segment
    if not isinstance(locator, CharSpan) or segment.caption or locator.end - locator.start != len(segment.text):
        return None
    return CharSpan(locator.start + judged.window.start, locator.start + judged.window.end)


def _check_by_tags(statement: str, hit: Hit) -> Verdict | None:
    """Return that a picture or a sound supports a statement whose words are all its tags or name it; None if not."""
    stated = stems(statement) - _NAMING - stems(file_name(hit)) - stems(hit.segment.title)
    named = [tag for tag in hit.segment.tags if stems(tag) & stated]
    held = set().union(*(stems(tag) for tag in named)) | stems(hit.segment.searchable_text)
    if not named or stated - held:
        return None
    return Verdict("supported", f"Tagged {', '.join(named)}.", quote=", ".join(named))


def _check_wordless(question: str, statement: str, hit: Hit) -> Verdict:
    """Return the verdict of what shows or sounds, and has no words; it never supports more than that it was found."""
    name = file_name(hit)
    if not asks_for_medium(question):
        return Verdict("unsupported", f"{name} has no words that could say this.")
    looks = f"only that it looks like {', '.join(hit.segment.tags[:3])}" if hit.segment.tags else "only its looks"
    named = stems(f"{name} {hit.segment.title} {' '.join(hit.segment.tags)} {question}") | _NAMING
    if added := sorted(stems(_TIME.sub(" ", statement)) - named):
        words = [word for word in _WORD.findall(statement) if stems(word) & set(added)]
        return Verdict("unsupported", f"Of {name} {looks} is known, and nothing of: {', '.join(words)}.")
    return Verdict(reason=f"{name} was found by its looks; {looks} is known.")
