"""Ways in which a right statement goes wrong: another number, name or date, a denial, or another place.

Each takes a claim and returns a wrong one, or None where it does not apply. Pure functions, but for the search that
`Surroundings` brings. A wrong statement can be true by chance. It is left out where words can tell: another place must
lack a value of the statement, or a fifth of its words; another name must not stand in the passage. Two cases remain:
another place may say the same in other words, and another value of the same passage may hold as well.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain

from rag.evaluation.claims import CAPTIONED, PHOTO, TABLE, WRITTEN, Claim, medium_of, table_rows
from rag.segments import file_name
from rag.text import new_stems, stems
from rag.types import Hit, PageBox, TimeSpan, Word
from rag.verification.narrowing import narrow
from rag.verification.values import Value, missing, values

_DIGITS = re.compile(r"\d+")
_YEAR = re.compile(r"\b(?:1[0-9]|20)\d\d\b")
_MONTHS = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)
_MONTH = re.compile(rf"\b(?:{'|'.join(_MONTHS)})\b")
# Each unit with another that it is mistaken for.
_UNITS = {
    "percent": "per mille", "%": "‰", "thousand": "million", "million": "billion", "billion": "million",
    "years": "months", "year": "month", "months": "weeks", "month": "week", "weeks": "months", "days": "weeks",
    "day": "week", "hours": "minutes", "hour": "minute", "minutes": "hours", "seconds": "minutes",
    "centuries": "decades", "decades": "centuries", "kilometers": "miles", "kilometres": "miles", "km": "m",
    "miles": "kilometers", "meters": "feet", "metres": "feet", "m": "km", "feet": "meters", "inches": "feet",
    "centimeters": "millimeters", "cm": "mm", "mm": "cm", "kilograms": "grams", "kg": "g", "grams": "kilograms",
    "pounds": "kilograms", "tons": "kilograms", "dollars": "euros", "$": "€", "acres": "hectares",
}  # fmt: skip
_UNIT = re.compile("|".join(rf"(?<![^\W\d_]){re.escape(unit)}(?![^\W\d_])" for unit in _UNITS))
# "Can" may be a noun, and what may be so may also not be so.
_VERB = re.compile(r"\b(?:is|was|are|were|has|have|had|can|could|will|would|must|should)\b(?= [a-z])")
_NEGATION = re.compile(r"\b(?:not|never|no longer|no)\b\s|n['’]t\b", re.I)
_DENIAL = re.compile(
    r"\b(?:not?|never|nor|none|nobody|nothing|neither|without|cannot|hardly)\b|n['’]t\b|\bun\w{4,}", re.I
)
_PICTURES = (WRITTEN, CAPTIONED, PHOTO)
_SHIFTS_S = (10.0, 60.0)
_HELD = 0.8  # of a statement's words, from which another place may say the same
_REPEATED = 0.5  # of its words, from which it is spoken at the other time too


@dataclass(frozen=True, slots=True)
class Surroundings:
    """The collection of a claim.

    Attributes:
        names: of people and places there.
        files: segments by the id of their asset.
        find: searches for words, best first.
    """

    names: Sequence[str]
    files: Mapping[str, Sequence[Hit]]
    find: Callable[[str], Sequence[Hit]]


Corruption = Callable[[Claim, Surroundings, random.Random], Claim | None]


def alter_number(claim: Claim, _: Surroundings, chosen: random.Random) -> Claim | None:
    """Change a digit of a number, or make it ten times as large."""
    found = [value for value in _own(claim, "number") if _DIGITS.search(value.text)]
    if not found:
        return None
    value = chosen.choice(found)
    digits = chosen.choice(list(_DIGITS.finditer(value.text)))
    place = len(digits[0]) - 1 if ":" in value.text else chosen.randrange(len(digits[0]))  # no 50:00
    least = 1 if place == 0 else 0
    other = chosen.choice([digit for digit in "0123456789"[least:] if digit != digits[0][place]])
    changed = f"{digits[0][:place]}{other}{digits[0][place + 1 :]}"
    is_whole = digits[0] == "".join(re.findall(r"[\d.,:]+", value.text))
    number = chosen.choice([changed, f"{digits[0]}0"]) if is_whole and digits[0] != "0" else changed
    return _put(claim, value.start + digits.start(), value.start + digits.end(), number)


def alter_unit(claim: Claim, _: Surroundings, chosen: random.Random) -> Claim | None:
    """Give an amount in another unit."""
    found = [(value, unit) for value in _own(claim, "number") if (unit := _UNIT.search(value.text))]
    if not found:
        return None
    value, unit = chosen.choice(found)
    return _put(claim, value.start + unit.start(), value.start + unit.end(), _UNITS[unit[0]])


def alter_date(claim: Claim, _: Surroundings, chosen: random.Random) -> Claim | None:
    """Change a year by 1 to 30, or a month; years of cited works count too."""
    spans = [m for m in _YEAR.finditer(claim.text) if m[0] not in claim.question]
    if spans:
        year = chosen.choice(spans)
        return _put(claim, *year.span(), str(int(year[0]) + chosen.choice((-1, 1)) * chosen.randint(1, 30)))
    dates = [value for value in _own(claim, "date") if _MONTH.search(value.text)]
    if not dates:
        return None
    value = chosen.choice(dates)
    month = _MONTH.search(claim.text, value.start)
    return month and _put(claim, *month.span(), chosen.choice([name for name in _MONTHS if name != month[0]]))


def replace_name(claim: Claim, around: Surroundings, chosen: random.Random) -> Claim | None:
    """Put another name of the collection in place of one."""
    words = stems(claim.hit.segment.searchable_text)
    others = [name for name in around.names if not stems(name) & words]
    found = _own(claim, "name")
    if not found or not others:
        return None
    value = chosen.choice(found)
    return _put(claim, value.start, value.end, chosen.choice(others))


def replace_tag(claim: Claim, around: Surroundings, chosen: random.Random) -> Claim | None:
    """Say that a photo shows another thing, which others show."""
    if claim.medium != PHOTO:
        return None
    own = stems(" ".join(claim.hit.segment.tags))
    photos = (hit for hits in around.files.values() for hit in hits if medium_of(hit) == PHOTO)
    others = {tag for hit in photos for tag in hit.segment.tags if not stems(tag) & own}
    return _put_cell(claim, chosen.choice(sorted(others))) if others else None


def swap_within(claim: Claim, _: Surroundings, chosen: random.Random) -> Claim | None:
    """Put another value of the same kind, which the same passage holds elsewhere, in place of one."""
    told = [value for value in values(claim.hit.segment.searchable_text) if "\n" not in value.text]
    swaps = [
        (value, other)
        for value in values(claim.text, claim.question)
        for other in told
        if _is_rival(value, other) and value.text not in claim.question
        and not stems(other.text) & stems(f"{claim.text} {claim.question}")
    ]  # fmt: skip
    if not swaps:
        return None
    value, other = chosen.choice(swaps)
    return _put(claim, value.start, value.end, other.text)


def negate(claim: Claim, _: Surroundings, chosen: random.Random) -> Claim | None:
    """Put a "not" behind a verb, or take the only denial out."""
    denials = list(_DENIAL.finditer(claim.text))
    if denials:
        taken = _NEGATION.search(claim.text)
        is_plain = taken and len(denials) == 1 and not re.match(r"\s*only\b", claim.text[taken.end() :])
        return _put(claim, *taken.span(), "") if taken and is_plain else None
    verbs = list(_VERB.finditer(claim.text))
    if not verbs:
        return None
    verb = chosen.choice(verbs)
    return _put(claim, verb.end(), verb.end(), " not")


def cite_same_file(claim: Claim, around: Surroundings, _: random.Random) -> Claim | None:
    """Cite the passage of the same file, or of the same page, that shares most words and does not say it."""
    return _nearest(claim, [hit for hit in _same_file(claim, around) if _page(hit) == _page(claim.hit)])


def cite_other_page(claim: Claim, around: Surroundings, _: random.Random) -> Claim | None:
    """Cite the passage of another page of the same file that shares most words and does not say it."""
    return _nearest(claim, [hit for hit in _same_file(claim, around) if _page(hit) != _page(claim.hit)])


def cite_other_file(claim: Claim, around: Surroundings, _: random.Random) -> Claim | None:
    """Cite the best place that a search finds in another file of the medium and that does not say it."""
    return None if claim.medium in _PICTURES else _found_elsewhere(claim, around)


def cite_other_picture(claim: Claim, around: Surroundings, _: random.Random) -> Claim | None:
    """Cite the best picture that a search finds and that does not say it."""
    return _found_elsewhere(claim, around) if claim.medium in _PICTURES else None


def _found_elsewhere(claim: Claim, around: Surroundings) -> Claim | None:
    for hit in around.find(f"{claim.question} {claim.text}"):
        if hit.segment.asset_id == claim.hit.segment.asset_id or not _is_like(hit, claim):
            continue
        if claim.medium == PHOTO and claim.cell not in hit.segment.tags and hit.segment.tags:
            name, other = file_name(claim.hit), file_name(hit)
            question = claim.question.replace(name, other)
            return replace(claim, hit=hit, question=question, text=claim.text.replace(name, other))
        if claim.medium != PHOTO and _lacks(hit, claim):
            return replace(claim, hit=hit)
    return None


def shift_time(claim: Claim, around: Surroundings, chosen: random.Random) -> Claim | None:
    """Place the words of a recording 10 to 60 s before or behind the time when they are spoken."""
    segment = claim.hit.segment
    span = narrow(claim.text, segment.words) if segment.words else None
    if span is None:
        return None
    spoken = [word for hit in around.files.get(segment.asset_id, (claim.hit,)) for word in hit.segment.words]
    end_s = max((word.end_s for word in spoken), default=0.0)
    sizes = [*(chosen.uniform(*_SHIFTS_S) for _ in range(3)), _SHIFTS_S[0]]  # short recordings allow only the least
    allowed = [
        shift
        for shift in chain.from_iterable((size, -size) for size in sizes)
        if span.start_s + shift >= 0 and span.end_s + shift <= end_s and not _is_repeated(claim, spoken, span, shift)
    ]
    if not allowed:
        return None
    shift = chosen.choice(allowed)
    shifted = [replace(word, start_s=word.start_s + shift, end_s=word.end_s + shift) for word in segment.words]
    words = tuple(word for word in shifted if word.start_s >= 0 and word.end_s <= end_s)
    moved = replace(segment, words=words, locator=TimeSpan(words[0].start_s, words[-1].end_s))
    return replace(claim, hit=replace(claim.hit, segment=moved))


def take_other_row(claim: Claim, _: Surroundings, chosen: random.Random) -> Claim | None:
    """Give the cell of another row of the same column."""
    if claim.medium != TABLE or not claim.cell:
        return None
    rows = table_rows(claim.hit.segment.text)
    own = {row[column].strip(" .") for row in rows for column in row if _is_row_of(row, claim)}
    columns = {name for row in rows for name, cell in row.items() if cell.strip(" .") == claim.cell}
    others = {
        row[name].strip(" .") for row in rows for name in columns & row.keys() if not _is_row_of(row, claim)
    } - own
    return _put_cell(claim, chosen.choice(sorted(others))) if others else None


# Kinds of corruption in the order of the table; several share a way.
KINDS: dict[str, Corruption] = {
    "number altered": alter_number,
    "unit altered": alter_unit,
    "date altered": alter_date,
    "name replaced": replace_name,
    "another thing": replace_tag,
    "value of the same passage": swap_within,
    "negation": negate,
    "another passage of the file": cite_same_file,
    "another page": cite_other_page,
    "another file": cite_other_file,
    "another picture": cite_other_picture,
    "time shifted": shift_time,
    "cell of another row": take_other_row,
}


def corrupt(claim: Claim, around: Surroundings, seed: int) -> dict[str, Claim]:
    """Return a claim in all the ways that apply, by kind; the same seed gives the same ones."""
    found = {}
    for kind, change in KINDS.items():
        other = change(claim, around, random.Random(f"{seed} {kind} {claim.text}"))
        if other is not None and other != claim:
            found[kind] = other
    return found


def _same_file(claim: Claim, around: Surroundings) -> list[Hit]:
    """Return the other segments of a claim's file that have such words and do not say it."""
    segment = claim.hit.segment
    others = around.files.get(segment.asset_id, ()) if claim.medium != PHOTO else ()
    return [h for h in others if h.segment.ordinal != segment.ordinal and _is_like(h, claim) and _lacks(h, claim)]


