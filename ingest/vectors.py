"""Give segments their vectors, and join neighbouring sounds that are alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ingest.audio_video.decode import SAMPLE_RATE, resample
from rag.encoders.base import normalize
from rag.index.base import IndexedSegment
from rag.types import Extracted, TimeSpan

if TYPE_CHECKING:
    from ingest.pipeline import Stores

_MAX_MERGED_S = 60.0  # neighbouring sounds with the same tag are merged up to this length


def embed(batch: Sequence[Extracted], stores: Stores) -> list[IndexedSegment]:
    """Return the segments with their vectors.

    Pixels get a vector in the joint space, words one in the text space, words without pixels one in both. Sounds other
    than speech get a vector in the space of sounds.
    """
    segments = [extracted.segment for extracted in batch]
    joint: list[NDArray[np.float32] | None] = [None] * len(batch)
    text: list[NDArray[np.float32] | None] = [None] * len(batch)
    pictured = [n for n, extracted in enumerate(batch) if extracted.picture is not None]
    if pictured:
        tagged = stores.dual.embed_and_tag(
            [picture for extracted in batch if (picture := extracted.picture) is not None]
        )
        for n, vector, tags in zip(pictured, tagged.vectors, tagged.tags, strict=True):
            joint[n], segments[n] = vector, segments[n].tagged(tags)
    worded = [n for n, segment in enumerate(segments) if segment.searchable_text.strip()]
    if worded:
        words = [segments[n].searchable_text for n in worded]
        vectors = stores.text.embed_text(words)
        lifted = stores.dual.from_text_vectors(vectors)
        for n, vector, other in zip(
            worded, vectors, stores.dual.embed_text(words) if lifted is None else lifted, strict=True
        ):
            text[n] = vector
            joint[n] = other if joint[n] is None else joint[n]
    return _embed_sounds([IndexedSegment(*each) for each in zip(segments, joint, text, strict=True)], batch, stores)


def _embed_sounds(indexed: list[IndexedSegment], batch: Sequence[Extracted], stores: Stores) -> list[IndexedSegment]:
    sounds = [(n, extracted.sound) for n, extracted in enumerate(batch) if extracted.sound is not None]
    if stores.audio is None or not sounds:
        return indexed
    tagged = stores.audio.embed_and_tag([resample(sound, SAMPLE_RATE, stores.audio.sample_rate) for _, sound in sounds])
    for (n, _), vector, tags in zip(sounds, tagged.vectors, tagged.tags, strict=True):
        indexed[n] = replace(indexed[n], segment=indexed[n].segment.tagged(tags), sound=vector)
    return indexed


def merge_sounds(segments: Sequence[IndexedSegment]) -> list[IndexedSegment]:
    """Return the segments of one asset, with neighbouring sounds of the same likeliest tag joined up to a minute."""
    merged: list[IndexedSegment] = []
    for item in segments:
        if merged and (joined := _join_sounds(merged[-1], item)):
            merged[-1] = joined
        else:
            is_later_sound = merged and item.sound is not None
            merged.append(_renumber(item, merged[-1].segment.ordinal + 1) if is_later_sound else item)
    return merged


def _renumber(item: IndexedSegment, ordinal: int) -> IndexedSegment:
    return replace(item, segment=replace(item.segment, ordinal=ordinal))


def _join_sounds(one: IndexedSegment, other: IndexedSegment) -> IndexedSegment | None:
    """Return both as one segment; None if they are different sounds or do not touch."""
    before, after = one.segment, other.segment
    if one.sound is None or other.sound is None or before.tags[:1] != after.tags[:1] or not before.tags:
        return None
    assert isinstance(before.locator, TimeSpan) and isinstance(after.locator, TimeSpan)  # noqa: PT018
    span = TimeSpan(before.locator.start_s, after.locator.end_s)
    if after.locator.start_s > before.locator.end_s or span.end_s - span.start_s > _MAX_MERGED_S:
        return None
    weights = before.locator.end_s - before.locator.start_s, after.locator.end_s - after.locator.start_s
    vector = normalize((weights[0] * one.sound + weights[1] * other.sound)[None])[0]
    tags = tuple(tag for tag in before.tags if tag in after.tags)
    segment = replace(before, locator=span, tags=tags, meta={**before.meta, "end_s": span.end_s})
    return replace(one, segment=segment, sound=vector)
