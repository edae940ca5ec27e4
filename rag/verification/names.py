"""Names, and whether a text holds them: in other cases, with initials, as acronyms, nearly as spelled."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass, field

from rag.text import sentences
from rag.verification.kinds import Value
from rag.verification.number_words import DIGITS, NUMBER_WORDS
from rag.verification.ordinary_words import FUNCTION_WORDS, is_ordinary, word_set
from rag.verification.units import find_unit

_TOKEN = re.compile(r"[^\W_]+")
_PARTICLES = r"(?:de|del|della|di|da|dos|du|la|le|van|von|der|den|ter|ten|bin|ibn|al|el|of|the|and|y)"
_CAPITAL = r"[^\W\d_a-zß-öø-ÿ]"
_CAPITALISED = rf"(?:{_CAPITAL}\.(?:[-\s]?{_CAPITAL}\.)*|{_CAPITAL}[\w]*(?:[-'’&.]?(?=\w)[^\W_]+)*)"
_RUN = re.compile(
    rf"(?<![\w'’]){_CAPITALISED}(?:(?:\s(?:{_PARTICLES}\s){{0,2}}|\s?&\s?){_CAPITALISED}"
    r"|(?<=\w)\s\d{1,3}(?![\d.,%]|\s[a-z]))*"
)
_CODE = re.compile(r"(?<![\w-])(?:[A-Z][A-Za-z]*-?\d[\w-]*|[a-z]\d[\w-]*)")
_ACCENTS = re.compile("[\u0300-\u036f]+")
_POSSESSIVES = re.compile(r"['’]s\b")
_DOTTED = re.compile(r"\b(?:u\.s\.a|u\.s|u\.k|u\.n|e\.u|d\.c)\b")
_POSSESSIVE = re.compile(r"['’]s?$")
_ROMAN = {"ii": "2", "iii": "3", "iv": "4", "vi": "6", "vii": "7", "viii": "8", "ix": "9", "xi": "11", "xii": "12",
          "xiii": "13", "xiv": "14", "xv": "15", "xvi": "16", "xviii": "18"}  # fmt: skip
_PLAIN = DIGITS | _ROMAN
_TITLES = word_set(
    """
    mr mrs ms miss dr doctor prof professor sir lady lord saint st president king queen prince princess general
    captain colonel judge justice senator governor pope emperor rev reverend
    """
)
_SMALL = word_set(
    """
    the a an of and in on at for to by with from as de del la le van von der den i y s t
    """
)
_GENERIC = word_set(
    """
    university college institute institution museum river lake mount mountain mountains city street park war act
    church island islands company corporation inc ltd county state province republic kingdom empire society
    association theory model effect scale test law principle syndrome disease group party court center centre school
    district ocean sea national national department agency bureau office council committee movement revolution age
    era period jr sr
    """
)
_DIRECTIONS = word_set(
    """
    north south east west northern southern eastern western new upper lower central
    """
)
_PEOPLES = """
france french|britain british uk united_kingdom|spain spanish|china chinese|greece greek greeks|denmark danish danes
netherlands dutch holland|wales welsh|poland polish poles|turkey turkish turks|scotland scottish scots|ireland irish
england english|sweden swedish swedes|finland finnish finns|switzerland swiss|germany german germans|norway norwegian
usa us america american americans united_states|europe european eu|japan japanese|portugal portuguese|thailand thai
philippines filipino|peru peruvian|congo congolese|hungary hungarian|iceland icelandic|italy italian|canada canadian
"""
_GROUPS = {
    word: place
    for place, group in enumerate(_PEOPLES.replace("\n", "|").strip("|").split("|"))
    for word in group.split()
}
_SUFFIXES = word_set(
    """
    s es n an ian ean ish ese ic ical i al ist ists ism ans ians ns ite ites er ers ine y ies 's ial d
    """
)
_GERMAN = re.compile(r"\b(?:der|die|das|und|ist|nicht|ein|eine|im|dem|den|wurde|mit)\b")
_CAPITAL_WORDS = re.compile(rf"\b{_CAPITAL}[^\W_]*")
_LOWER_WORDS = re.compile(r"(?<![^\W_])[a-zß-öø-ÿ]+")
_SINGULAR = re.compile(  # verbs that a plural seldom has, and pasts that tell nothing
    r"(?:s|ed)$|^(?:rode|wrote|took|went|came|became|began|made|gave|said|led|won|lost|held|kept|met|ran|saw|found|built"
    r"|sold|sent|fell|rose|grew|drew|spoke|chose|bore|taught|thought|fought|left|told|knew|burnt|lay|stood)$"
)
_STEM = 5  # letters that the forms of an ordinary word share
_LOWER = re.compile(r"[a-z]")
_LONGEST_ACRONYM = 6


def tokens(text: str) -> list[str]:
    """Return the words of a text in lower case, without accents, and with numbers in digits ("World War II")."""
    if not text.isascii():
        text = _ACCENTS.sub("", unicodedata.normalize("NFKD", text))
    text = _DOTTED.sub(lambda match: match[0].replace(".", ""), _POSSESSIVES.sub("", text).casefold())
    return [_PLAIN.get(word, word) for word in _TOKEN.findall(text)]


@dataclass(slots=True)
class Wording:
    """The words of a text, to look names up in."""

    text: str
    words: list[str] = field(init=False)
    known: frozenset[str] = field(init=False)
    capitalised: frozenset[str] = field(init=False)
    is_cased: bool = field(init=False)

    def __post_init__(self) -> None:
        self.words = tokens(self.text)
        self.known = frozenset(self.words)
        capitals = _CAPITAL_WORDS.findall(self.text)
        self.is_cased = len(capitals) * 200 > len(self.text)
        self.capitalised = frozenset(map(str.casefold, capitals))

    def holds_word(self, word: str) -> bool:
        """Return whether a word stands here, in another form ("France", "French"), or one letter off in speech."""
        if word in self.known:
            return True
        group = _GROUPS.get(word)
        for other in self.known:
            if group is not None and _GROUPS.get(other) == group:
                return True
            if other[:4] == word[:4] and _is_form(word, other):
                return True
        return not self.is_cased and len(word) >= 6 and any(_is_near(word, other) for other in self.known)

    def holds_run(self, words: tuple[str, ...]) -> bool:
        """Return whether words stand here one behind the other."""
        first, length = words[0], len(words)
        starts = [place for place, word in enumerate(self.words) if word == first]
        return any(tuple(self.words[start : start + length]) == words for start in starts)

    def holds_name(self, words: tuple[str, ...]) -> bool:
        """Return whether a name stands here, if only by its last part, as an acronym or spelled out."""
        held = [self.holds_word(word) for word in words]
        if any(is_held and len(word) > 1 for word, is_held in zip(words, held, strict=True)):
            held = [
                is_held or (len(word) == 1 and self._starts(word)) for word, is_held in zip(words, held, strict=True)
            ]
        if all(held) or (len(words) == 1 and self._spells(words[0])) or self._abbreviates(words):
            return True
        needed = [is_held for word, is_held in zip(words, held, strict=True) if word not in _GENERIC]
        if needed and all(needed) and len(needed) < len(words):
            return True
        if not set(words).isdisjoint(_DIRECTIONS):
            return False
        return 2 <= len(words) <= 3 and held[-1] and words[-1] not in _GENERIC and self.other_given(words) is None

    def holds_acronym(self, acronym: str) -> bool:
        """Return whether letters such as "US" stand here, in capitals if the text has any, or spelled out."""
        letters = acronym.casefold()
        is_word = letters in FUNCTION_WORDS or is_ordinary(letters)
        if not is_word or not self.is_cased:
            return self.holds_name((letters,))
        dotted = r"\.?".join(acronym)
        return bool(re.search(rf"\b{dotted}\b", self.text)) or self._spells(letters) or self._holds_people(letters)

    def _holds_people(self, word: str) -> bool:
        return any(_GROUPS.get(other) == _GROUPS.get(word, -1) for other in self.known - {word})

    def other_given(self, words: tuple[str, ...]) -> str | None:
        """Return what stands before the last word of a name instead of its first; None if nothing speaks against it."""
        *given, last = words
        for match in re.finditer(rf"\b([^\W\d_]{{1,30}})\.?\s{{1,4}}{re.escape(last)}\b", self.text, re.I):
            before = match[1].casefold()
            if before in given or any(before[0] == g[0] and 1 in (len(before), len(g)) for g in given):
                return None
            is_word = is_ordinary(before) or before in _TITLES or before in _SMALL or before in FUNCTION_WORDS
            if (before in _DIRECTIONS or not is_word) and (match[1][0].isupper() or not self.is_cased):
                return before
        return None

    def _starts(self, letter: str) -> bool:
        return any(word[0] == letter for word in self.known)

    def _spells(self, acronym: str) -> bool:
        """Return whether an acronym's letters are the first ones of words in a row, little words aside."""
        if not 2 <= len(acronym) <= _LONGEST_ACRONYM or not acronym.isalpha():
            return False
        capitals = "".join(word[0] for word in _CAPITAL_WORDS.findall(self.text)).casefold()
        initials = "".join(word[0] for word in self.words if word not in _SMALL) if len(acronym) > 2 else ""
        return acronym in capitals or acronym in initials

    def _abbreviates(self, words: tuple[str, ...]) -> bool:
        acronym = "".join(word[0] for word in words if word not in _SMALL)
        if len(acronym) < 2 or acronym not in self.known:
            return False
        return acronym.upper() in self.text if self.is_cased else len(acronym) > 2 and not is_ordinary(acronym)


