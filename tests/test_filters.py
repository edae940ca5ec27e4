"""The language of metadata filters; what the stores do with it is in `tests/test_index.py`."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag.errors import QueryError
from rag.query.filters import Clause, Group, Near, field_names, parse_filter, timestamp_s
from rag.types import Filter

DAY_S = 86400.0
MAY = 1714521600.0  # 2024-05-01T00:00 UTC


def read(where: dict[str, object]) -> tuple[Clause | Group, ...]:
    return parse_filter(Filter(where=where)).members


def test_values_lists_and_ranges() -> None:
    assert read({"title": "a"}) == (Clause("title", texts=("a",)),)
    assert read({"page": [1, "two", True]}) == (
        Clause("page", texts=("two",), flags=(True,), ranges=({"gte": 1.0, "lte": 1.0},)),
    )
    assert read({"tags": {"any": ["a", "b"]}}) == read({"tags": ["a", "b"]})
    assert read({"page": {"gte": 1, "lt": 5}}) == (Clause("page", ranges=({"gte": 1, "lt": 5},)),)


def test_conditions_side_by_side_must_all_hold() -> None:
    admitted = Filter(frozenset({"image"}), frozenset({"x"}), {"or": [{"page": 1}, {"not": {"title": "a"}}]})
    page, title = Clause("page", ranges=({"gte": 1.0, "lte": 1.0},)), Clause("title", texts=("a",))
    either = Group("or", (Group("and", (page,)), Group("and", (Group("not", (Group("and", (title,)),)),))))
    expected = (either, Clause("modality", texts=("image",)), Clause("asset_id", texts=("x",)))
    assert parse_filter(admitted) == Group("and", expected)


@pytest.mark.parametrize(
    ("bounds", "expected"),
    [
        ({"gte": "2024-05-01", "lt": "2024-05-02"}, {"gte": MAY, "lt": MAY + DAY_S}),
        ({"lte": "2024-05-01"}, {"lt": MAY + DAY_S}),  # up to its end
        ({"gt": "2024-05-01"}, {"gte": MAY + DAY_S}),
        ({"gte": "2024-05", "lte": "2024-05"}, {"gte": MAY, "lt": MAY + 31 * DAY_S}),
        ({"gt": "2023"}, {"gte": MAY - 121 * DAY_S}),
        ({"lte": "2024-05-01T00:00:00"}, {"lte": MAY}),
        ({"gte": "2024-05-01T02:00:00+02:00"}, {"gte": MAY}),
    ],
)
def test_times_are_ranges_of_seconds(bounds: dict[str, str], expected: dict[str, float]) -> None:
    assert read({"taken": bounds}) == (Clause("taken_s", ranges=(expected,)),)


def test_near_a_place() -> None:
    assert read({"near": {"lat": 48.86, "lon": 2, "km": 5}}) == (Clause("geo", near=Near(48.86, 2.0, 5.0)),)


@pytest.mark.parametrize("time", ["", "soon", "2024-13", "2024-02-30", "99999-01-01", "0000"])
def test_an_invalid_time_is_named(time: str) -> None:
    with pytest.raises(QueryError, match=re.escape(time) or None):
        read({"taken": {"gte": time}})
    assert timestamp_s(time) is None or time == "0000"


KEYS = st.sampled_from(["and", "or", "not", "near", "page", "any", "gte", ""])
LEAVES = st.none() | st.booleans() | st.floats() | st.text(max_size=5)
ANYTHING = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3), max_leaves=12
)


@given(ANYTHING)
def test_anything_is_a_filter_or_a_query_error(where: object) -> None:
    try:
        read(where)  # type: ignore[arg-type]
    except QueryError:
        return
    assert all(name for name in field_names(where))  # type: ignore[arg-type]


def test_names_at_any_depth() -> None:
    assert field_names({"or": [{"kind": "frame"}, {"not": {"and": [{"page": 1}]}}], "title": "a"}) == {
        "kind",
        "page",
        "title",
    }
    assert field_names({"kind": {"any": ["frame"]}}) == {"kind"}
