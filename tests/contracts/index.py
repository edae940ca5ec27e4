"""The contract of a segment index, and the segments that each filter admits."""

from __future__ import annotations

import math
import threading
import uuid
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from rag.encoders.base import ModelCard
from rag.errors import ModelError, QueryError
from rag.index import ChannelQuery, IndexedSegment, SegmentIndex
from rag.segments import segment_id
from rag.types import CharSpan, Filter, FrameRegion, ImageRegion, PageBox, Segment, TimeSpan, Word

DIMENSIONS = 8
CARDS = {
    "joint": ModelCard(name="dual", space="one", dimensions=DIMENSIONS, revision="r1", licence="CC0-1.0"),
    "text": ModelCard(name="words", space="one", dimensions=DIMENSIONS, revision="r1", licence="CC0-1.0"),
    "sound": ModelCard(name="ears", space="two", dimensions=DIMENSIONS, revision="r1", licence="CC0-1.0"),
}


A, B = str(uuid.UUID(int=1)), str(uuid.UUID(int=2))


def axis(number: int) -> NDArray[np.float32]:
    return np.eye(DIMENSIONS, dtype=np.float32)[number]


def towards(first: int, second: int, cosine: float) -> NDArray[np.float32]:
    return (cosine * axis(first) + math.sqrt(1 - cosine**2) * axis(second)).astype(np.float32)


def passage(ordinal: int, text: str, asset_id: str = A, **meta: str | int | float | bool) -> Segment:
    return Segment(asset_id, ordinal, "text", "passage", PageBox(ordinal + 1), text=text, meta={"page": 1, **meta})


def picture(ordinal: int, caption: str = "", asset_id: str = B) -> Segment:
    return Segment(asset_id, ordinal, "image", "picture", ImageRegion(), caption=caption, tags=("dog",), title="p.jpg")


def speech(ordinal: int, text: str) -> Segment:
    words = tuple(Word(word, float(n), n + 0.5, 0.9) for n, word in enumerate(text.split()))
    return Segment(A, ordinal, "audio", "speech", TimeSpan(0, 9.5), text=text, words=words)


def nested(depth: int) -> dict[str, object]:
    return {"not": nested(depth - 1)} if depth else {"page": 1}


def ids(found: list[tuple[Segment, float]]) -> list[tuple[str, int]]:
    return [(segment.asset_id, segment.ordinal) for segment, _ in found]


# Which of four segments a filter admits: three passages of asset A on pages 1 to 3, and a picture, asset B.
FILTERS = [
    (Filter(), [0, 1, 2, 3]),
    (Filter(modalities=frozenset({"image"})), [3]),
    (Filter(modalities=frozenset({"image", "text"})), [0, 1, 2, 3]),
    (Filter(modalities=frozenset({"video"})), []),
    (Filter(asset_ids=frozenset({A})), [0, 1, 2]),
    (Filter(asset_ids=frozenset({A}), where={"asset_id": B}), []),
    (Filter(where={"language": "en"}), [0, 1]),
    (Filter(where={"language": ["en", "de"]}), [0, 1, 2]),
    (Filter(where={"page": 2}), [1]),
    (Filter(where={"page": 2.0}), [1]),
    (Filter(where={"page": [1, 3]}), [0, 2]),
    (Filter(where={"page": {"gt": 1}}), [1, 2]),
    (Filter(where={"page": {"gte": 1, "lt": 3}}), [0, 1]),
    (Filter(where={"confidence": 0.5}), [1]),
    (Filter(where={"confidence": {"lte": 0.5}}), [1]),
    (Filter(where={"checked": True}), [2]),
    (Filter(where={"checked": [False, "en"]}), [1]),
    (Filter(where={"tags": "dog"}), [3]),
    (Filter(where={"title": "p.jpg", "kind": ["picture", "frame"]}), [3]),
    (Filter(where={"page": {"gt": 1}, "language": "en"}), [1]),
    (Filter(where={"unknown": 1}), []),
    (Filter(where={"or": [{"page": 1, "language": "en"}, {"kind": "picture"}]}), [0, 3]),
    (Filter(where={"and": [{"page": {"gt": 1}}, {"page": {"lt": 3}}]}), [1]),
    (Filter(where={"not": {"language": "en"}}), [2, 3]),
    (Filter(where={"not": {"or": [{"language": "en"}, {"not": {"kind": "passage"}}]}}), [2]),
    (Filter(modalities=frozenset({"text"}), where={"or": [{"page": 3}, {"tags": "dog"}]}), [2]),
    (Filter(where={"tags": {"any": ["cat", "dog"]}}), [3]),
    (Filter(where={"taken": {"gte": "2024-05-01", "lt": "2024-05-02T10:00:00"}}), [0]),
    (Filter(where={"taken": {"lte": "2024-05-02"}}), [0, 1]),
    (Filter(where={"taken": {"gt": "2024-05", "lte": "2024"}}), [2]),
    (Filter(where={"near": {"lat": 48.8584, "lon": 2.2945, "km": 1}}), [0]),
    (Filter(where={"near": {"lat": 48.8584, "lon": 2.2945, "km": 5}}), [0, 1]),
    (Filter(where={"near": {"lat": 0.0, "lon": -179.9, "km": 30}}), [2]),
    (Filter(where={"not": {"near": {"lat": 48.8584, "lon": 2.2945, "km": 100}}}), [2, 3]),
]


