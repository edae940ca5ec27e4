"""Verdicts in words and signs: which marker has which, and what is marked in the evidence."""

from __future__ import annotations

import pytest

from rag.answering.citations import cite
from rag.explanation import Explanation
from rag.presentation import verdicts
from rag.presentation.json_values import jsonable
from rag.types import (
    Answer,
    Box,
    CharSpan,
    Citation,
    Evidence,
    FrameRegion,
    Hit,
    ImageRegion,
    PageBox,
    Segment,
    TimeSpan,
    Verdict,
)

SAID = Verdict("supported", quote="It was late.", support=0.93, locator=TimeSpan(13.2, 15.8))
HIT = Hit(Segment("a", 0, "text", "passage", CharSpan(0, 9), title="a.txt"), Explanation(0.5))


def answer(text: str, *names: Verdict, **more: object) -> Answer:
    """Return an answer whose statements have these verdicts, in their order."""
    cited = cite(text, 3).citations
    spans = tuple(Citation(c.number, c.start, c.end, v) for c, v in zip(cited, names, strict=True))
    return Answer("Which?", text, spans, tuple(Evidence(n, HIT) for n in (1, 2, 3)), **more)  # type: ignore[arg-type]


def test_every_verdict_but_supported_has_a_sign_of_its_own_and_words() -> None:
    assert verdicts.doubt(SAID) is None
    others = [verdicts.doubt(Verdict(name, "because")) for name in verdicts.SIGNS if name != "supported"]  # type: ignore[arg-type]
    assert len({each.sign for each in others if each}) == len({each.words for each in others if each}) == 4
    assert all(each and each.sign and each.words.endswith(": because") for each in others)


def test_words_are_one_short_line() -> None:
    assert verdicts.describe(Verdict()) == "Not checked"
    assert verdicts.describe(SAID) == "Supported: “It was late.”"
    long = verdicts.describe(Verdict("unchecked", "a\nb\x1b " * 400))
    assert "\n" not in long
    assert len(long) < 350


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("It rains [E1]. It snows [E1].", 2),
        ("It rains [E1] and snows [E1] there.", 2),
        ("[E1] It rains. [E1] It snows.", 2),
        ("- It rains. [E1]\n- It snows. [E1]", 2),
    ],
)
def test_each_marker_has_the_verdict_of_its_statement(text: str, count: int) -> None:
    found = answer(text, SAID, Verdict("unchecked", "No words."))
    assert text.count("[E1]") == count
    (marked,) = verdicts.marked_doubts(found)
    assert marked.doubt.words == "Not checked: No words."
    assert marked.end == text.rindex("[E1]") + 4
    assert verdicts.with_doubts(found).count("(not checked)") == 1


def test_doubts_about_evidence_are_named_once() -> None:
    found = answer("A [E1]. B [E1]. C [E1]. D [E2].", Verdict(), Verdict(), SAID, Verdict("unsupported"))
    assert [each.name for each in verdicts.doubts_about(found, 1)] == ["unchecked"]
    assert verdicts.narrowed(found, 1) == SAID
    assert verdicts.narrowed(found, 3) == Verdict()


@pytest.mark.parametrize(
    ("place", "narrower", "expected"),
    [
        (PageBox(3), PageBox(3, Box(0.1, 0.1, 0.2, 0.2)), True),
        (PageBox(3), PageBox(4, Box(0.1, 0.1, 0.2, 0.2)), False),
        (ImageRegion(), ImageRegion(Box(0.1, 0.1, 0.2, 0.2)), True),
        (FrameRegion(3.0), FrameRegion(3.5), True),
        (FrameRegion(3.0), TimeSpan(3.0, 4.0), False),
        (PageBox(3), None, False),
    ],
)
def test_only_a_place_of_the_same_kind_is_marked_instead(place, narrower, expected) -> None:  # type: ignore[no-untyped-def]
    assert (verdicts.visible_place(place, narrower) == narrower) is expected


def test_seconds_outside_the_evidence_are_not_played() -> None:
    span = TimeSpan(10.0, 20.0)
    assert verdicts.audible_span(span, TimeSpan(13.0, 15.0)) == TimeSpan(13.0, 15.0)
    for other in (TimeSpan(5.0, 12.0), TimeSpan(15.0, 15.0), TimeSpan(19.0, 21.0), PageBox(1), None):
        assert verdicts.audible_span(span, other) == span


def test_what_is_left_open_is_said() -> None:
    assert verdicts.left_open(answer("A [E1].", SAID)) == ""
    assert verdicts.left_open(answer("A [E1].", SAID, open_parts=("the height", "the\nyear"))) == (
        "Left open: the height; the year"
    )


def test_a_verdict_as_json() -> None:
    found = answer("A [E1].", SAID, open_parts=("the year",))
    assert jsonable(found)["open_parts"] == ["the year"]
    assert jsonable(found)["citations"] == [
        {
            "exhibit": 1,
            "start": 0,
            "end": found.citations[0].end,
            "verdict": {
                "name": "supported",
                "reason": "",
                "support": 0.93,
                "locator": "#t=13.200,15.800",
                "quote": "It was late.",
            },
        }
    ]
    assert jsonable(Verdict())["locator"] is None
