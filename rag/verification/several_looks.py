"""Questions that one look does not answer: comparisons, of which each side must be known, and counts over all files.

Pure functions over words.
"""

from __future__ import annotations

import re

from rag.text import stems

_COMPARES = re.compile(
    r"\b(?:first|last|earli\w+|later|latest|more|less|most|least|fewer|fewest|better|best|worse|worst|further|farther"
    r"|old(?:er|est)|young(?:er|est)|big(?:ger|gest)|small(?:er|est)|larg(?:er|est)|tall(?:er|est)|long(?:er|est)"
    r"|short(?:er|est)|high(?:er|est)|low(?:er|est)|near(?:er|est)|heav(?:ier|iest)|light(?:er|est)|fast(?:er|est)"
    r"|slow(?:er|est)|strong(?:er|est)|weak(?:er|est)|rich(?:er|est)|poor(?:er|est)|deep(?:er|est)|wid(?:er|est))\b",
    re.I,
)
_CHOICE = re.compile(r"[:,]\s+(?P<first>[^:?]{2,120}?),?\s+or\s+(?P<last>[^:?,]{2,60})\W*$", re.I)
_DIFFERENCE = re.compile(r"\b(?:differ\w*|compar\w*|contrast\w*|in common|similar\w*|alike)\b", re.I)
_PAIR = re.compile(
    r"\b(?:between|both|compare|contrast|do|does|did|are|were)\s+(?P<first>[^,?]{2,60}?)\s+(?:and|with|to|from)\s+"
    r"(?P<last>[^,?]{2,60}?)(?:\s+(?:differ\w*|compare|have|in|alike|similar|so)\b|\W*$)",
    re.I,
)
_FILES = r"(?:photos?|pictures?|images?|figures?|videos?|films?|clips?|recordings?|files?|documents?|charts?|maps?)"
_COUNTS = re.compile(
    rf"\bhow many (?:other |different )?{_FILES} (?:show|are|have|has|contain|depict|mention|there|with|do you|speak)"
    rf"|\bhow many (?:of the|of these) {_FILES}\b|\bcount (?:all |the )?{_FILES}\b",
    re.I,
)
_ARTICLE = re.compile(r"^(?:the|an?|of|by)\s+", re.I)
_LEAST_NAMED = 0.5  # of the words of a side


def counts_files(question: str) -> bool:
    """Return whether a question asks for a number of files, which no few places tell."""
    return bool(_COUNTS.search(question))


def is_choice(question: str) -> bool:
    """Return whether a question asks which of several things is first, more, older."""
    return bool(_COMPARES.search(question) and _CHOICE.search(question))


def compared(question: str) -> tuple[str, ...]:
    """Return the things that a question compares, as it names them; empty if it compares none."""
    if is_choice(question) and (match := _CHOICE.search(question)):
        return tuple(_ARTICLE.sub("", side.strip()) for side in (*match["first"].split(","), match["last"]))
    if _DIFFERENCE.search(question) and (match := _PAIR.search(question)):
        return tuple(_ARTICLE.sub("", side.strip()) for side in (match["first"], match["last"]))
    return ()


def untold(question: str, evidence: str) -> tuple[str, ...]:
    """Return those of the compared things of which the evidence does not speak."""
    held = stems(evidence)
    sides = ((side, stems(side)) for side in compared(question))
    return tuple(side for side, words in sides if words and len(words & held) < _LEAST_NAMED * len(words))