# When and where the three passages were taken: at the Eiffel Tower, the Louvre and the date line.
EIFFEL = {"taken_s": 1714550400.0, "lat": 48.858, "lon": 2.294}  # 2024-05-01T08:00
LOUVRE = {"taken_s": 1714644000.0, "lat": 48.861, "lon": 2.336}  # 2024-05-02T10:00
DATE_LINE = {"taken_s": 1717200000.0, "lat": 0.0, "lon": 179.95}  # 2024-06-01T00:00
FILTERED = [
    passage(0, "dog", page=1, language="en", **EIFFEL),
    passage(1, "dog", page=2, language="en", confidence=0.5, checked=False, **LOUVRE),
    passage(2, "dog", page=3, language="de", confidence=0.8, checked=True, **DATE_LINE),
    picture(3, "dog"),
]


class IndexContract:
    """Tests for every index; subclasses define the fixture `index`."""

    @pytest.fixture
    def index(self) -> Iterator[SegmentIndex]:
        raise NotImplementedError

    def one(self, index: SegmentIndex, query: ChannelQuery) -> list[tuple[Segment, float]]:
        (found,) = index.search([query])
        return found

    def test_a_channel_returns_cosines_best_first_up_to_its_limit(self, index: SegmentIndex) -> None:
        batch = [IndexedSegment(passage(n, f"p{n}"), text=towards(0, 1, c)) for n, c in enumerate((0.2, 0.9, -0.5))]
        index.upsert(batch)
        found = self.one(index, ChannelQuery("text", axis(0), 10))
        assert ids(found) == [(A, 1), (A, 0), (A, 2)]
        assert [score for _, score in found] == pytest.approx([0.9, 0.2, -0.5], abs=1e-5)
        assert ids(self.one(index, ChannelQuery("text", axis(0), 2))) == [(A, 1), (A, 0)]

    def test_a_segment_without_a_vector_is_not_in_that_channel(self, index: SegmentIndex) -> None:
        index.upsert(
            [
                IndexedSegment(passage(0, "a dog"), text=axis(0)),
                IndexedSegment(picture(0), joint=axis(0)),
                IndexedSegment(picture(1, "a dog"), joint=axis(1), text=axis(1)),
                IndexedSegment(picture(2)),
            ]
        )
        channels = [
            ChannelQuery("joint", axis(0), 9),
            ChannelQuery("text", axis(0), 9),
            ChannelQuery("bm25", "dogs", 9),
        ]
        joint, text, words = index.search(channels)
        assert ids(joint) == [(B, 0), (B, 1)]
        assert ids(text) == [(A, 0), (B, 1)]
        assert sorted(ids(words)) == [(A, 0), (B, 1)]
        assert index.count() == 4

    def test_sounds_have_a_channel_of_their_own(self, index: SegmentIndex) -> None:
        heard = [Segment(A, n, "audio", "sound", TimeSpan(n, n + 1), tags=("dog",)) for n in range(2)]
        index.upsert([IndexedSegment(heard[0], sound=axis(0)), IndexedSegment(heard[1], joint=axis(0))])
        sound, joint = index.search([ChannelQuery("sound", axis(0), 9), ChannelQuery("joint", axis(0), 9)])
        assert (ids(sound), ids(joint)) == ([(A, 0)], [(A, 1)])

    def test_no_queries_no_answers(self, index: SegmentIndex) -> None:
        assert index.search([]) == []
        assert index.search([ChannelQuery("text", axis(0), 5), ChannelQuery("bm25", "dog", 5)]) == [[], []]

    def test_bm25_ranks_as_computed_by_hand(self, index: SegmentIndex) -> None:
        texts = [
            "the dog chased the red ball",
            "a dog and another dog and one more dog slept all day long in the warm kitchen of the farm",
            "cats sleep",
            "red wine, red meat",
            "nothing of the kind",
        ]
        index.upsert([IndexedSegment(passage(n, text), text=axis(0)) for n, text in enumerate(texts)])
        found = self.one(index, ChannelQuery("bm25", "Where do red dogs sleep?", 9))
        scores = {segment.ordinal: score for segment, score in found}
        assert scores == pytest.approx(by_hand(texts, ["red", "dog", "sleep"]), rel=1e-5)
        assert [segment.ordinal for segment, _ in found] == sorted(scores, key=lambda n: -scores[n])

    def test_bm25_of_stop_words_and_unknown_words_finds_nothing(self, index: SegmentIndex) -> None:
        index.upsert([IndexedSegment(passage(0, "what is the dog"), text=axis(0))])
        for words in ("what is the", "zebra", "?!", "", "caf\udce9"):
            assert self.one(index, ChannelQuery("bm25", words, 9)) == []

    def test_bm25_folds_case_endings_and_accents_and_parts_chinese(self, index: SegmentIndex) -> None:
        for n, text in enumerate(("Running to the CAFÉ", "我们在公园里看到一只狗")):
            index.upsert([IndexedSegment(passage(n, text), text=axis(0))])
        for words, ordinal in (("runs", 0), ("cafe", 0), ("公园", 1)):
            assert ids(self.one(index, ChannelQuery("bm25", words, 9))) == [(A, ordinal)]

    def test_captions_are_searched_by_word(self, index: SegmentIndex) -> None:
        index.upsert([IndexedSegment(picture(0, "A kiln in Jingdezhen"), joint=axis(0))])
        assert ids(self.one(index, ChannelQuery("bm25", "jingdezhen", 9))) == [(B, 0)]

    def test_filters_hold_in_every_channel_and_in_counts(self, index: SegmentIndex) -> None:
        index.upsert([IndexedSegment(segment, axis(0), axis(0)) for segment in FILTERED])
        channels = [ChannelQuery("joint", axis(0), 9), ChannelQuery("text", axis(0), 9), ChannelQuery("bm25", "dog", 9)]
        for admitted, expected in FILTERS:
            for found in index.search([replace(channel, filter=admitted) for channel in channels]):
                assert sorted(segment.ordinal for segment, _ in found) == expected, admitted
            assert index.count(admitted) == len(expected), admitted

    def test_a_malformed_filter_is_a_query_error(self, index: SegmentIndex) -> None:
        bad = [
            {"a.b": 1},
            {"": 1},
            {"page[0]": 1},
            {"page": []},
            {"page": {}},
            {"page": {"gt": "x"}},
            {"page": math.nan},
            {"page": {"from": 1}},
            {"page": {"gt": 1, "lt": "2024"}},
            {"taken": {"gt": "2024-13"}},
            {"tags": {"any": "dog"}},
            {"or": []},
            {"and": {"page": 1}},
            {"not": [{"page": 1}]},
            {"near": {"lat": 48.9, "lon": 2.3}},
            {"near": {"lat": 100, "lon": 2.3, "km": 1}},
            {"not": {"or": [{"a.b": 1}]}},
            nested(40),
        ]
        for where in bad:
            admitted = Filter(where=where)  # type: ignore[arg-type]
            with pytest.raises(QueryError):
                index.count(admitted)
            with pytest.raises(QueryError):
                index.search([ChannelQuery("text", axis(0), 1, admitted)])

    def test_channels_of_one_call_have_their_own_filters(self, index: SegmentIndex) -> None:
        index.upsert([IndexedSegment(passage(0, "x"), axis(0), axis(0)), IndexedSegment(picture(1), joint=axis(0))])
        images, texts = (Filter(modalities=frozenset({m})) for m in ("image", "text"))  # type: ignore[arg-type]
        first, second = index.search(
            [ChannelQuery("joint", axis(0), 9, images), ChannelQuery("joint", axis(0), 9, texts)]
        )
        assert (ids(first), ids(second)) == ([(B, 1)], [(A, 0)])

    def test_writing_again_replaces_the_segment_and_all_its_vectors(self, index: SegmentIndex) -> None:
        index.upsert([IndexedSegment(passage(0, "old words"), axis(0), axis(0))])
        index.upsert([IndexedSegment(passage(0, "new words"), text=axis(1))])
        assert index.count() == 1
        joint, text, old = index.search(
            [ChannelQuery("joint", axis(0), 9), ChannelQuery("text", axis(1), 9), ChannelQuery("bm25", "old", 9)]
        )
        assert (joint, old) == ([], [])
        assert text[0][0].text == "new words"
        assert text[0][1] == pytest.approx(1, abs=1e-5)

    @pytest.mark.parametrize("name", ["joint", "text", "sound"])
    def test_a_bad_vector_is_refused_before_anything_is_written(self, index: SegmentIndex, name: str) -> None:
        bad = [
            np.full(DIMENSIONS, np.nan, np.float32),
            np.full(DIMENSIONS, np.inf, np.float32),
            np.zeros(DIMENSIONS, np.float32),
            axis(0) * 1.002,
            np.eye(DIMENSIONS + 1, dtype=np.float32)[0],
            axis(0)[None],
        ]
        for vector in bad:
            broken = replace(IndexedSegment(passage(1, "bad")), **{name: vector})
            with pytest.raises(ModelError, match=CARDS[name].name):
                index.upsert([IndexedSegment(passage(0, "good"), text=axis(0)), broken])
            with pytest.raises(ModelError, match=CARDS[name].name):
                index.search([ChannelQuery(name, vector, 1)])  # type: ignore[arg-type]
        assert index.count() == 0

    def test_metadata_that_cannot_be_stored_are_refused(self, index: SegmentIndex) -> None:
        with pytest.raises(ModelError, match="confidence"):
            index.upsert([IndexedSegment(passage(0, "x", confidence=math.nan))])

    def test_every_segment_comes_back_as_it_was(self, index: SegmentIndex) -> None:
        segments = [
            Segment(A, 0, "text", "passage", CharSpan(0, 12), text="naïve 中文 \U0001f600\n", title="a.md"),
            passage(1, "x", page=3, confidence=0.25, checked=True, language="en"),
            speech(2, "and so my fellow americans"),
            Segment(A, 3, "video", "frame", FrameRegion(1.5), text="slide", tags=("a", "b"), caption="c"),
            Segment(A, 4, "audio", "sound", TimeSpan(0, 3)),
        ]
        index.upsert([IndexedSegment(segment) for segment in reversed(segments)])
        assert index.segments_of(A) == segments
        assert index.segments_of(B) == []
        names = [segment_id(segment) for segment in segments]
        assert index.read([names[2], str(uuid.uuid4()), names[0]]) == [segments[2], segments[0]]
        assert index.read([]) == []

    def test_vectors_come_back_by_segment_where_there_are_any(self, index: SegmentIndex) -> None:
        both, words = passage(0, "x"), passage(1, "y")
        index.upsert([IndexedSegment(both, joint=axis(1), text=axis(0)), IndexedSegment(words, text=axis(2))])
        names = [segment_id(both), segment_id(words), str(uuid.uuid4())]
        assert {key: held.tolist() for key, held in index.vectors(names, "joint").items()} == {
            names[0]: axis(1).tolist()
        }
        assert set(index.vectors(names, "text")) == set(names[:2])
        assert index.vectors([], "text") == {}

    def test_search_leaves_out_spoken_words_only(self, index: SegmentIndex) -> None:
        spoken = speech(0, "ask not what your country")
        index.upsert([IndexedSegment(spoken, text=axis(0))])
        ((found, _),) = self.one(index, ChannelQuery("bm25", "country", 1))
        assert found == replace(spoken, words=())
        assert index.read([segment_id(found)]) == [spoken]

    def test_text_that_is_not_utf8_stays_readable(self, index: SegmentIndex) -> None:
        index.upsert([IndexedSegment(replace(passage(0, "caf\udce9 noir"), title="\udce9.txt"), text=axis(0))])
        (found,) = index.segments_of(A)
        assert found.title == "\\udce9.txt"
        assert ids(self.one(index, ChannelQuery("bm25", "noir", 1))) == [(A, 0)]

    def test_more_segments_than_a_page(self, index: SegmentIndex) -> None:
        index.upsert([IndexedSegment(passage(n, "x"), text=axis(n % 8)) for n in range(1100)])
        assert [segment.ordinal for segment in index.segments_of(A)] == list(range(1100))

    def test_deleting_assets(self, index: SegmentIndex) -> None:
        batch = [IndexedSegment(passage(n, "dog"), text=axis(0)) for n in range(3)]
        index.upsert([*batch, IndexedSegment(picture(0, "dog"), joint=axis(0))])
        index.delete_assets([])
        index.delete_assets([str(uuid.uuid4())])
        assert index.count() == 4
        index.delete_assets([A])
        assert ids(self.one(index, ChannelQuery("bm25", "dog", 9))) == [(B, 0)]
        index.delete_assets([A, B])
        assert index.count() == 0

    def test_flushing_and_closing_twice_is_no_error(self, index: SegmentIndex) -> None:
        index.upsert([IndexedSegment(passage(0, "x"), text=axis(0))])
        index.flush()
        index.flush()
        index.close()
        index.close()


