"""Flipped negations and opposites between a statement and the sentence of a passage that speaks of the same.

Only what words tell: an opposite counts if the sentence holds most other words of the statement, and neither of the two
texts holds both words of the pair.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from rag.text import sentences
from rag.verification.opposites import OPPOSITES
from rag.verification.ordinary_words import word_set

_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)?|[.,;:!?()]")
_NEGATORS = word_set(
    """
    not never no without cannot neither nor none nobody nothing unable dont didnt doesnt wont cant isnt wasnt arent
    werent wouldnt couldnt shouldnt hasnt havent hadnt hardly barely scarcely
    """
)
_FAIL = word_set("fail fails failed failing refuse refused refuses lack lacks lacked lacking")
_STOPS = frozenset(".,;:!?()")
_SCOPE = 4  # content words that a negator governs
_FUNCTION = word_set(
    """
    a an and are as at be been being but by can could did do does for from had has have he her hers him his how i if
    in into is it its may might more most of on one only or other our she should so some such than that the their
    them then there these they this those to was we were what when where which while who whom whose why will with
    would you your also any all both each very much many ever yet still just too made make get got longer
    """
)
_NOT_UN = word_set("under until unless union unions unite united unit units unique universe unlike unlikely")
_LEAST_SHARED = 0.6  # of a statement's content words that a sentence must hold to speak of the same


def contrasts(statement: str, window: str) -> list[str]:
    """Return why a window says the opposite of a statement, each reason a sentence for people; empty if it does not."""
    reasons: dict[str, None] = {}
    for start, end in sentences(statement):
        claim = _Clause(statement[start:end])
        rivals = [_Clause(window[a:b]) for a, b in sentences(window)]
        close = [rival for rival in rivals if claim.shares(rival) >= _LEAST_SHARED]
        if not close:
            continue
        best = max(close, key=claim.shares)
        for reason in [*_negations(claim, best), *_opposites(claim, best, close)]:
            reasons[reason] = None
    return list(reasons)


@dataclass(slots=True)
class _Clause:
    """A sentence as words, its content stems, and which of these are negated."""

    text: str
    words: list[str] = field(init=False)
    stems: dict[str, str] = field(init=False)  # stem: the word as written
    negated: dict[str, str] = field(init=False)  # stem: the negator
    affirmed: set[str] = field(init=False)

    def __post_init__(self) -> None:
        self.words = [word.lower().replace("’", "'") for word in _WORD.findall(self.text)]
        self.stems, self.negated, self.affirmed = {}, {}, set()
        negator, left = "", 0
        for place, word in enumerate(self.words):
            following = self.words[place + 1] if place + 1 < len(self.words) else ""
            if word in _STOPS or word in ("but", "because", "although", "though", "while", "whereas"):
                negator, left = "", 0
            elif (word.replace("'", "") in _NEGATORS or word.endswith("n't") or word in _FAIL) and following != "only":
                negator, left = (f"no {following}" if word == "no" and following == "longer" else word), _SCOPE
            elif word not in _FUNCTION and len(word) > 2:
                stem = _stem(word)
                self.stems[stem] = word
                if left:
                    self.negated.setdefault(stem, negator)
                    left -= 1
                else:
                    self.affirmed.add(stem)

    def shares(self, other: _Clause) -> float:
        """Return the share of these content words that another clause holds, opposites left out."""
        own = {stem for stem, word in self.stems.items() if word not in OPPOSITES}
        return len(own & other.stems.keys()) / len(own) if own else 0.0


def _negations(claim: _Clause, rival: _Clause) -> Iterator[str]:
    """Yield where one of two clauses denies the first word that the other one affirms."""
    for denying, other, is_claim in ((claim, rival, True), (rival, claim, False)):
        firsts = _first_negated(denying)
        for stem, negator in firsts:
            if stem in other.affirmed and stem not in other.negated and stem not in denying.affirmed:
                if other.negated and denying.negated.keys() & other.negated.keys():
                    continue
                word, said = denying.stems[stem], other.stems[stem]
                if is_claim:
                    yield f"The passage says “{said}”, not “{negator} {word}”."
                else:
                    yield f"The passage says “{negator} {word}”, not “{said}”."
    yield from _prefixed(claim, rival)


def _first_negated(clause: _Clause) -> list[tuple[str, str]]:
    seen: dict[str, str] = {}
    for stem, negator in clause.negated.items():
        if negator not in seen.values():
            seen[stem] = negator
    return list(seen.items())


def _prefixed(claim: _Clause, rival: _Clause) -> Iterator[str]:
    """Yield "unhappy" against "happy"."""
    for one, other in ((claim, rival), (rival, claim)):
        for word in one.words:
            if not word.startswith("un") or len(word) < 6 or word in _NOT_UN:
                continue
            plain = _stem(word[2:])
            if plain in other.affirmed and _stem(word) not in other.stems and plain not in one.stems:
                said, claimed = (other.stems[plain], word) if one is claim else (word, other.stems[plain])
                if _stem(word) not in one.negated:
                    yield f"The passage says “{said}”, not “{claimed}”."


def _opposites(claim: _Clause, best: _Clause, close: list[_Clause]) -> Iterator[str]:
    claimed = set(claim.words)
    said = set(best.words)
    anywhere = {word for clause in close for word in clause.words}
    for word in dict.fromkeys(claim.words):
        for opposite in OPPOSITES.get(word, ()):
            rivals = opposite.against & said
            if not rivals or opposite.alike & anywhere or opposite.against & claimed:
                continue
            if bool(_stem(word) in claim.negated) != any(_stem(rival) in best.negated for rival in rivals):
                continue  # "did not rise" may be "fell"
            rival = min(rivals, key=best.words.index)
            if opposite.is_turnable and not _same_sides(claim.words, word, best.words, rival):
                continue
            yield f"The passage says “{rival}”, not “{word}”."


def _same_sides(words: list[str], word: str, others: list[str], other: str) -> bool:
    """Return whether the content before one word also stands before the other: "A before B" is "B after A"."""
    left = _content(words[: words.index(word)])
    right = _content(words[words.index(word) + 1 :])
    other_left = _content(others[: others.index(other)])
    other_right = _content(others[others.index(other) + 1 :])
    return len(left & other_left) + len(right & other_right) > len(left & other_right) + len(right & other_left)


def _content(words: list[str]) -> set[str]:
    return {_stem(word) for word in words if word not in _FUNCTION and word not in _STOPS}


def _stem(word: str) -> str:
    for suffix in ("ingly", "edly", "ing", "ied", "ies", "ed", "es", "ly", "s", "e"):
        if word.endswith(suffix) and len(word) - len(suffix) >= 3:
            return word[: -len(suffix)]
    return word.removesuffix("'s")
