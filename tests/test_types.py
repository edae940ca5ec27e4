from __future__ import annotations

from dataclasses import FrozenInstanceError, replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag.errors import QueryError
from rag.explanation import Explanation
from rag.types import (
    Answer,
    Box,
    Citation,
    Evidence,
    FileResult,
    Filter,
    FrameRegion,
    Hit,
    IngestReport,
    PageBox,
    Segment,
    Source,
    TimeSpan,
    Verdict,
)

PASSAGE = Segment("a", 0, "text", "passage", PageBox(2), text="read", caption="said")


@given(st.floats(allow_nan=False), st.floats(allow_nan=False))
def test_boxes_lie_within_the_picture(x: float, y: float) -> None:
    box = Box(x, y, 0.5, 0.5)
    assert 0 <= box.x <= 1
    assert 0 <= box.y <= 1


def test_places_are_rounded_so_that_equal_places_are_equal() -> None:
    assert Box(0.33333, 0, 1, 1) == Box(0.33334, 0, 1, 1)
    assert TimeSpan(1.00001, 2) == TimeSpan(1, 2)
    assert FrameRegion(1.23456) == FrameRegion(1.235)


def test_values_are_frozen() -> None:
    with pytest.raises(FrozenInstanceError):
        PASSAGE.text = "other"  # type: ignore[misc]


def test_searchable_text_is_the_caption_and_what_is_read_or_heard_and_never_a_tag() -> None:
    assert PASSAGE.searchable_text == "said\nread"
    assert replace(PASSAGE, caption="").searchable_text == "read"
    assert replace(PASSAGE, text="", caption="").tagged(("dog",)).searchable_text == ""
    assert PASSAGE.tagged(("dog",)).tags == ("dog",)


def test_the_same_content_is_the_same_asset_under_any_name() -> None:
    first = Source(Path("/a/one.txt"), "f" * 64, 3, "text/plain", "document")
    copy = replace(first, path=Path("/b/two.txt"), mtime_ns=5)
    assert first.asset_id == copy.asset_id == "31e6609a-44a0-588b-8333-5ef9c6451570"
    assert replace(first, sha256="e" * 64).asset_id != first.asset_id
    assert copy.title == "two.txt"


def test_an_answer_knows_what_it_cites() -> None:
    evidence = tuple(Evidence(number, Hit(PASSAGE, Explanation(1.0))) for number in (1, 2, 3))
    answer = Answer("q", "a [E3] b [E1]", (Citation(3, 0, 1), Citation(1, 7, 8), Citation(1, 0, 1)), evidence)
    assert [evidence.number for evidence in answer.cited] == [1, 3]
    assert (evidence[0].segment, evidence[0].locator) == (PASSAGE, PageBox(2))
    assert "Its file is not known any more" in answer.render()


def test_an_answer_knows_what_was_not_checked() -> None:
    citations = (Citation(1, 0, 1, Verdict("supported")), Citation(2, 4, 5), Citation(3, 6, 7, Verdict("unsupported")))
    assert Answer("q", "a [E1] b [E2]", citations).unchecked == citations[1:2]


def test_a_report_counts_its_results() -> None:
    results = (FileResult("a", "indexed", 3), FileResult("b", "failed", reason="damaged"), FileResult("c", "indexed"))
    report = IngestReport(results, 1.0)
    assert list(report) == list(results)
    assert report.counts == {"indexed": 2, "failed": 1}
    assert report.failed == (results[1],)


def test_filters_refuse_what_is_no_medium() -> None:
    with pytest.raises(QueryError, match=r"sound.* text, image, audio, video"):
        Filter(modalities=frozenset({"sound"}))  # type: ignore[arg-type]
    assert Filter(where={"page": {"gte": 1, "lt": 5}}) == Filter(where={"page": {"gte": 1, "lt": 5}})
