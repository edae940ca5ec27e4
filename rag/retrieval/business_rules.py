"""Business rules over search results: what to hide, and what to rank earlier or later. Pure functions.

A rule is a filter in the language of `rag.query.filters` and its effect on the segments that match::

    {"where": {"discontinued": true}, "hide": true}
    {"where": {"stock": {"gte": 1}}, "boost": 2, "name": "in stock"}

The store hides segments. A boost multiplies the odds of a hit, score / (1 - score), so that scores stay in [0, 1].
Twice the odds turn 0.5 into 0.67 and 0.9 into 0.95, and a poor hit does not overtake a good one.
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

_MAX_RULES = 100
_MAX_BOOST = 1000.0
_KEYS = frozenset({"where", "boost", "hide", "name"})


@dataclass(frozen=True, slots=True)
class Rule:
    """A filter, and whether matching segments are hidden or their odds multiplied.

    Attributes:
        name: label for explanations.
        where: the filter.
        conditions: the parsed filter.
        boost: factor for the odds of a matching hit; below 1 it ranks later.
        hides: whether matching segments are hidden.
    """

    name: str
    where: Where
    conditions: Group
    boost: float
    hides: bool


def parse_rules(values: Iterable[Mapping[str, Any]]) -> tuple[Rule, ...]:
    """Parse the rules of the setting `ranking`.

    Raises:
        SettingsError: a rule is malformed, or there are too many.
    """
    rules = tuple(_parse_rule(value) for value in values)
    if len(rules) > _MAX_RULES:
        raise SettingsError(f"Setting `ranking` has {len(rules)} rules (limit {_MAX_RULES}).")
    return rules


def exclude_hidden(where: Where, ranking: Sequence[Rule]) -> Where:
    """Exclude from a filter what the rules hide."""
    hidden = [{"not": rule.where} for rule in ranking if rule.hides]
    return {"and": [where, *hidden]} if hidden else where


def apply_rules(hits: Sequence[Hit], ranking: Sequence[Rule]) -> list[Hit]:
    """Boost the hits and sort them by their new scores; each names the rules that it meets.

    A moment of a video meets a rule if one of its parts does.
    """
    boosting = [rule for rule in ranking if not rule.hides]
    changed = [
        boost_hit(hit, [(rule.name, rule.boost) for rule in boosting if _meets(hit, rule.conditions)]) for hit in hits
    ]
    return sorted(changed, key=lambda hit: -hit.score)


def boost_hit(hit: Hit, boosts: Sequence[tuple[str, float]]) -> Hit:
    """Multiply the odds of a hit, and name each boost among its rules."""
    boost = math.prod(factor for _, factor in boosts)
    score = boost * hit.score / (1 - hit.score + boost * hit.score)
    rules = (*hit.why.rules, *(f"{name} ×{factor:g}" for name, factor in boosts))
    return replace(hit, why=replace(hit.why, score=score, rules=rules))


def _meets(hit: Hit, group: Group) -> bool:
    return any(matches(group, to_payload(one.segment)) for one in hit.parts or (hit,))


def _parse_rule(value: Mapping[str, Any]) -> Rule:
    where, boost, hides = value.get("where"), value.get("boost", 1.0), value.get("hide", False)
    unknown = sorted(set(value) - _KEYS)
    if unknown or not isinstance(where, Mapping) or not where:
        raise SettingsError(
            f"A rule of `ranking` has `where`, `boost` or `hide`, and optionally `name`: {dict(value)!r}."
        )
    if isinstance(boost, bool) or not isinstance(boost, (int, float)) or not 1 / _MAX_BOOST <= boost <= _MAX_BOOST:
        raise SettingsError(f"`boost` of a rule must be from {1 / _MAX_BOOST} to {_MAX_BOOST:g}: {boost!r}.")
    if not isinstance(hides, bool) or hides == (boost != 1):
        raise SettingsError(f"A rule either hides (`hide` is true) or boosts (`boost` is not 1): {dict(value)!r}.")
    try:
        conditions = parse_filter(Filter(where=where))
    except QueryError as error:
        raise SettingsError(f"`where` of a rule of `ranking`: {error}") from error
    name = str(value.get("name") or ", ".join(map(str, where)))[:80]
    return Rule(name, where, conditions, float(boost), hides)
