"""Units of measure in their spellings, each with a base unit and an exact factor.

Units that convert only by a rounded factor stay apart: a mile is not 1.6 km. Words are for English first, and for the
commonest units of five other languages.
"""

from __future__ import annotations

import re
from fractions import Fraction

Unit = tuple[str, Fraction]
_ONE = Fraction(1)

# base | factor | spellings; a word also has its plural with "s". Symbols of one to three letters keep their case.
_TABLE = """
%|1/100|% percent percentage pct prozent procent ％ percents per_cent percentage_point percentage_points pour_cent
%|1/100|por_ciento per_cento por_cento
‰|1/1000|‰ per_mille
min|1|min mins minute minuto minuti minuut minuten
min|1/60|s sec secs second seconde segundo secondo secondi sekunde sekunden
min|60|h hr hrs hour heure stunde stunden hora ora ore uur
min|1440|day days d jour tag tage tagen día dias días giorno giorni dag dagen
min|10080|week wk wks woche wochen semaine semana settimana settimane
month|1|month monat monate monaten mois mes meses mese mesi maand maanden
month|12|year yr yrs jahr jahre jahren ans année año ano anni jaar annum
month|120|decade
month|1200|century centuries
g|1000000|tonne t metric_ton metric_tons tonnes
ton|1|ton tons
pound|1|£ pound lb lbs GBP
ounce|1|oz ounce
stone|1|stone
mile|1|mile mi
nautical mile|1|nautical_mile nautical_miles
inch|1|inch inches ″
inch|12|foot feet ft ′
inch|36|yard yd yds
light year|1|light_year light_years lightyear
m|1/1000000|micron
m2|10000|hectare ha hektar
acre|1|acre
gallon|1|gallon gal
pint|1|pint
cup|1|cup cups
kelvin|1|K kelvin
°|1|° degree degrees grad
°C|1|°C ℃ celsius degrees_celsius degree_celsius degrees_centigrade degrees_C grad_celsius
°F|1|°F ℉ fahrenheit degrees_fahrenheit degree_fahrenheit degrees_F
mmHg|1|mmHg mm_Hg
atm|1|atm atmosphere
psi|1|psi
dB|1|dB decibel
mile/min|1/60|mph
m/min|1000/60|kph kmh
dollar|1|$ dollar USD bucks
dollar|1/100|cent
euro|1|€ euro EUR
yen|1|¥ yen JPY
rupee|1|₹ rupee
yuan|1|yuan renminbi RMB
times|1|time times fold
mol|1|mole
m|1000|公里
m|1|米
g|1000|公斤
month|12|年 岁 歳
"""
# base | factor of the unprefixed unit | symbol | words; these take the prefixes below.
_PREFIXED = """
g|1|g|gram gramme gramm gramo grammo grammi
m|1|m|metre meter mètre metro metri
l|1|L l|litre liter litro litri
J|1|J|joule
cal|1|cal|calorie kalorie kalorien caloría
W|1|W|watt
V|1|V|volt
Wh|1|Wh|
A|1|A|ampere amp
Hz|1|Hz|hertz
Pa|1|Pa|pascal
eV|1|eV|electronvolt
B|1|B|byte
bit|1|bit|bit
mol|1|mol|
N|1|N|newton
bar|1|bar|bar
"""
_PREFIXES = {
    "": ("", 0), "k": ("kilo", 3), "M": ("mega", 6), "G": ("giga", 9), "T": ("tera", 12), "h": ("hecto", 2),
    "d": ("deci", -1), "c": ("centi", -2), "m": ("milli", -3), "µ": ("micro", -6), "μ": ("micro", -6),
    "n": ("nano", -9), "p": ("pico", -12),
}  # fmt: skip
_UNPREFIXED_SYMBOLS = frozenset({"A", "B", "N"})  # alone, these letters are rarely units
_POWERS = {"square": 2, "sq": 2, "cubic": 3, "cu": 3, "²": 2, "³": 3, "2": 2, "3": 3}
CURRENCY = "$€£¥₹"
_NEXT = re.compile(
    r"(?:[^\S\n]?[-‐‑]|[^\S\n]{1,2})?(?:(square|cubic|sq|cu)\.?[^\S\n])?"
    r"(°[^\S\n]?[CF]\b|[%％‰°℃℉$€£¥₹″′]|[^\W\d_²³]{1,24})([²³]|\^?[23]\b)?(?:[^\S\n]([^\W\d_]{1,12}))?"
)
_PER = re.compile(r"[^\S\n]?/[^\S\n]?(?=[^\W\d_])|[^\S\n](?:per|an?)[^\S\n]")
_SLASHED = re.compile(r"([^\W\d_]{1,12})")
_IN_HEADING = re.compile(r"[(\[]\s?(?:in\s)?([^()\[\]]{1,20}?)\s?[)\]]|\bin (percent|thousands|millions|billions)\b")


