from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from rag.errors import QueryError
from rag.explanation import ChannelScore
from rag.index import ChannelQuery, IndexedSegment, SegmentIndex
from rag.index.edge import EdgeIndex
from rag.query.language import Query, QueryPart
from rag.retrieval.calibration import Calibrator
from rag.retrieval.fusion import combine_vectors
from rag.retrieval.null_queries import NullQueries
from rag.retrieval.retriever import Retriever
from rag.types import CharSpan, Filter, FrameRegion, Hit, Segment, TimeSpan
from tests.fakes.encoders import CountingTextEncoder, HashingEncoder, HashingTextEncoder, PitchEncoder
from tests.fakes.media import tone
from tests.fakes.segments import DUAL, TEXT, asset, frame, indexed, passage, photo, plain, speech
from tests.fakes.waiting import wait_until

AUDIO = PitchEncoder()
CARDS = {"joint": DUAL.card, "text": TEXT.card, "sound": AUDIO.card}


class OtherSpaceEncoder(HashingEncoder):
    """A dual encoder whose space is not the text encoder's, like CLIP beside MiniLM."""

    def __init__(self) -> None:
        super().__init__(HashingTextEncoder(32, name="other"))


def tone_of(name: str, hertz: float, ordinal: int = 0) -> IndexedSegment:
    segment = Segment(asset(name), ordinal, "audio", "sound", TimeSpan(0, 3), title=name)
    return IndexedSegment(segment, sound=AUDIO.embed_audio([tone(1, hertz)])[0])


@pytest.fixture
def index(tmp_path: Path) -> Iterator[SegmentIndex]:
    with EdgeIndex(tmp_path, {"joint": DUAL.card, "text": TEXT.card}) as opened:
        yield opened


@pytest.fixture
def retriever(index: SegmentIndex) -> Retriever:
    return Retriever(index, TEXT, DUAL)


def titles(hits: list[Hit]) -> list[str]:
    return [hit.segment.title for hit in hits]


def channels(hit: Hit) -> list[str]:
    return [channel.name for channel in hit.channels]


def test_words_find_passages_speech_pictures_and_frames_with_the_channels_that_found_them(
    index: SegmentIndex, retriever: Retriever
) -> None:
    index.upsert(
        [
            indexed(passage("red.txt", "a red barn")),
            indexed(passage("other.txt", "nothing of the kind")),
            indexed(speech("red.mp3", "the red barn is on fire")),
            indexed(photo("red.jpg"), "red"),
            indexed(photo("captioned.jpg", "a red barn"), "red"),
            indexed(frame("red.mp4", 3.0), "red"),
        ]
    )
    hits = retriever.retrieve(Query("red barn"), top_k=10)
    found = dict(zip(titles(hits), hits, strict=True))
    assert set(titles(hits)[:5]) == {"red.txt", "red.mp3", "red.jpg", "captioned.jpg", "red.mp4"}
    assert channels(found["red.txt"]) == ["text", "bm25"]
    assert channels(found["captioned.jpg"]) == ["text", "bm25", "image"]
    assert channels(found["red.jpg"]) == ["image"]
    assert channels(found["red.mp4"]) == ["video"]
    assert found["red.mp4"].channels[0].rank == 1
    assert found["red.mp4"].channels[0].score > 0.5
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
    assert titles(hits)[0] == "captioned.jpg"  # it is found by its words and by its looks


def test_hits_come_whole(index: SegmentIndex, retriever: Retriever) -> None:
    spoken = speech("a.mp3", "ask not what your country can do for you")
    index.upsert([indexed(spoken)])
    (hit,) = retriever.retrieve(Query("country"), top_k=5)
    assert hit.segment == spoken
    assert (hit.path, hit.relevance) == ("", None)


def test_photos_without_captions_are_found_among_a_book(index: SegmentIndex, retriever: Retriever) -> None:
    book = [passage("book", f"chapter {n} of the book says red things about number {n * n}", n, n) for n in range(200)]
    index.upsert([indexed(segment) for segment in book])
    index.upsert([indexed(photo(f"yellow{n}.jpg"), "yellow") for n in range(3)])
    hits = retriever.retrieve(Query("yellow"), top_k=10)
    assert {"yellow0.jpg", "yellow1.jpg", "yellow2.jpg"} <= set(titles(hits)[:3])


