from __future__ import annotations

import json
import re
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag.errors import QueryError
from rag.segments import from_fragment, from_payload, place, segment_id, to_fragment, to_payload
from rag.types import (
    Box,
    CharSpan,
    FrameRegion,
    ImageRegion,
    Kind,
    Locator,
    Modality,
    PageBox,
    Segment,
    TimeSpan,
    Word,
)

ASSET = str(uuid.UUID(int=7))
FRACTIONS = st.floats(0, 1)
SECONDS = st.floats(0, 1e6)
BOXES = st.none() | st.builds(Box, FRACTIONS, FRACTIONS, FRACTIONS, FRACTIONS)
LOCATORS: st.SearchStrategy[Locator] = st.one_of(
    st.builds(CharSpan, st.integers(0, 10**9), st.integers(0, 10**9)),
    st.builds(PageBox, st.integers(1, 10**6), BOXES),
    st.builds(ImageRegion, BOXES),
    st.builds(TimeSpan, SECONDS, SECONDS),
    st.builds(FrameRegion, SECONDS, BOXES),
)
WORDS = st.builds(Word, st.text(max_size=9), SECONDS, SECONDS, FRACTIONS)
META = st.dictionaries(
    st.sampled_from(["page", "language", "confidence", "checked"]),
    st.text(max_size=9) | st.integers(-(2**53), 2**53) | FRACTIONS | st.booleans(),
)
MODALITIES: list[Modality] = ["text", "image", "audio", "video"]
KINDS: list[Kind] = ["passage", "figure", "picture", "speech", "sound", "frame"]
SEGMENTS = st.builds(
    Segment,
    asset_id=st.just(ASSET),
    ordinal=st.integers(0, 10**6),
    modality=st.sampled_from(MODALITIES),
    kind=st.sampled_from(KINDS),
    locator=LOCATORS,
    text=st.text(max_size=50),
    caption=st.text(max_size=50),
    tags=st.lists(st.text(max_size=9), max_size=3).map(tuple),
    title=st.text(max_size=9),
    words=st.lists(WORDS, max_size=3).map(tuple),
    meta=META,
)


@given(LOCATORS)
def test_a_locator_comes_back_from_its_fragment(locator: Locator) -> None:
    assert from_fragment(to_fragment(locator)) == locator


@given(SEGMENTS)
def test_a_segment_comes_back_from_its_payload_as_json(segment: Segment) -> None:
    assert from_payload(json.loads(json.dumps(to_payload(segment)))) == segment


@pytest.mark.parametrize(
    ("locator", "fragment"),
    [
        (CharSpan(100, 240), "char=100,240"),
        (PageBox(3), "page=3"),
        (PageBox(3, Box(0.1, 0.2, 0.3, 0.4)), "page=3&xywh=percent:10.00,20.00,30.00,40.00"),
        (ImageRegion(), ""),
        (ImageRegion(Box(0, 0, 1, 0.5)), "xywh=percent:0.00,0.00,100.00,50.00"),
        (TimeSpan(12.4, 19), "t=12.400,19.000"),
        (FrameRegion(1.5), "t=1.500"),
        (FrameRegion(1.5, Box(0.25, 0.25, 0.5, 0.5)), "t=1.500&xywh=percent:25.00,25.00,50.00,50.00"),
    ],
)
def test_fragments_are_those_of_the_standards(locator: Locator, fragment: str) -> None:
    assert to_fragment(locator) == fragment
    assert from_fragment(fragment) == locator


@pytest.mark.parametrize(
    "fragment", ["page", "page=x", "t=", "t=a,b", "xywh=percent:1,2,3", "char=1", "char=1,2,3", "nothing=1", "&", "="]
)
def test_a_malformed_fragment_is_a_query_error(fragment: str) -> None:
    with pytest.raises(QueryError, match=re.escape(fragment)):
        from_fragment(fragment)


@given(SEGMENTS)
def test_the_id_is_a_uuid_of_asset_ordinal_kind_and_place_alone(segment: Segment) -> None:
    bare = Segment(segment.asset_id, segment.ordinal, segment.modality, segment.kind, segment.locator)
    assert segment_id(bare) == segment_id(segment) == str(uuid.UUID(segment_id(segment)))


def test_the_id_differs_by_each_of_them() -> None:
    base = Segment(ASSET, 0, "text", "passage", PageBox(1))
    others = [
        Segment(str(uuid.UUID(int=8)), 0, "text", "passage", PageBox(1)),
        Segment(ASSET, 1, "text", "passage", PageBox(1)),
        Segment(ASSET, 0, "text", "figure", PageBox(1)),
        Segment(ASSET, 0, "text", "passage", PageBox(2)),
    ]
    assert len({segment_id(segment) for segment in (base, *others)}) == 5
    assert segment_id(base) == "3cfeb06c-669b-5cb2-a18a-c5cc93ee8013"  # stored collections rest on it


@pytest.mark.parametrize(
    ("locator", "words"),
    [
        (CharSpan(100, 240), "characters 100–240"),
        (PageBox(3, Box(0, 0, 1, 1)), "page 3"),
        (ImageRegion(), ""),
        (ImageRegion(Box(0, 0, 1, 0.5)), "part of the picture"),
        (TimeSpan(12.4, 71), "0:12–1:11"),
        (FrameRegion(3661.5), "frame at 1:01:01"),
    ],
)
def test_places_in_words(locator: Locator, words: str) -> None:
    assert place(Segment(ASSET, 0, "text", "passage", locator)) == words


def test_metadata_may_not_take_the_names_of_fields() -> None:
    with pytest.raises(ValueError, match=r"'text'.*'words'"):
        to_payload(Segment(ASSET, 0, "text", "passage", PageBox(1), meta={"text": "x", "words": 1, "page": 2}))