def find_names(text: str, taken: bytearray, context: str = "") -> list[Value]:
    """Return the names of a text outside the characters that are `taken`.

    A first word of a sentence counts if it is capitalised within a sentence of the context or of the text, or if it is
    no ordinary word.

    Args:
        text: a statement.
        taken: one byte for each character, 1 where another value stands.
        context: the question and the passage.
    """
    if not _LOWER.search(text) and len(text) > 40:  # all in capitals
        return []
    starts = {_first_letter(text, start, end) for start, end in sentences(text)}
    starts |= {m.end() for m in re.finditer(r"[:;•*–—\n\"“«(]\s*", text)}
    is_german = len(set(_GERMAN.findall(text))) >= 2
    elsewhere: set[str] | None = None
    lower: frozenset[str] = frozenset()
    found = []
    for match in _CODE.finditer(text):
        if not any(taken[match.start() : match.end()]):
            found.append(_value(text, match.start(), match.end()))
            taken[match.start() : match.end()] = b"\1" * len(match[0])
    free = "".join("\n" if is_taken else c for c, is_taken in zip(text, taken, strict=True))
    for match in _RUN.finditer(free):
        start, end = match.span()
        if find_unit(match[0]) and text[max(0, start - 2) : start].rstrip()[-1:].isdigit():  # "5 Watt"
            continue
        if start in starts:
            if elsewhere is None:
                elsewhere = _inner_capitals(text) | _inner_capitals(context)
                lower = frozenset(word[:_STEM] for word in _LOWER_WORDS.findall(f"{text} {context}"))
            start = _name_start(text, start, end, elsewhere, lower)
        if start < end and (value := _value(text, start, end)).key and _is_name(value, is_german):
            found.append(value)
    return sorted(found, key=lambda value: value.start)