def _nearest(claim: Claim, hits: Sequence[Hit]) -> Claim | None:
    wanted = stems(claim.text)
    best = max(hits, key=lambda hit: len(stems(hit.segment.searchable_text) & wanted), default=None)
    return None if best is None else replace(claim, hit=best)


def _page(hit: Hit) -> int | None:
    locator = hit.segment.locator
    return locator.page if isinstance(locator, PageBox) else None


def _own(claim: Claim, kind: str) -> list[Value]:
    """Return the values of a kind that a claim adds to its question."""
    found = values(claim.text, f"{claim.question}\n{claim.hit.segment.searchable_text}")
    return [v for v in found if v.kind == kind and not v.is_reference and v.text not in claim.question]


def _is_rival(value: Value, other: Value) -> bool:
    """Return whether two values are different answers to one question."""
    if value.kind != other.kind or value.kind == "quote" or value.is_reference or other.is_reference:
        return False
    if set(value.readings) & set(other.readings):
        return False
    if value.kind == "number":
        return value.key[1] == other.key[1]
    if value.kind == "date":  # a year for a year, a month for a month
        return [part is None for part in value.key] == [part is None for part in other.key]
    return len(value.key) == len(other.key)


def _is_like(hit: Hit, claim: Claim) -> bool:
    medium = medium_of(hit)
    return medium == claim.medium or (claim.medium == CAPTIONED and medium == WRITTEN and bool(hit.segment.caption))


