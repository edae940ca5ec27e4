"""Frames and speech that neighbour in time are one hit; nothing is lost, nothing is blurred."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from rag.explanation import ChannelScore, Explanation
from rag.retrieval.moments import LONGEST_S, group_moments, make_moment, time_span
from rag.segments import from_payload, segment_id, to_payload
from rag.types import FrameRegion, Hit, ImageRegion, Segment, TimeSpan, Word

FILM, OTHER = "31e6609a-44a0-588b-8333-5ef9c6451570", "6e0ff3f0-5b0c-5d0e-9f5e-3b1f6c1d7a10"


def frame(start_s: float, end_s: float, score: float, *tags: str, asset: str = FILM, text: str = "") -> Hit:
    meta = {"at_s": start_s, "start_s": start_s, "end_s": end_s}
    segment = Segment(asset, int(start_s), "video", "frame", FrameRegion(start_s), text, "", tags, "film.mp4", (), meta)
    return Hit(segment, Explanation(score, (ChannelScore("video", 1, score),)))


def speech(start_s: float, end_s: float, score: float, text: str = "said") -> Hit:
    words = (Word(text, start_s, end_s),)
    segment = Segment(FILM, 100, "video", "speech", TimeSpan(start_s, end_s), text, title="film.mp4", words=words)
    return Hit(segment, Explanation(score, (ChannelScore("text", 2, score), ChannelScore("bm25", 1, 9.0))))


def spans(hits: list[Hit]) -> list[tuple[float, float]]:
    return [(span.start_s, span.end_s) for span in (time_span(hit.segment) for hit in hits)]


def test_neighbouring_frames_are_one_moment() -> None:
    found = group_moments([frame(37, 41, 0.9, "bee"), frame(32, 37, 0.8, "bee", "flower"), frame(10, 15, 0.7, "owl")])
    assert spans(found) == [(32, 41), (10, 15)]
    first = found[0]
    assert first.segment.kind == "moment"
    assert first.segment.tags == ("bee", "flower")
    assert first.score == 0.9
    assert [part.segment.locator for part in first.parts] == [FrameRegion(37), FrameRegion(32)]
    assert first.picture_segment is first.parts[0].segment


def test_a_weak_neighbour_does_not_lengthen_it_and_stays_a_hit() -> None:
    assert spans(group_moments([frame(37, 41, 0.9), frame(32, 37, 0.2)])) == [(37, 41), (32, 37)]


def test_a_long_speech_does_not_blur_a_frame_and_a_short_one_belongs_to_it() -> None:
    assert spans(group_moments([frame(32, 37, 0.9), speech(3, 43, 0.85)])) == [(32, 37), (3, 43)]
    assert spans(group_moments([frame(32, 37, 0.9), speech(33, 38, 0.2)])) == [(32, 38)]


def test_frames_during_a_speech_belong_to_its_moment() -> None:
    (found,) = group_moments(
        [speech(3, 43, 0.9, "how far away"), frame(10, 15, 0.1, "owl", text="LEAP"), frame(5, 10, 0.1)]
    )
    assert found.segment.locator == TimeSpan(3, 43)
    assert found.segment.text == "how far away\nLEAP"
    assert [word.text for word in found.segment.words] == ["how far away"]
    assert {channel.name for channel in found.channels} == {"text", "bm25", "video"}
    assert found.picture_segment is not None
    assert found.picture_segment.locator == FrameRegion(10)


def test_other_videos_and_other_media_stay_apart() -> None:
    photo = Hit(Segment(FILM, 0, "image", "picture", ImageRegion()), Explanation(0.5))
    found = group_moments([frame(0, 5, 0.9), photo, frame(0, 5, 0.4, asset=OTHER)])
    assert [hit.segment.asset_id for hit in found] == [FILM, FILM, OTHER]
    assert found[1] is photo


def test_a_moment_is_written_down_and_read_back() -> None:
    segment = make_moment([frame(37, 41, 0.9, "bee"), speech(30, 40, 0.8)]).segment
    assert from_payload(to_payload(segment)) == segment
    assert segment_id(segment)


SHOTS = st.tuples(st.integers(0, 200), st.integers(1, 45), st.floats(0.01, 1), st.booleans())


@given(st.lists(SHOTS, max_size=12))
@example([(0, 2, 0.5, False), (1, 38, 1.0, True), (16, 45, 1.0, False)])  # each fits into a minute, and both do not
def test_nothing_is_lost_and_no_moment_is_too_long(shots: list[tuple[int, int, float, bool]]) -> None:
    ranked = sorted(shots, key=lambda shot: -shot[2])
    hits = [(frame if is_frame else speech)(at, at + length, score) for at, length, score, is_frame in ranked]
    found = group_moments(hits)
    assert sorted(id(part.segment) for hit in found for part in hit.parts) == sorted(id(hit.segment) for hit in hits)
    assert [hit.score for hit in found] == sorted((hit.score for hit in found), reverse=True)
    for hit in found:
        span = time_span(hit.segment)
        assert span.end_s - span.start_s <= LONGEST_S
        for part in hit.parts:
            assert span.start_s <= time_span(part.segment).start_s
            assert time_span(part.segment).end_s <= span.end_s