def _value(text: str, start: int, end: int) -> Value:
    end -= len(text[start:end]) - len(text[start:end].rstrip("'’.-&")) if not text[start:end].endswith("S.") else 0
    written = _POSSESSIVE.sub("", text[start:end])
    words = [word for word in tokens(written) if word not in _SMALL]
    key = tuple(word for word in words if word not in _TITLES) or tuple(words)
    if re.fullmatch(r"(?:[A-Z]\.)+[A-Z]?\.?", written):  # "U.S."
        key = ("".join(words),)
    return Value("name", written, start, start + len(written), key)


def _is_name(value: Value, is_german: bool) -> bool:
    if is_german and len(value.key) == 1 and not value.text.isupper():  # German writes every noun with a capital
        return False
    if not value.text.isupper() and {word for word in value.key if len(str(word)) > 1} <= FUNCTION_WORDS:
        return False
    return any(not str(word).isdigit() for word in value.key) and len(value.text) > 1


def _first_letter(text: str, start: int, end: int) -> int:
    while start < end and not text[start].isalnum():
        start += 1
    return start


def _inner_capitals(text: str) -> set[str]:
    """Return the words that stand capitalised behind a word in lower case or a comma, in lower case."""
    return {m[1].casefold() for m in re.finditer(rf"(?<=[a-z,]\s)({_CAPITAL}\w+)", text)}


def _name_start(text: str, start: int, end: int, elsewhere: set[str], lower: frozenset[str]) -> int:
    """Return where the name of a sentence's first words starts: behind those that are ordinary; the end if all are."""
    words = list(re.finditer(r"[^\s]+", text[start:end]))
    for place, match in enumerate(words):
        word = _POSSESSIVE.sub("", match[0]).casefold().strip(".")
        is_last = place == len(words) - 1
        is_common = is_ordinary(word) or word in NUMBER_WORDS or (is_last and word[:_STEM] in lower)
        if word in _SMALL or (word not in elsewhere and is_common):
            continue
        if word in elsewhere or not match[0].islower():
            if (
                is_last
                and word not in elsewhere
                and not match[0].isupper()
                and _looks_plural(word, text[end : end + 12])
            ):
                return end
            return start + match.start()
    return end


def _looks_plural(word: str, following: str) -> bool:
    """Return whether a first word is a plural by its verb, as in "Apes use"; "Paris is" is none."""
    verb = re.match(r"\s([a-z]+)", following)
    return bool(verb and word.endswith("s") and not word.endswith(("ss", "us")) and not _SINGULAR.search(verb[1]))


def _is_form(word: str, other: str) -> bool:
    """Return whether two words are forms of one name: "Freud" and "Freudian", "chimpanzee" and "chimpanzees"."""
    short, long = sorted((word, other), key=len)
    if long.startswith(short) and len(short) >= 4:
        return long[len(short) :] in _SUFFIXES
    return (
        len(short) >= 5
        and long.startswith(short[:-1])
        and long[len(short) - 1 :] in _SUFFIXES
        and short[-1] in "aeiouy"
    )


def _is_near(word: str, other: str) -> bool:
    """Return whether two words differ by one letter that is put in, left out or changed."""
    if abs(len(word) - len(other)) > 1 or word == other:
        return word == other
    start = next((i for i, (a, b) in enumerate(zip(word, other, strict=False)) if a != b), min(len(word), len(other)))
    rest, other_rest = word[start:], other[start:]
    return rest[1:] == other_rest[1:] or rest == other_rest[1:] or rest[1:] == other_rest