def _lacks(hit: Hit, claim: Claim) -> bool:
    """Return whether a place does not say a claim, as far as words tell."""
    words = f"{hit.segment.title}\n{hit.segment.searchable_text}"
    if not words.strip() or values(claim.text, claim.question):
        return bool(missing(claim.text, words, claim.question))
    added = new_stems(claim.text, claim.question)
    return len(added & stems(words)) < _HELD * len(added)


def _is_repeated(claim: Claim, spoken: Sequence[Word], span: TimeSpan, shift: float) -> bool:
    """Return whether the statement is also spoken at the other time."""
    start_s, end_s = span.start_s + shift, span.end_s + shift
    there = stems(" ".join(word.text for word in spoken if word.end_s > start_s and word.start_s < end_s))
    own = stems(claim.text)
    return len(own & there) >= _REPEATED * len(own)


def _is_row_of(row: Mapping[str, str], claim: Claim) -> bool:
    return next(iter(row.values()), "") in claim.question


def _put_cell(claim: Claim, cell: str) -> Claim:
    start = claim.text.rindex(claim.cell)
    return replace(_put(claim, start, start + len(claim.cell), cell), cell=cell)


def _put(claim: Claim, start: int, end: int, text: str) -> Claim:
    return replace(claim, text=f"{claim.text[:start]}{text}{claim.text[end:]}")
