"""Numbers that point somewhere and tell nothing of the subject: figures, pages, cited works, items of lists."""

from __future__ import annotations

import re
from dataclasses import replace
from fractions import Fraction

from rag.verification.dates import find_dates
from rag.verification.kinds import Value

Span = tuple[int, int]
_YEAR = r"(?:1[5-9]|20)\d\d[a-z]?"
_NAME = r"[A-Z][^\W\d_]+(?:[-'’][A-Z]?[^\W\d_]+)*"
_PAGES = r"(?:,\s(?:pp?\.\s?)?\d{1,4}(?:[-–]\d{1,4})?)?"
# Works are cited as in (Goodall 1986, 12), (see Smith and Lee 2011; Poe et al., 2009a).
_AUTHORS = rf"{_NAME}(?:(?:,\s|,?\s(?:and|&)\s|\s){_NAME}){{0,3}}(?:,?\set\sal\.?)?"
_WORK = rf"(?:(?:see|cf\.?|e\.g\.,?|in|from|after)\s){{0,2}}{_AUTHORS},?\s{_YEAR}(?:,\s{_YEAR})?{_PAGES}"
_IN_BRACKETS = re.compile(rf"[(\[]{_WORK}(?:;\s{_WORK}){{0,9}}[)\]]")
_ET_AL = re.compile(rf"\bet\sal\.?,?\s[(\[]?({_YEAR}){_PAGES}")
_SAYS = (
    r"(?:found|show|argue|report|suggest|note|wrote|write|describe|propose|observe|state|claim|conclude|demonstrate"
    r"|discuss|point|identif|estimate|review|stud|examine|assert|and\s|&)"
)
_NAMED = re.compile(
    rf"(?:\b(?:and|&|by|see|to|of)\s{_NAME}\s[(\[]({_YEAR}){_PAGES}[)\]]|{_NAME}\s[(\[]({_YEAR}){_PAGES}[)\]]\s{_SAYS}"
    rf"|\b[A-Z]\.,?\s[(\[]?({_YEAR})\b[)\]]?)"
)
_MONTH = re.compile(r"[(\[](?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)[a-z]*\.?,?\s\d")
_LABELS = (
    r"figures?|figs?|tables?|chapters?|chap|ch|sections?|sec|pages?|pp?|equations?|eqs?|eqn|box|appendix|exhibit|exhibits"
    r"|exercises?|footnotes?|plates?|slides?|volumes?|vol|nos?|isbn|doi|lines?|abbildung|abb|tabelle|kapitel|seite|page"
    r"|figura|tabla|tableau|chapitre|capítulo|página"
)
_LABEL = re.compile(rf"(?<![^\W\d_])({_LABELS})\.?[^\S\n]{{0,2}}$", re.I)
_LONGEST_LABEL = 16
_LABELLED = re.compile(r"(?<!\d)\d{1,4}(?:[.\-–]\d{1,3}){0,3}[a-z]?\b(?:(?:,|\sand|\sor|\sto)\s\d{1,4}\b(?!\s[a-z]))*")
_DIGIT = re.compile(r"\d")
_HAS_YEAR = re.compile(r"(?:1[5-9]|20)\d\d")
_BRACKETED = re.compile(r"\[\d{1,3}(?:[,;–-]\s?\d{1,3}){0,20}\]|(?:^|(?<=[\s.;:,]))\(\d{1,2}\)(?=\s)")
_ITEM = re.compile(
    r"^[^\S\n]*(?:(?:\d{1,2}(?:\.\d{1,2}){0,3}[.)]|\(\d{1,2}\))[^\S\n]+(?=\D)"
    r"|\d{1,2}(?:\.\d{1,2}){1,3}[^\S\n]+(?=[^\Wa-z\d_]))",  # "1.7 Results", but not "1.7 percent"
    re.M,
)


def find_references(text: str) -> list[Value]:
    """Return the labels and the years of cited works that a text names."""
    found = []
    for span in _cited_works(text):
        found += [
            replace(date, start=span[0] + date.start, end=span[0] + date.end, is_reference=True)
            for date in find_dates(text[span[0] : span[1]])
        ]
        found.append(Value("quote", text[span[0] : span[1]], *span, (), is_reference=True))
    for (start, end), label in _labels(text):
        found.append(Value("number", text[start:end], start, end, (Fraction(0), label), is_reference=True))
    return found


def _cited_works(text: str) -> list[Span]:
    """Return the ``[start, end)`` of citations with a year, such as "(Goodall 1986, 12)" and "et al. 2009"."""
    if not _HAS_YEAR.search(text):
        return []
    spans = [m.span() for m in _IN_BRACKETS.finditer(text) if not _MONTH.match(text, m.start())]
    spans += [m.span() for m in _ET_AL.finditer(text)]
    return spans + [m.span() for m in _NAMED.finditer(text)]


def _labels(text: str) -> list[tuple[Span, str]]:
    """Return the places of numbers that are labels, each with its word, such as "figure"; "" for marks and items."""
    if not _DIGIT.search(text):
        return []
    found = []
    for match in _LABELLED.finditer(text):
        if label := _LABEL.search(text, max(0, match.start() - _LONGEST_LABEL), match.start()):
            found.append(((label.start(), match.end()), label[1].lower().rstrip("s")))
    found += [(m.span(), "") for m in _BRACKETED.finditer(text)]
    return found + [(m.span(), "") for m in _ITEM.finditer(text)]
