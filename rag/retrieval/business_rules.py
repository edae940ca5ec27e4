"""Business rules over what a search finds: what is hidden, and what comes earlier or later; pure functions.

A rule is a filter in the language of `rag.query.filters` and what it does to the segments that it admits::

    {"where": {"discontinued": true}, "hide": true}
    {"where": {"stock": {"gte": 1}}, "boost": 2, "name": "in stock"}

Hiding is the store's work. A boost multiplies the odds of a hit, score / (1 - score), so that a score stays one: twice
the odds make 0.67 of 0.5 and 0.95 of 0.9, and what fits the question badly does not come before what fits it well.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from rag.errors import QueryError, SettingsError
from rag.query.filters import Group, matches, parse_filter
from rag.segments import to_payload
from rag.types import Filter, Hit, Where

_MOST_RULES = 100
_MOST_BOOST = 1000.0
_KEYS = frozenset({"where", "boost", "hide", "name"})


@dataclass(frozen=True, slots=True)
class Rule:
    """What becomes of the hits that a filter admits.

    Attributes:
        name: for people.
        where: the filter.
        boost: what the odds of such a hit are multiplied by; below 1 it comes later.
        hides: whether such a segment is not found at all.
    """

    name: str
    where: Where
    boost: float = 1.0
    hides: bool = False

    @property
    def conditions(self) -> Group:
        """The filter, read."""
        return parse_filter(Filter(where=self.where))


def parse_rules(given: Iterable[Mapping[str, Any]]) -> tuple[Rule, ...]:
    """Rules from the setting `ranking`.

    Raises:
        SettingsError: one of them is malformed.
    """
    found = tuple(_rule(one) for one in given)
    if len(found) > _MOST_RULES:
        raise SettingsError(f"Setting `ranking` has {len(found)} rules; {_MOST_RULES} are the most.")
    return found


def exclude_hidden(where: Where, ranking: Sequence[Rule]) -> Where:
    """A filter, less what rules hide."""
    hidden = [{"not": rule.where} for rule in ranking if rule.hides]
    return {"and": [where, *hidden]} if hidden else where


def apply_rules(hits: Sequence[Hit], ranking: Sequence[Rule]) -> list[Hit]:
    """Hits in the order of their scores after the rules, each with the names of those that it meets.

    A moment of a film meets a rule where one of its parts does.
    """
    boosts = [(rule, rule.conditions) for rule in ranking if not rule.hides]
    changed = [
        boost_hit(hit, [(rule.name, rule.boost) for rule, group in boosts if _meets(hit, group)]) for hit in hits
    ]
    return sorted(changed, key=lambda hit: -hit.score)


def boost_hit(hit: Hit, boosts: Sequence[tuple[str, float]]) -> Hit:
    """A hit with its odds multiplied, which it names among its rules."""
    boost = math.prod(factor for _, factor in boosts)
    score = boost * hit.score / (1 - hit.score + boost * hit.score)
    rules = (*hit.why.rules, *(f"{name} ×{factor:g}" for name, factor in boosts))
    return replace(hit, why=replace(hit.why, score=score, rules=rules))


def _meets(hit: Hit, group: Group) -> bool:
    return any(matches(group, to_payload(one.segment)) for one in hit.parts or (hit,))


def _rule(given: Mapping[str, Any]) -> Rule:
    where, boost, hides = given.get("where"), given.get("boost", 1.0), given.get("hide", False)
    unknown = sorted(set(given) - _KEYS)
    if unknown or not isinstance(where, Mapping) or not where:
        raise SettingsError(
            f"A rule of `ranking` has `where`, `boost` or `hide`, and perhaps a `name`; this is none: {dict(given)!r}."
        )
    if isinstance(boost, bool) or not isinstance(boost, (int, float)) or not 1 / _MOST_BOOST <= boost <= _MOST_BOOST:
        raise SettingsError(f"`boost` of a rule is a number from {1 / _MOST_BOOST} to {_MOST_BOOST:g}, not {boost!r}.")
    if not isinstance(hides, bool) or hides == (boost != 1):
        raise SettingsError(f"A rule either hides (`hide` is true) or boosts (`boost` is not 1): {dict(given)!r}.")
    rule = Rule(str(given.get("name") or ", ".join(map(str, where)))[:80], where, float(boost), hides)
    try:
        rule.conditions  # noqa: B018 - refuses a malformed filter now, not at the first question
    except QueryError as error:
        raise SettingsError(f"`where` of a rule of `ranking`: {error}") from error
    return rule
