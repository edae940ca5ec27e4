"""The language of metadata filters, read once for both stores; pure functions over plain values.

=================================================  =========================================================
``{"page": 3}``, ``{"title": ["a.pdf", "b.pdf"]}``  a value; one of some values
``{"tags": {"any": ["cat", "dog"]}}``              the same, for those who like it written out
``{"page": {"gte": 1, "lt": 5}}``                  a range of numbers
``{"taken": {"gte": "2024-05", "lte": "2024"}}``   a range of times, ISO 8601; kept in seconds as ``taken_s``
``{"near": {"lat": 48.86, "lon": 2.35, "km": 5}}``  taken within so many kilometres of a place
``{"and": [a, b]}``, ``{"or": [a, b]}``, ``{"not": a}``  filters of filters, to any depth up to 16
=================================================  =========================================================

Conditions side by side in one mapping must all hold. A time without a zone is taken as UTC, as it was when it was
stored, so that cameras' local times compare with what was asked.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, TypeGuard

from rag.errors import QueryError
from rag.types import Filter, Where

_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_BOUNDS = frozenset({"gt", "gte", "lt", "lte"})
_PLACE = frozenset({"lat", "lon", "km"})
_MOST_DEEP = 16
_EARTH_KM = 6371.0
_PERIOD = re.compile(r"(\d{4})(?:-(\d{2}))?")


@dataclass(frozen=True, slots=True)
class Near:
    """At most so many kilometres from a place in degrees."""

    lat: float
    lon: float
    km: float


@dataclass(frozen=True, slots=True)
class Clause:
    """A field that must have one of these values, lie in one of these ranges, or lie near a place."""

    key: str
    texts: tuple[str, ...] = ()
    flags: tuple[bool, ...] = ()
    ranges: tuple[Mapping[str, float], ...] = ()
    near: Near | None = None


@dataclass(frozen=True, slots=True)
class Group:
    """Conditions of which all, any or none must hold."""

    how: Literal["and", "or", "not"]
    members: tuple[Clause | Group, ...]


def parse_filter(admitted: Filter) -> Group:
    """A filter as conditions, all of which must hold.

    Raises:
        QueryError: a field's name or value cannot be filtered on.
    """
    given = _group(admitted.where, 0).members
    modalities = (Clause("modality", texts=tuple(sorted(admitted.modalities))),) if admitted.modalities else ()
    assets = (Clause("asset_id", texts=tuple(sorted(admitted.asset_ids))),) if admitted.asset_ids else ()
    return Group("and", (*given, *modalities, *assets))


def matches(group: Group, payload: Mapping[str, Any]) -> bool:
    """Whether a segment's payload meets conditions, as the stores have it."""
    met = (matches(one, payload) if isinstance(one, Group) else _meets(one, payload) for one in group.members)
    if group.how == "or":
        return any(met)
    return not any(met) if group.how == "not" else all(met)


def field_names(where: Where) -> frozenset[str]:
    """The fields that a filter looks at, at any depth; of a malformed one as far as it can be read."""
    found: set[str] = set()
    for key, condition in where.items():
        nested = condition if isinstance(condition, (list, tuple)) else [condition]
        if key in ("and", "or", "not"):
            found.update(*(field_names(inner) for inner in nested if isinstance(inner, Mapping)))
        else:
            found.add(key)
    return frozenset(found)


def timestamp_s(time: str) -> float | None:
    """Seconds since 1970 of an ISO 8601 time; UTC where it names no zone; None where it is no time."""
    try:
        moment = datetime.fromisoformat(time.strip())
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None


def _meets(clause: Clause, payload: Mapping[str, Any]) -> bool:
    held = payload.get(clause.key)
    if clause.near is not None:
        return isinstance(held, Mapping) and _distance_km(clause.near, held["lat"], held["lon"]) <= clause.near.km
    return any(_fits(clause, value) for value in (held if isinstance(held, (list, tuple)) else [held]))


def _fits(clause: Clause, value: object) -> bool:
    if isinstance(value, bool):
        return value in clause.flags
    if isinstance(value, str):
        return value in clause.texts
    return _is_number(value) and any(_within(value, bounds) for bounds in clause.ranges)


def _within(number: float, bounds: Mapping[str, float]) -> bool:
    compare = {"gt": operator.gt, "gte": operator.ge, "lt": operator.lt, "lte": operator.le}
    return all(compare[name](number, bound) for name, bound in bounds.items())


def _distance_km(near: Near, lat: float, lon: float) -> float:
    """Along a great circle, by the haversine formula."""
    a, b = math.radians(near.lat), math.radians(lat)
    half = math.sin((b - a) / 2) ** 2 + math.cos(a) * math.cos(b) * math.sin(math.radians(lon - near.lon) / 2) ** 2
    return 2 * _EARTH_KM * math.asin(min(1.0, math.sqrt(half)))