def test_photos_stay_away_from_what_only_the_book_answers(index: SegmentIndex, retriever: Retriever) -> None:
    book = [passage("book", f"chapter {n} is about the law of inheritance in {n}", n, n) for n in range(50)]
    index.upsert([indexed(segment) for segment in book])
    index.upsert([indexed(photo(f"{n}.jpg"), colour) for n, colour in enumerate(["red", "green", "blue"] * 5)])
    hits = retriever.retrieve(Query("chapter about the law of inheritance"), top_k=10)
    assert set(titles(hits)) == {"book"}


@pytest.mark.parametrize("modality", ["text", "image", "audio", "video"])
def test_a_modality_filter_holds(index: SegmentIndex, retriever: Retriever, modality: str) -> None:
    index.upsert(
        [
            indexed(passage("a", "red")),
            indexed(photo("b", "red"), "red"),
            indexed(speech("c", "red")),
            indexed(frame("d", 1.0), "red"),
        ]
    )
    admitted = Filter(modalities=frozenset({modality}))  # type: ignore[arg-type]
    for query in (Query("red"), Query(picture=plain("red"))):
        assert {hit.segment.modality for hit in retriever.retrieve(query, top_k=9, scope=admitted)} == {modality}


def test_where_filters_hold_in_every_channel_kinds_too(index: SegmentIndex, retriever: Retriever) -> None:
    index.upsert([indexed(passage("a", "red", n, page=n)) for n in range(1, 5)])
    index.upsert([indexed(photo("b", "red"), "red")])

    def found(where: dict[str, object]) -> list[str]:
        hits = retriever.retrieve(Query("red", plain("red")), top_k=9, scope=Filter(where=where))  # type: ignore[arg-type]
        return sorted(f"{hit.segment.title}{hit.segment.meta.get('page', '')}" for hit in hits)

    assert found({"page": {"gte": 3}}) == ["a3", "a4"]
    assert found({"kind": "picture"}) == ["b"]
    assert found({"kind": ["picture", "frame"]}) == ["b"]
    assert found({"kind": "frame"}) == []
    assert found({"title": "b"}) == ["b"]


def test_top_k_cuts_and_more_than_the_usual_depth_is_searched_for_more(
    index: SegmentIndex, retriever: Retriever
) -> None:
    index.upsert([indexed(passage("a", f"red {n}", n, n)) for n in range(150)])
    assert len(retriever.retrieve(Query("red"), top_k=3)) == 3
    assert len(retriever.retrieve(Query("red"), top_k=120)) == 120


def test_a_picture_finds_pictures_frames_and_words(index: SegmentIndex, retriever: Retriever) -> None:
    index.upsert(
        [
            indexed(photo("green.jpg"), "green"),
            indexed(photo("red.jpg"), "red"),
            indexed(frame("green.mp4", 0.0), "green"),
            indexed(passage("green.txt", "green green green")),
            indexed(passage("other.txt", "something else")),
        ]
    )
    hits = retriever.retrieve(Query(picture=plain("green")), top_k=9)
    assert set(titles(hits)[:2]) == {"green.jpg", "green.mp4"}
    assert titles(hits)[2] == "green.txt"
    assert channels(hits[2]) == ["like text"]


def test_sounds_are_found_by_words_and_by_sounds(tmp_path: Path) -> None:
    with EdgeIndex(tmp_path, CARDS) as index:
        index.upsert([tone_of("low.wav", 200), tone_of("high.wav", 2000), indexed(passage("words", "high and low"))])
        retriever = Retriever(index, TEXT, DUAL, AUDIO)
        hits = retriever.retrieve(Query("high"), top_k=9)
        assert {(hit.segment.title, *channels(hit)) for hit in hits[:2]} == {
            ("high.wav", "sound"),
            ("words", "text", "bm25"),
        }
        hits = retriever.retrieve(Query(parts=(QueryPart(sounds=(tone(1, 3000),)),)), top_k=9)
        assert [(hit.segment.title, *channels(hit)) for hit in hits[:1]] == [("high.wav", "like sound")]
        both = Query(parts=(QueryPart("low"), QueryPart(sounds=(tone(1, 3000),))))
        hits = retriever.retrieve(both, top_k=9, scope=Filter(where={"kind": "sound"}))
        assert set(titles(hits)) == {"low.wav", "high.wav"}


