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
from rag.verification.ordinary_words import FUNCTION_WORDS, word_set

_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)?|[.,;:!?()]")
_NEGATORS = word_set(
    """
    not never no without cannot neither nor none nobody nothing unable dont didnt doesnt wont cant isnt wasnt arent
    werent wouldnt couldnt shouldnt hasnt havent hadnt hardly barely scarcely
    """
)
_FAIL = word_set("fail fails failed failing refuse refused refuses lack lacks lacked lacking")
_OF_NOUNS = word_set("no without neither nor none lack lacks lacked lacking nobody nothing")
_STOPS = frozenset(".,;:!?()")
_SCOPE = 4  # content words that a negator governs
_NOT_UN = word_set("under until unless union unions unite united unit units unique universe unlike unlikely")
_IRREGULAR_VERBS = """
left leave|went gone go|gave given give|took taken take|came come|saw seen see|knew known know|won win|lost lose
began begun begin|became become|kept keep|held hold|told tell|wrote written write|made make|said say|thought think
built build|bought buy|sold sell|sent send|spent spend|met meet|ran run|fell fallen fall|rose risen rise|grew grown grow
drew drawn draw|ate eaten eat|found find|brought bring|caught catch|taught teach|fought fight|felt feel|paid pay
spoke spoken speak|broke broken break|chose chosen choose|drove driven drive|flew flown fly|died dies die|bore born bear
"""
_VERBS = {form: forms.split()[-1] for forms in _IRREGULAR_VERBS.replace("\n", "|").split("|") for form in forms.split()}
_LEAST_SHARED = 0.6  # of a statement's content words that a sentence must hold to speak of the same
_LEAST_SHARED_OF_NOUNS = 0.8  # the same where a noun is denied: "no bones" beside "bones" tells little
_LEAST_NEAR = 0.6  # of those around a word that must stand around its counterpart
_AROUND = 3  # content words on each side of a statement's word; twice as many in the passage


def contrasts(statement: str, window: str) -> list[str]:
    """Return why a window says the opposite of a statement, each reason a sentence for people; empty if it does not."""
    reasons: dict[str, None] = {}
    rivals = [_Clause(window[a:b]) for a, b in sentences(window)]
    for start, end in sentences(statement):
        claim = _Clause(statement[start:end])
        close = [rival for rival in rivals if claim.shares(rival) >= _LEAST_SHARED]
        if close:
            best = max(close, key=claim.shares)
            found = [*_negations(claim, best), *_prefixed(claim, best), *_opposites(claim, best, close)]
            reasons |= dict.fromkeys(found[:1])
    return list(reasons)


@dataclass(slots=True)
class _Clause:
    """A sentence as words, its content stems, and which of these are negated."""

    text: str
    words: list[str] = field(init=False)
    order: list[str] = field(init=False)  # the stems as they come
    stems: dict[str, str] = field(init=False)  # stem: the word as written
    negated: dict[str, str] = field(init=False)  # stem: the negator
    affirmed: set[str] = field(init=False)
    is_elliptic: bool = field(init=False, default=False)  # denies what was said before: "others cannot."

    def __post_init__(self) -> None:
        found = (word for word in _WORD.findall(self.text) if word != "NO")  # nitric oxide
        self.words = [word.lower().replace("’", "'") for word in found]
        self.order, self.stems, self.negated, self.affirmed = [], {}, {}, set()
        negator, left = "", 0
        for place, word in enumerate(self.words):
            following = self.words[place + 1] if place + 1 < len(self.words) else ""
            if word in _STOPS or word in ("but", "because", "although", "though", "while", "whereas"):
                negator, left = "", 0
            elif (word.replace("'", "") in _NEGATORS or word.endswith("n't") or word in _FAIL) and following != "only":
                negator, left = ("no longer" if word == "no" and following == "longer" else word), _SCOPE
                self.is_elliptic = self.is_elliptic or following in _STOPS or not following
            elif word not in FUNCTION_WORDS and len(word) > 2:
                stem = _stem(word)
                self.stems[stem] = word
                self.order.append(stem)
                if left:
                    self.negated.setdefault(stem, negator)
                    left -= 1
                else:
                    self.affirmed.add(stem)

    def around(self, stem: str, reach: int) -> set[str]:
        """Return the stems within `reach` of a stem, opposites left out; all if it is a function word."""
        if stem not in self.order:
            return {s for s in self.order if self.stems[s] not in OPPOSITES}
        place = self.order.index(stem)
        near = self.order[max(0, place - reach) : place + reach + 1]
        return {s for s in near if s != stem and self.stems[s] not in OPPOSITES}

    def shares(self, other: _Clause) -> float:
        """Return the share of these content words that another clause holds, opposites left out."""
        own = {stem for stem, word in self.stems.items() if word not in OPPOSITES and not _is_prefixed(word)}
        return len(own & other.stems.keys()) / len(own) if own else 0.0


def _are_near(claim: _Clause, stem: str, rival: _Clause, rival_stem: str) -> bool:
    """Return whether the words around a statement's word also stand around its counterpart."""
    own = claim.around(stem, _AROUND)
    return bool(own) and len(own & rival.around(rival_stem, 2 * _AROUND)) >= _LEAST_NEAR * len(own)


def _negations(claim: _Clause, rival: _Clause) -> Iterator[str]:
    """Yield where one of two clauses denies the first word that the other one affirms."""
    share = claim.shares(rival)
    for denying, other in ((claim, rival), (rival, claim)) if not (claim.is_elliptic or rival.is_elliptic) else ():
        for stem, negator in _first_negated(denying):
            is_flipped = stem in other.affirmed and stem not in other.negated and stem not in denying.affirmed
            if (
                not is_flipped
                or denying.negated.keys() & other.negated.keys()
                or not _are_near(claim, stem, rival, stem)
            ):
                continue
            if negator in _OF_NOUNS and share < _LEAST_SHARED_OF_NOUNS:
                continue
            denied, said = f"{negator} {denying.stems[stem]}", other.stems[stem]
            if denying is claim:
                yield f"The passage says “{said}”, not “{denied}”."
            else:
                yield f"The passage says “{denied}”, not “{said}”."


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
            if not _is_prefixed(word):
                continue
            plain = _stem(word[2:])
            own = _stem(word)
            if plain in other.affirmed and own not in other.stems and plain not in one.stems and own not in one.negated:
                said, claimed = (other.stems[plain], word) if one is claim else (word, other.stems[plain])
                if _are_near(claim, _stem(claimed), rival, _stem(said)):
                    yield f"The passage says “{said}”, not “{claimed}”."


def _is_prefixed(word: str) -> bool:
    return word.startswith("un") and len(word) >= 6 and word not in _NOT_UN


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
            if not _are_near(claim, _stem(word), best, _stem(rival)):
                continue
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
    return {_stem(word) for word in words if word not in FUNCTION_WORDS and word not in _STOPS}


def _stem(word: str) -> str:
    word = _VERBS.get(word, word)
    for suffix in ("ingly", "edly", "ing", "ied", "ies", "ed", "es", "ly", "s", "e"):
        if word.endswith(suffix) and len(word) - len(suffix) >= 3:
            return word[: -len(suffix)]
    return word.removesuffix("'s")