def _group(where: object, depth: int) -> Group:
    if not isinstance(where, Mapping):
        raise QueryError(f"A filter is a mapping such as {{'page': 3}}, not {where!r}.")
    if depth > _MOST_DEEP:
        raise QueryError(f"A filter may be nested {_MOST_DEEP} deep, and this one is deeper.")
    return Group("and", tuple(_member(key, condition, depth) for key, condition in where.items()))


def _member(key: object, condition: Any, depth: int) -> Clause | Group:
    if key == "not":
        return Group("not", (_group(condition, depth + 1),))
    if key == "and" or key == "or":
        if not isinstance(condition, (list, tuple)) or not condition:
            raise QueryError(f"`{key}` takes a list of filters, as in {{'{key}': [{{'page': 3}}, {{'page': 5}}]}}.")
        return Group(key, tuple(_group(inner, depth + 1) for inner in condition))
    if key == "near":
        return Clause("geo", near=_near(condition))
    return _clause(key, condition)


def _clause(key: object, condition: object) -> Clause:
    if not isinstance(key, str) or not _KEY.fullmatch(key):
        raise QueryError(f"`{key}` is no field to filter on; fields are plain names such as page, title or start_s.")
    if isinstance(condition, Mapping) and set(condition) == {"any"}:
        condition = condition["any"]
        if not isinstance(condition, (list, tuple)):
            raise QueryError(f"`any` of `{key}` takes a list of values.")
    if isinstance(condition, Mapping):
        return _range(key, condition)
    values = list(condition) if isinstance(condition, (list, tuple)) else [condition]
    if not values or not all(isinstance(value, (str, bool)) or _is_number(value) for value in values):
        raise QueryError(f"Filter on `{key}` takes a text, number or truth value, a list of those, or a range.")
    # A number is looked for as a range, so that 3 finds 3.0 and the other way round.
    numbers = [float(value) for value in values if _is_number(value)]
    return Clause(
        key,
        texts=tuple(value for value in values if isinstance(value, str)),
        flags=tuple(value for value in values if isinstance(value, bool)),
        ranges=tuple({"gte": number, "lte": number} for number in numbers),
    )


def _range(key: str, bounds: Mapping[str, Any]) -> Clause:
    if not bounds or not set(bounds) <= _BOUNDS:
        raise QueryError(f"Filter on `{key}` has keys {sorted(map(str, bounds))}; a range takes gt, gte, lt, lte.")
    if all(_is_number(bound) for bound in bounds.values()):
        return Clause(key, ranges=(dict(bounds),))
    if all(isinstance(bound, str) for bound in bounds.values()):
        return Clause(f"{key}_s", ranges=(dict(_instant(key, name, time) for name, time in bounds.items()),))
    raise QueryError(
        f"Filter on `{key}` needs numbers as bounds of its range, as in {{'gte': 1, 'lt': 5}}, or times, as in "
        "{'gte': '2024-05-01'}."
    )


def _instant(key: str, bound: str, time: str) -> tuple[str, float]:
    """A bound in seconds. A year, month or day is a stretch of time: up to 2024 means up to its end."""
    first, last = _stretch(time)
    start_s = timestamp_s(first)
    if start_s is None:
        raise QueryError(f"`{time}` as a bound of `{key}` is neither a number nor a time such as 2024-05-01T12:30:00.")
    if last and bound in ("lte", "gt"):
        return {"lte": "lt", "gt": "gte"}[bound], timestamp_s(last) or start_s
    return bound, start_s


def _stretch(time: str) -> tuple[str, str]:
    """First moment of a year, month or day, and the first after it; of an exact time itself and nothing."""
    period = _PERIOD.fullmatch(time.strip())
    if period:
        year, month = int(period[1]), int(period[2] or 1)
        after = (year + 1, 1) if period[2] is None or month == 12 else (year, month + 1)
        return f"{year:04}-{month:02}-01", f"{after[0]:04}-{after[1]:02}-01"
    if len(time.strip()) == len("2024-05-01") and (start_s := timestamp_s(time)) is not None:
        day = datetime.fromtimestamp(start_s, UTC)
        return time, (day + timedelta(days=1)).isoformat()
    return time, ""


def _near(condition: object) -> Near:
    given: Mapping[Any, Any] = condition if isinstance(condition, Mapping) else {}
    if set(given) != _PLACE or not all(map(_is_number, given.values())):
        raise QueryError("`near` takes a place in degrees and a distance: {'lat': 48.86, 'lon': 2.35, 'km': 5}.")
    lat, lon, km = (float(given[name]) for name in ("lat", "lon", "km"))
    near = Near(lat, lon, km)
    if abs(near.lat) > 90 or abs(near.lon) > 180 or near.km <= 0:
        raise QueryError(f"{near.lat}, {near.lon} within {near.km} km is no place on Earth: lat ±90, lon ±180, km > 0.")
    return near


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