def test_a_sound_question_needs_an_audio_encoder(retriever: Retriever) -> None:
    with pytest.raises(QueryError, match="EXHIBIT_AUDIO_ENCODER"):
        retriever.retrieve(Query(parts=(QueryPart(sounds=(tone(1),)),)), top_k=1)


def test_words_and_a_picture_together(index: SegmentIndex, retriever: Retriever) -> None:
    index.upsert(
        [
            indexed(photo("barn.jpg", "a barn"), "red"),
            indexed(photo("house.jpg", "a house"), "red"),
            indexed(photo("green barn.jpg", "a barn"), "green"),
        ]
    )
    hits = retriever.retrieve(Query("barn", plain("red")), top_k=3)
    assert titles(hits)[0] == "barn.jpg"
    assert {"text", "bm25", "like image"} <= set(channels(hits[0]))


def test_a_picture_and_words_can_be_weighted(index: SegmentIndex, retriever: Retriever) -> None:
    index.upsert(
        [
            indexed(photo("red barn.jpg", "a barn"), "red"),
            indexed(photo("blue barn.jpg", "a barn"), "blue"),
            indexed(photo("blue.jpg"), "blue"),
            indexed(photo("half.jpg"), "red"),
        ]
    )
    parts = (QueryPart(words="blue"), QueryPart(pictures=(plain("red"),), weight=0.3))
    found = retriever.retrieve(Query(parts=parts), top_k=4)
    assert titles(found)[0] in ("blue barn.jpg", "blue.jpg")
    assert {channel.name for channel in found[0].channels} >= {"image", "like image", "blend image"}
    assert {channel.weight for channel in found[0].channels if channel.name == "like image"} == {0.3}
    (heavy,) = retriever.retrieve(Query(parts=(replace(parts[0], weight=0.1), replace(parts[1], weight=9))), top_k=1)
    assert heavy.segment.title in ("red barn.jpg", "half.jpg")


def test_several_parts_of_one_medium_have_channels_of_their_own(index: SegmentIndex, retriever: Retriever) -> None:
    index.upsert([indexed(passage("both", "red barn")), indexed(passage("one", "red house"))])
    hits = retriever.retrieve(Query(parts=(QueryPart(words="red"), QueryPart(words="barn"))), top_k=2)
    assert titles(hits) == ["both", "one"]
    assert set(channels(hits[0])) == {"text", "bm25", "text #2", "bm25 #2"}


def test_a_video_is_compared_by_each_of_its_frames(index: SegmentIndex, retriever: Retriever) -> None:
    index.upsert([indexed(photo(f"{colour}.jpg"), colour) for colour in ("red", "green", "yellow", "black")])
    hits = retriever.retrieve(Query(parts=(QueryPart(pictures=(plain("red"), plain("yellow"))),)), top_k=4)
    assert set(titles(hits)[:2]) == {"red.jpg", "yellow.jpg"}
    assert hits[0].channels[0].score == pytest.approx(1.0, abs=1e-5)


def test_a_photo_is_as_near_to_a_story_as_to_the_nearest_of_its_sentences(
    index: SegmentIndex, retriever: Retriever
) -> None:
    index.upsert([indexed(photo("red.jpg"), "red"), indexed(photo("blue.jpg"), "blue")])

    def looks(words: str) -> float:
        best = retriever.retrieve(Query(words), top_k=1)[0]
        assert best.segment.title == "red.jpg"
        return next(channel.score for channel in best.channels if channel.name == "image")

    story = "Nobody knew what had happened that night. It was red. They walked home and slept."
    assert looks(story) == pytest.approx(looks("It was red."), abs=1e-6)


