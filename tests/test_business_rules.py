"""Business rules: what is hidden, what comes earlier, and what a hit says of it."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from rag.answering.query_engine import QueryEngine
from rag.catalog.catalog import Catalog
from rag.config import Settings
from rag.errors import SettingsError
from rag.explanation import Explanation
from rag.index.edge import EdgeIndex
from rag.query.filters import matches, parse_filter
from rag.query.options import QueryOptions
from rag.retrieval.business_rules import apply_rules, exclude_hidden, parse_rules
from rag.retrieval.retriever import Retriever
from rag.segments import to_payload
from rag.types import Filter
from tests.contracts.index import FILTERED, FILTERS
from tests.fakes.hits import passage, picture
from tests.fakes.segments import DUAL, TEXT, indexed, photo

IN_STOCK = {"where": {"stock": {"gte": 1}}, "boost": 3, "name": "in stock"}
HIDDEN = {"where": {"discontinued": True}, "hide": True}


def product(name: str, score: float, **meta):
    hit = picture(name, "chair")
    return replace(hit, why=replace(hit.why, score=score), segment=replace(hit.segment, meta=meta))


def test_a_boosted_product_comes_earlier_and_says_why():
    hits = [product("a.jpg", 0.6, stock=0), product("b.jpg", 0.5, stock=4), product("c.jpg", 0.1, stock=9)]
    found = apply_rules(hits, parse_rules([IN_STOCK]))
    assert [hit.segment.title for hit in found] == ["b.jpg", "a.jpg", "c.jpg"]
    assert found[0].score == pytest.approx(0.75)
    assert found[0].why.rules == ("in stock ×3",)
    assert "rule: in stock ×3" in str(found[0].why)
    assert found[1].why.rules == ()
    assert found[1].score == pytest.approx(0.6)


def test_boosts_multiply_and_scores_stay_scores():
    strong = {"where": {"stock": {"gte": 1}}, "boost": 1000}
    (hit,) = apply_rules([product("a.jpg", 0.999, stock=1)], parse_rules([IN_STOCK, strong]))
    assert 0.999 < hit.score <= 1
    (hit,) = apply_rules([product("a.jpg", 1.0, stock=1)], parse_rules([{"where": {"stock": 1}, "boost": 0.5}]))
    assert hit.score == 1


def test_a_moment_meets_a_rule_where_a_part_does():
    frame = product("film.mp4", 0.5, stock=2)
    (moment,) = apply_rules([replace(passage("", 1), why=Explanation(0.5), parts=(frame,))], parse_rules([IN_STOCK]))
    assert moment.why.rules == ("in stock ×3",)


def test_hidden_segments_are_excluded():
    assert exclude_hidden({"page": 1}, parse_rules([HIDDEN])) == {"and": [{"page": 1}, {"not": {"discontinued": True}}]}
    assert exclude_hidden({"page": 1}, parse_rules([IN_STOCK])) == {"page": 1}


@pytest.mark.parametrize(
    ("rule", "match"),
    [
        ({"boost": 2}, "`where`"),
        ({"where": {}, "boost": 2}, "`where`"),
        ({"where": {"stock": 1}, "bost": 2}, "`where`"),
        ({"where": {"stock": 1}}, "hide.*boost|boost.*hide"),
        ({"where": {"stock": 1}, "boost": 2, "hide": True}, "hide.*boost|boost.*hide"),
        ({"where": {"stock": 1}, "boost": 0}, r"0\.001 .*1000"),
        ({"where": {"stock": 1}, "boost": "2"}, r"0\.001 .*1000"),
        ({"where": {"stock": {"above": 1}}, "boost": 2}, "gt, gte, lt, lte"),
    ],
)
def test_a_malformed_rule_is_named(rule, match):
    with pytest.raises(SettingsError, match=match):
        parse_rules([rule])


@pytest.fixture
def retriever(tmp_path: Path) -> Iterator[Retriever]:
    with EdgeIndex(tmp_path, {"joint": DUAL.card, "text": TEXT.card}) as index:
        for colour, meta in (("red", {"discontinued": True}), ("blue", {"stock": 0}), ("yellow", {"stock": 5})):
            segment = photo(f"{colour}.jpg")
            index.upsert([indexed(replace(segment, meta={**segment.meta, **meta}), colour)])
        yield Retriever(index, TEXT, DUAL)


def test_a_search_follows_the_rules(retriever):
    def search(words: str, *ranking, top_k: int = 9):
        return QueryEngine(Settings(), retriever, Catalog("sqlite://"), rules=parse_rules(ranking)).search(
            words, QueryOptions(top_k=top_k)
        )

    assert {hit.segment.title for hit in search("red")} == {"red.jpg", "blue.jpg", "yellow.jpg"}
    assert {hit.segment.title for hit in search("red", HIDDEN)} == {"blue.jpg", "yellow.jpg"}
    for stock, title in ((0, "blue.jpg"), (5, "yellow.jpg")):
        (first,) = search("blue yellow", {"where": {"stock": stock}, "boost": 1000}, top_k=1)
        assert first.segment.title == title
        assert first.why.rules == ("stock ×1000",)


@pytest.mark.parametrize(("given", "expected"), FILTERS)
def test_conditions_hold_for_what_the_stores_admit(given: Filter, expected: list[int]):
    assert [n for n, one in enumerate(FILTERED) if matches(parse_filter(given), to_payload(one))] == expected
