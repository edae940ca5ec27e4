"""English words that exclude each other: "increase" and "decrease", "before" and "after"."""

from __future__ import annotations

from dataclasses import dataclass

# Two sets of words on each line, without overlap in sense.
_FIXED = """
increase increases increased rise rises rose grow grows grew|decrease decreases decreased fall falls fell
grow grows grew|decline declines declined
increase increases increased|reduce reduces reduced
raise raises raised raising|lower lowers lowered lowering
first earliest|last latest final
north northern northward northwards|south southern southward southwards
east eastern eastward eastwards|west western westward westwards
male males men man boy boys|female females women woman girl girls
left|right
largest biggest greatest|smallest tiniest
highest tallest|lowest shortest
most|least fewest
oldest eldest|youngest newest
best|worst
fastest quickest|slowest
longest|shortest
maximum|minimum
positive positively|negative negatively
always|never
won win wins|lost lose loses
accept accepts accepted|reject rejects rejected
allow allows allowed permit permits permitted|forbid forbids forbade forbidden prohibit prohibits prohibited
internal inside inner|external outside outer
legal|illegal
success succeeded succeed succeeds|failure failed fail fails
begin begins began start starts started|end ends ended stop stops stopped
buy buys bought|sell sells sold
enter enters entered|leave leaves left
import imports imported|export exports exported
mother mothers|father fathers
son sons|daughter daughters
brother brothers|sister sisters
husband husbands|wife wives
hot hotter|cold colder
wet|dry
alive living|dead
open opens opened|close closes closed
upper top|lower bottom
anterior|posterior
superior|inferior
lateral|medial
proximal|distal
dorsal|ventral
efferent|afferent
strengthen strengthens strengthened|weaken weakens weakened
gain gains gained|lose loses lost
attract attracts attracted|repel repels repelled
expand expands expanded|contract contracts contracted
"""
# These also say the same when what stands at their sides changes places: A before B is B after A.
_TURNABLE = """
before|after
above|below
over|under
older elder|younger
more|less fewer
larger bigger greater|smaller
higher taller|lower shorter
longer|shorter
better|worse
faster quicker|slower
heavier|lighter
hotter warmer|colder cooler
"""


@dataclass(frozen=True, slots=True)
class Opposite:
    """What excludes a word.

    Attributes:
        alike: the words that say the same as the word, itself among them.
        against: the words that say the opposite.
        is_turnable: whether they say the same when what stands at their sides changes places.
    """

    alike: frozenset[str]
    against: frozenset[str]
    is_turnable: bool


def _opposites() -> dict[str, tuple[Opposite, ...]]:
    found: dict[str, tuple[Opposite, ...]] = {}
    for table, is_turnable in ((_FIXED, False), (_TURNABLE, True)):
        for line in table.strip().splitlines():
            first, second = (frozenset(side.split()) for side in line.split("|"))
            for alike, against in ((first, second), (second, first)):
                for word in alike:
                    found[word] = (*found.get(word, ()), Opposite(alike, against, is_turnable))
    return found


OPPOSITES = _opposites()
