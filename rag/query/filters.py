"""The language of metadata filters, parsed once for both stores; pure functions over plain values.

=================================================  =========================================================
``{"page": 3}``, ``{"title": ["a.pdf", "b.pdf"]}``  a value; one of some values
``{"tags": {"any": ["cat", "dog"]}}``              the same, written out
``{"page": {"gte": 1, "lt": 5}}``                  a range of numbers
``{"taken": {"gte": "2024-05", "lte": "2024"}}``   a range of times, ISO 8601; stored in seconds as ``taken_s``
``{"near": {"lat": 48.86, "lon": 2.35, "km": 5}}``  taken within a distance of a place
``{"and": [a, b]}``, ``{"or": [a, b]}``, ``{"not": a}``  combined filters, nested up to 16 deep
=================================================  =========================================================

All conditions of one mapping must hold. A time without a zone is read as UTC, in filters as in stored fields, so that
the local times of cameras compare as written.
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
_MAX_DEPTH = 16
_EARTH_KM = 6371.0
_YEAR_OR_MONTH = re.compile(r"(\d{4})(?:-(\d{2}))?")


@dataclass(frozen=True, slots=True)
class Near:
    """A distance in kilometres from a place in degrees."""

    lat: float
    lon: float
    km: float


@dataclass(frozen=True, slots=True)
class Clause:
    """A condition on a field: one of these values, in one of these ranges, or near a place."""

    key: str
    texts: tuple[str, ...] = ()
    flags: tuple[bool, ...] = ()
    ranges: tuple[Mapping[str, float], ...] = ()
    near: Near | None = None


@dataclass(frozen=True, slots=True)
class Group:
    """Conditions, of which all, any or none must hold."""

    how: Literal["and", "or", "not"]
    members: tuple[Clause | Group, ...]


def parse_filter(scope: Filter) -> Group:
    """Parse a filter into conditions, all of which must hold.

    Raises:
        QueryError: the name or the value of a field cannot be filtered on.
    """
    members = _parse_group(scope.where, 0).members
    modalities = (Clause("modality", texts=tuple(sorted(scope.modalities))),) if scope.modalities else ()
    assets = (Clause("asset_id", texts=tuple(sorted(scope.asset_ids))),) if scope.asset_ids else ()
    return Group("and", (*members, *modalities, *assets))


def matches(group: Group, payload: Mapping[str, Any]) -> bool:
    """Return whether a segment's payload meets the conditions, by the same rules as in the stores."""
    met = (matches(one, payload) if isinstance(one, Group) else _meets(one, payload) for one in group.members)
    if group.how == "or":
        return any(met)
    return not any(met) if group.how == "not" else all(met)


def field_names(where: Where) -> frozenset[str]:
    """Return the fields that a filter names, at any depth; of a malformed filter as many as can be read."""
    found: set[str] = set()
    for key, condition in where.items():
        nested = condition if isinstance(condition, (list, tuple)) else [condition]
        if key in ("and", "or", "not"):
            found.update(*(field_names(inner) for inner in nested if isinstance(inner, Mapping)))
        else:
            found.add(key)
    return frozenset(found)


def timestamp_s(time: str) -> float | None:
    """Return the seconds since 1970 of an ISO 8601 time, in UTC unless it names a zone; None if it is not a time."""
    try:
        moment = datetime.fromisoformat(time.strip())
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None


def _meets(clause: Clause, payload: Mapping[str, Any]) -> bool:
    value = payload.get(clause.key)
    if clause.near is not None:
        return isinstance(value, Mapping) and _distance_km(clause.near, value["lat"], value["lon"]) <= clause.near.km
    return any(_fits(clause, one) for one in (value if isinstance(value, (list, tuple)) else [value]))


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
    """Return the distance along a great circle, by the haversine formula."""
    a, b = math.radians(near.lat), math.radians(lat)
    half = math.sin((b - a) / 2) ** 2 + math.cos(a) * math.cos(b) * math.sin(math.radians(lon - near.lon) / 2) ** 2
    return 2 * _EARTH_KM * math.asin(min(1.0, math.sqrt(half)))


def _parse_group(where: object, depth: int) -> Group:
    if not isinstance(where, Mapping):
        raise QueryError(f"A filter must be a mapping such as {{'page': 3}}: {where!r}.")
    if depth > _MAX_DEPTH:
        raise QueryError(f"The filter is nested too deeply (limit {_MAX_DEPTH}).")
    return Group("and", tuple(_parse_member(key, condition, depth) for key, condition in where.items()))