@pytest.mark.parametrize("unwanted", [QueryPart(words="barn"), QueryPart(pictures=(plain("green"),))])
def test_unwanted_hits_come_last_and_say_why(index: SegmentIndex, retriever: Retriever, unwanted: QueryPart) -> None:
    index.upsert(
        [
            indexed(photo("barn.jpg", "a red barn"), "green"),
            indexed(photo("house.jpg", "a red house"), "red"),
            indexed(photo("hut.jpg", "a red hut"), "red"),
        ]
    )
    plain_order = titles(retriever.retrieve(Query("red"), top_k=3))
    hits = retriever.retrieve(Query("red", without=(unwanted,)), top_k=3)
    assert set(plain_order) == set(titles(hits))
    assert titles(hits)[-1] == "barn.jpg"
    assert hits[-1].why.against > hits[0].why.against
    assert "not wanted" in str(hits[-1].why)


def test_a_not_in_words_lowers_passages(index: SegmentIndex, retriever: Retriever) -> None:
    index.upsert([indexed(passage("a", "the jaguar is a car with a red engine"))])
    index.upsert([indexed(passage("b", "the jaguar is a cat of the forest"))])
    for unwanted, first in (("car engine", "b"), ("cat of the forest", "a")):
        hits = retriever.retrieve(Query("the jaguar is a", without=(QueryPart(words=unwanted),)), top_k=2)
        assert titles(hits)[0] == first


def test_a_recording_without_words_needs_an_audio_encoder(retriever: Retriever) -> None:
    with pytest.raises(QueryError, match="EXHIBIT_AUDIO_ENCODER"):
        retriever.retrieve(Query(parts=(QueryPart(sounds=(Path("rain.ogg"),)),)), top_k=1)


def test_the_matching_words_are_named(index: SegmentIndex, retriever: Retriever) -> None:
    index.upsert([indexed(passage("a", "Red barns burn"))])
    (hit,) = retriever.retrieve(Query("a burning barn"), top_k=1)
    assert hit.why.matched == ("barns", "burn")
    assert all(0 <= channel.confidence <= 1 for channel in hit.channels)


def test_the_joint_space_may_be_another_than_that_of_text(tmp_path: Path) -> None:
    other = OtherSpaceEncoder()
    with EdgeIndex(tmp_path, {"joint": other.card, "text": TEXT.card}) as index:
        index.upsert([indexed(passage("red.txt", "red"), dual=other), indexed(photo("red.jpg"), "red", other)])
        found = titles(Retriever(index, TEXT, other).retrieve(Query("red"), top_k=9))
        assert set(found) == {"red.txt", "red.jpg"}
        (picture, words) = Retriever(index, TEXT, other).retrieve(Query(picture=plain("red")), top_k=9)
        assert (picture.segment.title, words.segment.title) == ("red.jpg", "red.txt")


def test_a_question_is_encoded_once_where_the_spaces_are_the_same(index: SegmentIndex) -> None:
    text = CountingTextEncoder()
    index.upsert([indexed(passage("a", "red"))])
    retriever = Retriever(index, text, HashingEncoder(text))
    retriever.retrieve(Query("red"), top_k=1)
    text.queries.clear()
    retriever.retrieve(Query("blue"), top_k=1)
    assert text.queries == ["blue"]


def test_the_collection_is_calibrated_again_when_it_has_grown(index: SegmentIndex) -> None:
    text = CountingTextEncoder()
    retriever = Retriever(index, text, HashingEncoder(text))
    asked = []
    for round_ in range(4):
        index.upsert([indexed(passage("a", f"red {round_}-{n}", 100 * round_ + n)) for n in range(10)])
        retriever.retrieve(Query("red"), top_k=1)
        asked.append(len(text.queries))
        text.queries.clear()
    assert [number > 1 for number in asked] == [True, True, False, True]  # at 10, 20 and 40 segments


