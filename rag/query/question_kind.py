"""What a question is for, told from its words: talk, something to see or hear, whether something is there.

Pure functions over strings; English first, with greetings of other languages.
"""

from __future__ import annotations

import re
from typing import Literal

Talk = Literal["greeting", "thanks", "abilities", "collection"]

_MEDIUM = re.compile(
    r"\b(pictures?|photos?|photographs?|images?|figures?|charts?|maps?|diagrams?|drawings?|paintings?|posters?|logos?|films?"
    r"|movies?|videos?|clips?|recordings?|sounds?|songs?|hear|heard|see|seen|show|shows|shown|showing|look|looks|frames?"
    r"|scenes?|screens?|visible|depict\w*)\b",
    re.I,
)
_IS_THERE = re.compile(
    r"\W*(?:is|are) there\b|\W*do(?:es)? (?:you|it|the \w+) have\b|.*\bcan (?:one|i|you) see an?\b", re.I
)
_HELLO = r"""hi|hello|hey|hiya|howdy|greetings|good (?:morning|afternoon|evening|day)
|hallo|guten (?:tag|morgen|abend)|moin|servus|bonjour|bonsoir|salut|hola|buenos d[ií]as|buenas tardes|ciao|buongiorno
|ol[aá]|bom dia|hoi|hej|你好|こんにちは"""
_HOW_ARE_YOU = r"how are you(?: doing)?(?: today)?"
_THANKS = r"""thanks?(?: you)?(?: (?:so|very) much| a lot)?|many thanks|cheers|danke(?: sch[oö]n)?|merci(?: beaucoup)?
|(?:muchas )?gracias|grazie|obrigad[oa]|bye|goodbye|see you|tsch[uü]ss|ok(?:ay)?|great|perfect|谢谢"""
_ABILITIES = r"""who are you|what are you|what can you do(?: for me)?|how (?:can|do) you help(?: me)?|help
|what can i ask(?: you)?|how does this work"""
_BASE = r"(?:this|the|your|my) (?:collection|knowledge base|database|library|archive|index)"
_HELD = rf"(?:in|inside|part of) {_BASE}"
_FILES = (
    r"""(?:files?|documents?|photos?|pictures?|images?|videos?|films?|recordings?|media|kinds? of (?:files|media))"""
)
_ARE_THERE = rf"(?:(?:do you|does (?:it|{_BASE})) (?:have|hold|contain)|are there|(?:are )?{_HELD})"
_COLLECTION = rf"""(?:how many|what|which) {_FILES} {_ARE_THERE}(?: {_HELD})?
|what(?: is|'s|’s| are| do you have) {_HELD}|what(?: is|'s|’s) {_BASE} about
|what do(?:es)? (?:{_BASE}|it) (?:hold|contain)|what do you (?:know|have|hold|contain)
|(?:list|show)(?: me)?(?: all)?(?: the| your)? {_FILES}|how (?:big|large) is {_BASE}"""
_TALK: tuple[tuple[Talk, str], ...] = (
    ("greeting", rf"(?:{_HELLO})(?:[,.!\s]+(?:there|everyone|all|{_HOW_ARE_YOU}))?|{_HOW_ARE_YOU}"),
    ("thanks", _THANKS),
    ("abilities", _ABILITIES),
    ("collection", _COLLECTION),
)
_TALK_PATTERNS = {talk: re.compile(rf"\W*(?:{words})[\W_]*".replace("\n", ""), re.I) for talk, words in _TALK}


def talk_of(question: str) -> Talk | None:
    """Return which talk this is that no file answers, such as a greeting; None for a question to the files."""
    words = " ".join(question.split())
    return next((talk for talk, pattern in _TALK_PATTERNS.items() if pattern.fullmatch(words)), None)


def is_there(question: str) -> bool:
    """Return whether a question asks if the collection has something."""
    return bool(_IS_THERE.match(question))


def asks_for_medium(question: str) -> bool:
    """Return whether a question asks for something to see or hear."""
    return bool(_MEDIUM.search(question))
