"""The llama-index objects are ordinary ones: they work with llama-index's own parts."""

from __future__ import annotations

import asyncio
import json
import re
import uuid

import pytest
from llama_index.core.schema import NodeWithScore, QueryBundle, TextNode

from rag.errors import QueryError
from rag.explanation import Explanation
from rag.integrations.llamaindex import GroundedQueryEngine, to_hit, to_node
from rag.segments import segment_id
from rag.types import Answer, Citation, Evidence, Hit, PageBox, Segment, Verdict


def test_retriever_and_back(demo_base):
    retriever = demo_base.llama_index.retriever(top_k=4)
    nodes = retriever.retrieve("orangutan")
    assert [to_hit(node) for node in nodes] == [to_hit(to_node(hit)) for hit in demo_base.search("orangutan", top_k=4)]
    again = asyncio.run(retriever.aretrieve("orangutan"))
    assert [node.node_id for node in again] == [node.node_id for node in nodes]


def test_a_node_keeps_its_segment_and_shows_no_metadata_to_models(demo_base):
    hit = demo_base.search("Jane Goodall", modality="audio")[0]
    node = to_node(hit)
    assert to_hit(node).segment == hit.segment
    assert "asset_id" not in node.node.get_content(metadata_mode="llm")
    again = NodeWithScore(node=TextNode.from_json(node.node.to_json()), score=node.score)
    assert to_hit(again) == to_hit(node)


def test_a_moment_keeps_its_parts(demo_base):
    hit = demo_base.search("a bee", modality="video")[0]
    node = to_node(hit)
    again = to_hit(NodeWithScore(node=TextNode.from_json(node.node.to_json()), score=node.score))
    assert again.segment == hit.segment
    assert [part.segment for part in again.parts] == [part.segment for part in hit.parts]
    assert again.picture_segment == hit.picture_segment


@pytest.mark.language_model
def test_postprocessor_keeps_the_best(demo_base):
    nodes = demo_base.llama_index.retriever(top_k=4).retrieve("What do the chimpanzees at Fongoli hunt with?")
    bundle = QueryBundle("What do the chimpanzees at Fongoli hunt with?")
    kept = demo_base.llama_index.postprocessor(top_n=2).postprocess_nodes(nodes, query_bundle=bundle)
    assert len(kept) == 2
    assert {node.node_id for node in kept} <= {node.node_id for node in nodes}
    assert to_hit(kept[0]).relevance >= to_hit(kept[1]).relevance
    with pytest.raises(QueryError, match="query_bundle"):
        demo_base.llama_index.postprocessor().postprocess_nodes(nodes)


@pytest.mark.language_model
def test_query_engine_answers_with_evidence(demo_base):
    response = demo_base.llama_index.query_engine().query("What do the chimpanzees at Fongoli use to hunt bush babies?")
    assert re.search(r"(spear|stick).* \[E\d\]", str(response))
    assert response.source_nodes
    assert response.metadata["answer"].cited


def test_a_response_has_the_verdict_on_each_statement():
    hit = Hit(
        Segment(str(uuid.UUID(int=1)), 0, "text", "passage", PageBox(1), text="It feeds on voles."), Explanation(0.5)
    )
    cited = Citation(1, 0, 13, Verdict("unchecked", "No words."))
    answer = Answer("What?", "It eats voles [E1].", (cited,), (Evidence(1, hit),), open_parts=("where",))

    async def aask(words):
        return answer

    response = GroundedQueryEngine(lambda words: answer, aask).query("What?")
    (citation,) = response.metadata["citations"]
    assert citation["node_id"] == response.source_nodes[0].node_id == segment_id(hit.segment)
    assert citation["statement"] == "It eats voles"
    assert (citation["verdict"]["name"], citation["verdict"]["reason"]) == ("unchecked", "No words.")
    assert json.dumps(response.metadata["citations"])
    assert response.metadata["open_parts"] == ["where"]


def test_a_foreign_node_is_refused():
    node = TextNode(text="from elsewhere")
    with pytest.raises(QueryError, match=node.node_id):
        to_hit(NodeWithScore(node=node, score=1.0))