def test_the_collection_is_calibrated_again_when_a_new_kind_of_segment_comes(index: SegmentIndex) -> None:
    index.upsert([indexed(passage("a", f"red {n}", n)) for n in range(60)])
    grown, fresh = Retriever(index, TEXT, DUAL), Retriever(index, TEXT, DUAL)
    grown.retrieve(Query("red"), top_k=1)
    index.upsert([indexed(photo(f"{n}.jpg"), colour) for n, colour in enumerate(["red", "green", "blue"] * 5)])
    grown.retrieve(Query("red"), top_k=1)
    assert grown.calibrator.calibrate() == fresh.calibrator.calibrate()
    assert grown.calibrator.calibrate().segments["picture"] == 15


def test_sounds_are_calibrated_for_words_and_for_sounds(tmp_path: Path) -> None:
    with EdgeIndex(tmp_path, CARDS) as index:
        index.upsert([tone_of("low.wav", 200), tone_of("high.wav", 2000)])
        channels = Retriever(index, TEXT, DUAL, AUDIO).calibrator.calibrate().channels or {}
    assert channels["like sound"].middle > 0.9  # to these ears all sounds are one of two, and every tone finds its like
    assert -1 < channels["sound"].middle < channels["like sound"].middle


def test_a_long_query_is_calibrated_as_the_best_of_its_sentences(index: SegmentIndex, retriever: Retriever) -> None:
    index.upsert(
        [
            indexed(photo("red.jpg"), "red"),
            indexed(passage("a", "They walked home and slept.")),
        ]
    )

    def looks(words: str) -> ChannelScore:
        hits = retriever.retrieve(Query(words), top_k=2)
        return next(channel for hit in hits for channel in hit.channels if channel.name == "image")

    one, several = looks("It was red."), looks("It was red. They walked home and slept.")
    assert several.score == pytest.approx(one.score, abs=1e-6)
    assert several.confidence < one.confidence


def test_sentences_do_not_outweigh_a_picture_in_the_blend(index: SegmentIndex, retriever: Retriever) -> None:
    index.upsert([indexed(photo("red.jpg"), "red"), indexed(photo("blue.jpg"), "blue")])
    story = "It was green. It was yellow. It was black. It was white."

    def blended(words: str) -> float:
        hits = retriever.retrieve(Query(parts=(QueryPart(words=words), QueryPart(pictures=(plain("red"),)))), top_k=2)
        return next(channel.score for hit in hits for channel in hit.channels if channel.name == "blend image")

    (vector,) = [combine_vectors([(DUAL.embed_query(story), 1.0), (DUAL.embed_images([plain("red")])[0], 1.0)])]
    assert vector is not None
    assert blended(story) == pytest.approx(float(vector @ DUAL.embed_images([plain("red")])[0]), abs=1e-5)


def test_ten_frames_of_a_scene_leave_room_for_others(index: SegmentIndex, retriever: Retriever) -> None:
    index.upsert([indexed(frame("film.mp4", n / 2), "blue") for n in range(20)])
    index.upsert([indexed(frame("film.mp4", 100.0), "blue"), indexed(photo("grey.jpg"), "grey")])
    hits = retriever.retrieve(Query(picture=plain("blue")), top_k=6)
    places = [hit.segment.locator for hit in hits]
    assert places[:2] == [TimeSpan(0.0, 10.5), TimeSpan(100.0, 101.0)]
    assert titles(hits)[2] == "grey.jpg"
    frames = retriever.retrieve(Query(picture=plain("blue")), top_k=6, scope=Filter(where={"kind": "frame"}))
    assert FrameRegion(100.0) in [hit.segment.locator for hit in frames]
    assert {hit.segment.kind for hit in frames} == {"frame"}