class ThreadedIndexContract(IndexContract):
    """Tests for the two stores that threads share; qdrant-client's local mode is not thread-safe."""

    def test_threads_share_it(self, index: SegmentIndex) -> None:
        found: list[int] = []

        def work(worker: int) -> None:
            for number in range(5):
                index.upsert([IndexedSegment(passage(worker * 10 + number, "dog"), text=axis(worker))])
                found.append(len(self.one(index, ChannelQuery("text", axis(worker), 99))))

        threads = [threading.Thread(target=work, args=(worker,)) for worker in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert index.count() == 20
        assert len(found) == 20


def by_hand(texts: list[str], words: list[str]) -> dict[int, float]:
    """Return Okapi BM25 scores with k 1.2, b 0.75 and mean length 50, over stems typed in by hand."""
    stems = [
        ["dog", "chase", "red", "ball"],
        ["dog", "anoth", "dog", "one", "dog", "slept", "day", "long", "warm", "kitchen", "farm"],
        ["cat", "sleep"],
        ["red", "wine", "red", "meat"],
        ["noth", "kind"],
    ]
    assert len(stems) == len(texts)
    scores = dict.fromkeys(range(len(texts)), 0.0)
    for word in words:
        holders = sum(word in document for document in stems)
        idf = math.log(1 + (len(stems) - holders + 0.5) / (holders + 0.5))
        for number, document in enumerate(stems):
            tf = document.count(word)
            scores[number] += idf * tf * 2.2 / (tf + 1.2 * (0.25 + 0.75 * len(document) / 50))
    return {number: score for number, score in scores.items() if score > 0}
