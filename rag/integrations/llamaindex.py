"""Search, reranking and grounded answers as ordinary llama-index objects.

The objects hold callables of a knowledge base and nothing else; nodes are plain `TextNode`s whose metadata is the
segment's payload, so that other llama-index parts can use them, and that `segment_of` reads back.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from llama_index.core.base.base_query_engine import BaseQueryEngine
from llama_index.core.base.response.schema import RESPONSE_TYPE, Response
from llama_index.core.callbacks import CallbackManager
from llama_index.core.postprocessor.types import BaseNodePostprocessor
from llama_index.core.prompts.mixin import PromptMixinType
from llama_index.core.retrievers import BaseRetriever
from llama_index.core.schema import NodeWithScore, QueryBundle, TextNode
from pydantic import Field

from rag.errors import QueryError
from rag.explanation import Explanation
from rag.presentation.json_values import verdict_json
from rag.segments import from_payload, segment_id, to_payload
from rag.types import Answer, Hit

Rerank = Callable[[str, Sequence[Hit]], list[Hit]]


@dataclass(frozen=True)
class LlamaIndexAdapter:
    """A knowledge base as objects of llama-index; `KnowledgeBase.llama_index` is one.

    Attributes:
        search: finds a number of hits for words; None for the setting `top_k`.
        rerank: orders hits by the language model's judgement.
        ask: answers a question.
        aask: its async twin.
        top_n: number of nodes that the postprocessor keeps by default.
    """

    search: Callable[[str, int | None], list[Hit]]
    rerank: Rerank
    ask: Callable[[str], Answer]
    aask: Callable[[str], Awaitable[Answer]]
    top_n: int

    def retriever(self, *, top_k: int | None = None) -> BaseRetriever:
        """Return the search as a retriever of `top_k` nodes; by default of as many as the setting `top_k`."""
        return CrossModalRetriever(lambda words: self.search(words, top_k))

    def postprocessor(self, *, top_n: int | None = None) -> BaseNodePostprocessor:
        """Return the reranker as a node postprocessor that keeps `top_n` nodes; by default the setting `evidence_n`."""
        return RelevanceReranker(rerank=self.rerank, top_n=top_n or self.top_n)

    def query_engine(self) -> BaseQueryEngine:
        """Return a query engine that goes all the way from question to cited answer."""
        return GroundedQueryEngine(self.ask, self.aask)


class CrossModalRetriever(BaseRetriever):
    """A retriever of passages, pictures, speech and frames for a question in words."""

    def __init__(self, search: Callable[[str], list[Hit]]) -> None:
        super().__init__()
        self._search = search

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        return [to_node(hit) for hit in self._search(query_bundle.query_str)]

    async def _aretrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        return await asyncio.to_thread(self._retrieve, query_bundle)


class RelevanceReranker(BaseNodePostprocessor):
    """A postprocessor that reranks nodes of `CrossModalRetriever` with the language model and keeps `top_n`."""

    rerank: Rerank = Field(exclude=True)
    top_n: int

    @classmethod
    def class_name(cls) -> str:
        """Return the name of this postprocessor in llama-index."""
        return "ExhibitRelevanceReranker"

    def _postprocess_nodes(
        self, nodes: list[NodeWithScore], query_bundle: QueryBundle | None = None
    ) -> list[NodeWithScore]:
        if query_bundle is None:
            raise QueryError("The reranker needs the question: pass `query_bundle` or `query_str`.")
        hits = self.rerank(query_bundle.query_str, [to_hit(node) for node in nodes])
        return [to_node(hit) for hit in hits[: self.top_n]]


class GroundedQueryEngine(BaseQueryEngine):
    """A query engine with cited answers: `source_nodes` are the evidence.

    `metadata` holds the `rag.types.Answer`, and as plain values its ``citations``, each with its verdict and the id of
    its node, and ``open_parts``.
    """

    def __init__(self, ask: Callable[[str], Answer], aask: Callable[[str], Awaitable[Answer]]) -> None:
        super().__init__(CallbackManager([]))
        self._ask, self._aask = ask, aask

    def _query(self, query_bundle: QueryBundle) -> RESPONSE_TYPE:
        return _response(self._ask(query_bundle.query_str))

    async def _aquery(self, query_bundle: QueryBundle) -> RESPONSE_TYPE:
        return _response(await self._aask(query_bundle.query_str))

    def _get_prompt_modules(self) -> PromptMixinType:
        return {}


def to_node(hit: Hit) -> NodeWithScore:
    """Return a hit as a node; its payload is metadata that stays out of embeddings and prompts."""
    parts = [to_payload(part.segment) | {"score": part.score} for part in hit.parts]
    metadata = {**to_payload(hit.segment), "path": hit.path, "relevance": hit.relevance, "parts": parts}
    node = TextNode(
        id_=segment_id(hit.segment),
        text=hit.segment.searchable_text or ", ".join(hit.segment.tags),
        metadata=metadata,
        excluded_embed_metadata_keys=list(metadata),
        excluded_llm_metadata_keys=list(metadata),
    )
    return NodeWithScore(node=node, score=hit.score)


def to_hit(node: NodeWithScore) -> Hit:
    """Return the hit that `to_node` wrote.

    Raises:
        QueryError: the node is not from Exhibit.
    """
    metadata = dict(node.node.metadata)
    try:
        path, relevance, parts = (metadata.pop(name) for name in ("path", "relevance", "parts"))
        return Hit(
            from_payload(metadata),
            Explanation(node.score or 0.0, relevance=relevance),
            path,
            parts=tuple(_part(dict(part), path) for part in parts),
        )
    except KeyError as error:
        raise QueryError(f"Node {node.node.node_id} was not retrieved by Exhibit: it has no {error}.") from error


def _response(answer: Answer) -> Response:
    nodes = [to_node(each.hit) for each in answer.evidence]
    ids = {each.number: segment_id(each.segment) for each in answer.evidence}
    citations = [
        {
            "node_id": ids.get(cited.number, ""),
            "statement": answer.text[cited.start : cited.end],
            "verdict": verdict_json(cited.verdict),
        }
        for cited in answer.citations
    ]
    metadata = {"answer": answer, "citations": citations, "open_parts": list(answer.open_parts)}
    return Response(answer.text, source_nodes=nodes, metadata=metadata)


def _part(payload: dict[str, Any], path: str) -> Hit:
    score = payload.pop("score")
    return Hit(from_payload(payload), Explanation(score), path)
