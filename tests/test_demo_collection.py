"""The demo's collection: small, credited, and holding what its questions ask for, in the place that they expect."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import av
import pytest
from PIL import Image

from rag import KnowledgeBase, media
from rag.demo import HERE, questions
from rag.types import ImageRegion
from tests.fakes.demo import matches

COLLECTION = HERE / "collection"
FILES = sorted(path.name for path in COLLECTION.iterdir())
ANSWERABLE = [row for row in questions() if row["expect"]]


def test_it_is_small_and_has_every_medium() -> None:
    assert sum((COLLECTION / name).stat().st_size for name in FILES) < 3_000_000
    assert {Path(name).suffix for name in FILES} == {".pdf", ".jpg", ".m4a", ".mp4", ".md"}
    assert 6 <= sum(name.endswith(".jpg") for name in FILES) <= 10


@pytest.mark.parametrize("name", FILES)
def test_every_file_is_credited(name: str) -> None:
    credits = (HERE / "CREDITS.md").read_text(encoding="utf-8")
    (row,) = [line for line in credits.splitlines() if line.startswith(f"| `{name}` |")]
    assert re.search(r"CC BY|CC0|public domain|Apache-2.0", row)


@pytest.mark.parametrize("name", [name for name in FILES if name.endswith(".jpg")])
def test_a_photo_carries_its_credit_and_no_name_that_tells(name: str) -> None:
    assert re.fullmatch(r"photo-\d\d\.jpg", name)
    with Image.open(COLLECTION / name) as photo:
        exif = photo.getexif()
        assert exif[0x013B]
        assert exif[0x8298]
        assert 0x010E not in exif  # a description would give the answer away


def test_a_photo_that_is_stored_on_its_side_is_opened_upright() -> None:
    with Image.open(COLLECTION / "photo-03.jpg") as stored:
        assert stored.height > stored.width
    shown = media.open_picture(COLLECTION / "photo-03.jpg", ImageRegion())
    assert shown.width > shown.height


def test_the_recordings_are_short() -> None:
    for name, shortest_s, longest_s in (("audio-guide.m4a", 30, 90), ("film.mp4", 20, 60)):
        with av.open(str(COLLECTION / name)) as container:
            assert shortest_s <= (container.duration or 0) / 1e6 <= longest_s


def test_the_questions_need_every_medium_and_one_has_no_answer() -> None:
    kinds = [place["kind"] for row in ANSWERABLE for place in row["expect"]]
    assert set(kinds) == {"passage", "picture", "speech", "frame"}
    assert {Path(place["file"]).suffix for row in ANSWERABLE for place in row["expect"]} == {
        ".pdf",
        ".jpg",
        ".m4a",
        ".mp4",
    }
    assert len([row for row in questions() if not row["expect"]]) == 1
    assert all(set(row) == {"question", "needs", "answer", "expect", "phrase"} for row in questions())


@pytest.mark.parametrize("row", ANSWERABLE, ids=[row["needs"] for row in ANSWERABLE])
def test_a_search_finds_the_place_with_the_answer(demo_base: KnowledgeBase, row: dict[str, Any]) -> None:
    hits = demo_base.search(row["question"], top_k=8)
    right = [hit for hit in hits if any(matches(hit, place) for place in row["expect"])]
    assert right, [(hit.path, hit.segment.locator) for hit in hits]
    said = " ".join([right[0].segment.searchable_text, *right[0].segment.tags])
    assert row["phrase"].lower() in said.lower()


def test_the_unanswerable_question_has_no_answer_anywhere(demo_base: KnowledgeBase) -> None:
    (asked,) = [row["question"] for row in questions() if not row["expect"]]
    hits = demo_base.search(asked, top_k=100)
    assert not [hit for hit in hits if re.search(r"\b(kg|kilo|pound|weigh)", hit.segment.searchable_text, re.I)]