def test_a_quarter_of_an_hour_of_one_scene_hides_neither_a_photo_nor_another_video(
    index: SegmentIndex, retriever: Retriever
) -> None:
    index.upsert([indexed(frame("lecture.mp4", 5.0 * n), "blue") for n in range(180)])
    index.upsert([indexed(photo("barn.jpg", "a blue barn"), "grey"), indexed(frame("half.mp4", 3.0))])
    half = Image.new("RGB", (8, 8), "blue")
    half.paste((128, 128, 128), (0, 0, 4, 8))
    index.upsert([IndexedSegment(frame("half.mp4", 3.0), joint=DUAL.embed_images([half])[0])])
    for query in (Query("blue"), Query(picture=plain("blue"))):
        for where in ({}, {"kind": ["frame", "picture"]}):
            found = titles(retriever.retrieve(query, top_k=10, scope=Filter(where=where)))
            assert found[0] in ("lecture.mp4", "barn.jpg")
            assert {"lecture.mp4", "half.mp4"} <= set(found)
            assert "barn.jpg" in found or query.picture is not None


def test_hits_carry_the_noise_floor(index: SegmentIndex, retriever: Retriever) -> None:
    index.upsert([indexed(passage("a", "the red barn by the lake")), indexed(passage("b", "interest rates"))])
    hits = retriever.retrieve(Query("red barn"), top_k=2)
    assert {hit.why.noise_floor for hit in hits} == {retriever.calibrator.calibrate().noise_floor}
    assert hits[0].why.noise_floor > 0


def test_neighbouring_passages_leave_room_for_distant_ones(index: SegmentIndex, retriever: Retriever) -> None:
    stretches = [replace(passage("a", "red", n), locator=CharSpan(n * 100, n * 100 + 99)) for n in range(6)]
    far = replace(passage("a", "red and more words beside it", 9), locator=CharSpan(9000, 9099))
    index.upsert([indexed(segment) for segment in (*stretches, far)])
    hits = retriever.retrieve(Query("red"), top_k=4)
    assert far in [hit.segment for hit in hits]


def test_an_empty_collection_has_no_hits(retriever: Retriever) -> None:
    assert retriever.retrieve(Query("red"), top_k=5) == []
    assert retriever.retrieve(Query(picture=plain("red")), top_k=5) == []


def test_an_asset_deleted_during_a_search_is_left_out(tmp_path: Path) -> None:
    class Racing(EdgeIndex):
        """Deletes an asset between the search and the reading of its segments."""

        def search(self, queries: list[ChannelQuery]) -> list[list[tuple[Segment, float]]]:  # type: ignore[override]
            found = super().search(queries)
            if queries[0].limit > 1:
                self.delete_assets([asset("a")])
            return found

    with Racing(tmp_path, {"joint": DUAL.card, "text": TEXT.card}) as index:
        index.upsert([indexed(passage("a", "red")), indexed(passage("b", "red"))])
        assert titles(Retriever(index, TEXT, DUAL).retrieve(Query("red"), top_k=5)) == ["b"]


def test_an_empty_question_is_refused() -> None:
    for words in ("", "  \n"):
        with pytest.raises(QueryError):
            Query(words)
    with pytest.raises(QueryError):
        Query(without=(QueryPart(words="logo"),))


class Waiting(Calibrator):
    """Measures only once it may."""

    may_measure = threading.Event()

    def null_scores(self) -> dict[str, list[float]]:
        assert self.may_measure.wait(60)
        return super().null_scores()


def test_while_one_thread_calibrates_others_search_with_the_old_calibration(tmp_path: Path) -> None:
    with EdgeIndex(tmp_path, {"joint": DUAL.card, "text": TEXT.card}) as index:
        retriever = Retriever(index, TEXT, DUAL)
        waiting = retriever.calibrator = Waiting(index, retriever.planner, NullQueries(retriever.planner))
        index.upsert([indexed(photo("red.jpg"), "red")])
        waiting.may_measure.set()
        before = retriever.calibrator.calibrate()
        index.upsert([indexed(photo(f"{colour}.jpg"), colour) for colour in ("blue", "yellow", "green")])
        waiting.may_measure.clear()
        measuring = threading.Thread(target=retriever.calibrator.calibrate)
        measuring.start()
        wait_until(lambda: retriever.calibrator.is_measuring)
        (hit, *_) = retriever.retrieve(Query("blue"), top_k=1)
        assert hit.segment.title == "blue.jpg"
        assert hit.why.noise_floor == before.noise_floor
        waiting.may_measure.set()
        measuring.join()
        assert retriever.calibrator.calibrate() != before