def _table() -> dict[str, Unit]:
    units: dict[str, Unit] = {}
    for line in _TABLE.strip().splitlines():
        base, factor, spellings = line.split("|")
        for spelling in spellings.split():
            units[spelling.replace("_", " ")] = (base, Fraction(factor))
            if len(spelling) > 3 and "_" not in spelling:
                units.setdefault(spelling + "s", (base, Fraction(factor)))
    for line in _PREFIXED.strip().splitlines():
        base, factor, symbols, words = line.split("|")
        for symbol, (word, power) in _PREFIXES.items():
            unit = (base, Fraction(factor) * Fraction(10) ** power)
            names = [symbol + s for s in symbols.split() if symbol or s not in _UNPREFIXED_SYMBOLS]
            for name in [*names, *(word + w + plural for w in words.split() for plural in ("", "s", "n"))]:
                units.setdefault(name, unit)
    return units


_UNITS = _table()
_UNITS_OF_SPEECH = {name.lower(): unit for name, unit in reversed(_UNITS.items()) if 1 < len(name) < 4}  # "hz"


def find_unit(spelling: str) -> Unit | None:
    """Return the base unit and the factor of a spelling; None if it is no unit."""
    found = _UNITS.get(spelling)
    if found is None and len(spelling) > 1:
        found = _UNITS.get(spelling.lower()) or _UNITS_OF_SPEECH.get(spelling)
    return found


def unit_after(text: str, at: int) -> tuple[Unit, int] | None:
    """Return the unit that follows a number which ends at `at`, and where the unit ends; None if none follows."""
    match = _NEXT.match(text, at)
    if not match:
        return None
    power, word, raised, second = match.groups()
    end = match.end(3) if raised else match.end(2)
    found = None
    if second and not raised:
        found = find_unit(f"{word} {second}") or _UNITS.get(f"{word.lower()} {second}")
        end = match.end(4) if found else end
    found = found or find_unit(word.replace(" ", "").replace("\u00a0", "")) or None
    if not found and word[0] > "\u2e80":
        found, end = _ideographs(word, match.start(2))
    if not found:
        return None
    exponent = _POWERS.get(power or "") or _POWERS.get((raised or "").lstrip("^")) or 1
    base, factor = found
    if exponent > 1:
        found = (f"{base}{exponent}", factor**exponent)
    return _per(text, end, found)


def _ideographs(word: str, start: int) -> tuple[Unit | None, int]:
    for length in (2, 1):
        if found := _UNITS.get(word[:length]):
            return found, start + length
    return None, start


def _per(text: str, end: int, unit: Unit) -> tuple[Unit, int]:
    """Return a unit divided by the one that follows it, as in "km per hour", or the unit itself."""
    match = _PER.match(text, end)
    word = _SLASHED.match(text, match.end()) if match else None
    below = find_unit(word[1]) if word else None
    if not word or not below:
        return unit, end
    return (f"{unit[0]}/{below[0]}", unit[1] / below[1]), word.end()


def units_of_headings(text: str) -> dict[str, Fraction]:
    """Return the units in brackets, as in the heading "Weight (kg)" of a column, with their factors."""
    if "(" not in text and "[" not in text and "in " not in text:
        return {}
    found = (find_unit(match[1] or match[2] or "") for match in _IN_HEADING.finditer(text))
    return dict(unit for unit in found if unit)
