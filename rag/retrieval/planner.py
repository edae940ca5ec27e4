"""Turn a query into requests to the channels: encode each part once, and combine the parts in the joint space."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from rag.encoders.base import AudioEncoder, DualEncoder, ModelCard, TextEncoder, Vectors
from rag.query.language import Query, QueryPart, relative_weights
from rag.retrieval.channels import EncodedPart, SearchPlan, add_requests, joint_vectors, subtract_unwanted
from rag.retrieval.fusion import combine_vectors
from rag.text import sentences
from rag.types import Filter

_MAX_SENTENCES = 16  # sentences of a long text that are each compared with pictures
_UNWANTED_DEPTH = 4  # times as many results for negatives: a hit that they miss keeps its score


@dataclass(frozen=True, slots=True)
class EncodedQuery:
    """A query, and what each of its parts and of its negatives asks of each channel."""

    query: Query
    parts: tuple[EncodedPart, ...]
    without: tuple[EncodedPart, ...] = ()


class QueryPlanner:
    """Encodes queries with encoders of words, pictures and, optionally, sounds; threads may share it.

    Args:
        text: encoder of the vectors ``text``.
        dual: encoder of the vectors ``joint``.
        audio: encoder of the vectors ``sound``; None to skip the channels of sounds.
        without: channels to leave out, to measure what each is worth.
    """

    def __init__(
        self, text: TextEncoder, dual: DualEncoder, audio: AudioEncoder | None = None, *, without: Collection[str] = ()
    ) -> None:
        self._text, self.dual, self.audio = text, dual, audio
        self._without = frozenset(without)

    @property
    def cards(self) -> list[ModelCard]:
        """The cards of the encoders."""
        return [encoder.card for encoder in (self._text, self.dual, self.audio) if encoder]

    def encode(self, query: Query) -> EncodedQuery:
        """Encode each part of a query once."""
        return EncodedQuery(query, tuple(map(self._encode, query.parts)), tuple(map(self._encode, query.without)))

    def plan(self, encoded_query: EncodedQuery, depth: int, scope: Filter) -> SearchPlan:
        """Return the requests of a query by channel.

        In the joint space, the negatives are subtracted from each part, and several parts are also combined into one
        vector.

        Args:
            encoded_query: what `encode` returned.
            depth: results per channel.
            scope: the segments to search.
        """
        plan: SearchPlan = {}
        query = encoded_query.query
        wanted, weights = self._select(encoded_query.parts), relative_weights(query.parts)
        unwanted, negative_weights = self._select(encoded_query.without), [min(p.weight, 1.0) for p in query.without]
        negatives = joint_vectors(unwanted, negative_weights)
        for n, (encoded, weight) in enumerate(zip(wanted, weights, strict=True)):
            add_requests(plan, subtract_unwanted(encoded, negatives), depth, scope, part=n, weight=weight)
        joined = joint_vectors(wanted, weights)
        if len(joined) > 1 and (blend := combine_vectors(joined, negatives)) is not None:
            # A vector of words alone lies where vectors of words lie, and is calibrated like them.
            names = ("blend image", "blend video") if query.pictures else ("image", "video")
            add_requests(plan, {name: [blend] for name in names}, depth, scope, part=len(wanted))
        for n, (encoded, weight) in enumerate(zip(unwanted, negative_weights, strict=True)):
            add_requests(plan, encoded, _UNWANTED_DEPTH * depth, scope, part=n, weight=weight, is_unwanted=True)
        return plan

    def _encode(self, part: QueryPart) -> EncodedPart:
        """Return what one part of a query asks of each channel."""
        encoded: dict[str, Sequence[Vectors | str]] = {}
        if part.words.strip():
            vector = self._text.embed_query(part.words)
            looks = self._encode_for_pictures(part.words, vector)
            encoded |= {"text": [vector], "bm25": [part.words], "image": looks, "video": looks}
            if self.audio:
                encoded["sound"] = [self.audio.embed_query(part.words)]
        if part.pictures:
            pictures = list(self.dual.embed_images(part.pictures))
            encoded |= {"like image": pictures, "like video": pictures, "like text": pictures}
        if part.sounds and self.audio:
            encoded["like sound"] = list(self.audio.embed_audio(part.sounds))
        return encoded

    def _select(self, parts: Sequence[EncodedPart]) -> list[EncodedPart]:
        """Leave out the channels that are not to be searched."""
        return [{name: queries for name, queries in part.items() if name not in self._without} for part in parts]

    def _encode_for_pictures(self, words: str, vector: Vectors) -> list[Vectors]:
        """Return the joint vectors of the whole text and, if it has several sentences, of each sentence.

        A picture usually shows what one sentence is about, seldom a whole story.
        """
        parts = [words[start:end] for start, end in sentences(words)][:_MAX_SENTENCES]
        lifted = self.dual.from_text_vectors(vector[None], is_query=True)
        whole = self.dual.embed_query(words) if lifted is None else lifted[0]
        return [whole, *(map(self.dual.embed_query, parts) if len(parts) > 1 else ())]