def _parse_member(key: object, condition: Any, depth: int) -> Clause | Group:
    if key == "not":
        return Group("not", (_parse_group(condition, depth + 1),))
    if key == "and" or key == "or":
        if not isinstance(condition, (list, tuple)) or not condition:
            raise QueryError(f"`{key}` takes a list of filters, as in {{'{key}': [{{'page': 3}}, {{'page': 5}}]}}.")
        return Group(key, tuple(_parse_group(inner, depth + 1) for inner in condition))
    if key == "near":
        return Clause("geo", near=_parse_near(condition))
    return _parse_clause(key, condition)


def _parse_clause(key: object, condition: object) -> Clause:
    if not isinstance(key, str) or not _KEY.fullmatch(key):
        raise QueryError(f"Cannot filter on `{key}`. Fields have plain names such as page, title or start_s.")
    if isinstance(condition, Mapping) and set(condition) == {"any"}:
        condition = condition["any"]
        if not isinstance(condition, (list, tuple)):
            raise QueryError(f"`any` of `{key}` takes a list of values.")
    if isinstance(condition, Mapping):
        return _parse_range(key, condition)
    values = list(condition) if isinstance(condition, (list, tuple)) else [condition]
    if not values or not all(isinstance(value, (str, bool)) or _is_number(value) for value in values):
        raise QueryError(f"Filter on `{key}` takes a string, number or boolean, a list of them, or a range.")
    # A number is searched as a range, so that 3 finds 3.0 and vice versa.
    numbers = [float(value) for value in values if _is_number(value)]
    return Clause(
        key,
        texts=tuple(value for value in values if isinstance(value, str)),
        flags=tuple(value for value in values if isinstance(value, bool)),
        ranges=tuple({"gte": number, "lte": number} for number in numbers),
    )


def _parse_range(key: str, bounds: Mapping[str, Any]) -> Clause:
    if not bounds or not set(bounds) <= _BOUNDS:
        raise QueryError(f"A range on `{key}` takes gt, gte, lt, lte, not {sorted(map(str, bounds))}.")
    if all(_is_number(bound) for bound in bounds.values()):
        return Clause(key, ranges=(dict(bounds),))
    if all(isinstance(bound, str) for bound in bounds.values()):
        return Clause(f"{key}_s", ranges=(dict(_parse_bound(key, name, time) for name, time in bounds.items()),))
    raise QueryError(
        f"The bounds of a range on `{key}` must be numbers, as in {{'gte': 1, 'lt': 5}}, or times, as in "
        "{'gte': '2024-05-01'}."
    )


def _parse_bound(key: str, bound: str, time: str) -> tuple[str, float]:
    """Return a bound in seconds. A year, month or day is a period: up to 2024 means up to its end."""
    first, last = _period(time)
    start_s = timestamp_s(first)
    if start_s is None:
        raise QueryError(f"Bound `{time}` of `{key}` is neither a number nor a time such as 2024-05-01T12:30:00.")
    if last and bound in ("lte", "gt"):
        return {"lte": "lt", "gt": "gte"}[bound], timestamp_s(last) or start_s
    return bound, start_s


def _period(time: str) -> tuple[str, str]:
    """Return the first moment of a year, month or day and the first after it; for an exact time itself and nothing."""
    period = _YEAR_OR_MONTH.fullmatch(time.strip())
    if period:
        year, month = int(period[1]), int(period[2] or 1)
        after = (year + 1, 1) if period[2] is None or month == 12 else (year, month + 1)
        return f"{year:04}-{month:02}-01", f"{after[0]:04}-{after[1]:02}-01"
    if len(time.strip()) == len("2024-05-01") and (start_s := timestamp_s(time)) is not None:
        day = datetime.fromtimestamp(start_s, UTC)
        return time, (day + timedelta(days=1)).isoformat()
    return time, ""


def _parse_near(condition: object) -> Near:
    place: Mapping[Any, Any] = condition if isinstance(condition, Mapping) else {}
    if set(place) != _PLACE or not all(map(_is_number, place.values())):
        raise QueryError("`near` takes a place in degrees and a distance: {'lat': 48.86, 'lon': 2.35, 'km': 5}.")
    lat, lon, km = (float(place[name]) for name in ("lat", "lon", "km"))
    near = Near(lat, lon, km)
    if abs(near.lat) > 90 or abs(near.lon) > 180 or near.km <= 0:
        raise QueryError(
            f"`near` needs lat within ±90, lon within ±180 and km above 0: {near.lat}, {near.lon}, {near.km}."
        )
    return near


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
