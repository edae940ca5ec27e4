"""Verdicts in what the server sends: its own API, OpenAI's annotations, and links to the narrower place."""

from __future__ import annotations

import asyncio

from rag.answering.citations import cite
from rag.explanation import Explanation
from rag.llm.usage import Usage
from rag.server.evidence_views import EvidenceLinker, view_places
from rag.server.native.question_routes import answer_json
from rag.server.openai import chat, messages, responses
from rag.server.openai.answer_request import AnswerRequest, Options
from rag.server.openai.markdown import render_answer
from rag.server.signed_links import SignedLinks
from rag.types import Answer, Box, Citation, Evidence, FrameRegion, Hit, PageBox, Segment, TimeSpan, Verdict


def test_a_citation_has_its_verdict_and_the_narrower_place_is_marked(demo_base):
    (hit,) = demo_base.search("sticks used as spears at Fongoli", modality="text", top_k=1)
    page, box = hit.segment.locator.page, Box(0.2, 0.3, 0.2, 0.02)
    verdict = Verdict("supported", "It says so.", 0.9, PageBox(page, box), "used as spears")
    citations = (Citation(1, 0, 9, verdict), Citation(1, 15, 20))
    answer = Answer("What?", "Sticks it [E1]. And [E1].", citations, (Evidence(1, hit),), open_parts=("why",))
    links = SignedLinks("secret")
    sent = answer_json(EvidenceLinker("museum", demo_base, links, "", ""), answer)
    supported, unchecked = (citation["verdict"] for citation in sent["citations"])
    assert supported == {
        "name": "supported",
        "reason": "It says so.",
        "support": 0.9,
        "locator": f"#page={page}&xywh=percent:20.00,30.00,20.00,2.00",
        "quote": "used as spears",
    }
    assert unchecked == {"name": "unchecked", "reason": "", "support": None, "locator": None, "quote": ""}
    assert sent["open_parts"] == ["why"]
    views = sent["exhibits"][0]["views"]
    places = {view: links.verify(url.split("/")[2]).target.locator for view, url in views.items()}
    assert places["marked"] == PageBox(page, box)
    assert places["crop"] == places["text"] == hit.segment.locator


def test_each_annotation_has_its_verdict_in_both_of_openais_forms(demo_base):
    (hit,) = demo_base.search("an orangutan", modality="image", top_k=1)
    text = "It is an orangutan [E1]. It is old [E1]."
    verdicts = Verdict("supported", quote="orangutan"), Verdict("unchecked", "No words.")
    spans = zip(cite(text, 1).citations, verdicts, strict=True)
    cited = tuple(Citation(1, each.start, each.end, verdict) for each, verdict in spans)
    answer = Answer("What?", text, cited, (Evidence(1, hit),), open_parts=("its age",))
    linker = EvidenceLinker("museum", demo_base, SignedLinks("secret"), "", "")
    made = render_answer(answer, asyncio.run(linker.link_evidence(answer)))
    old, new = chat.format_annotations(made.cites), responses.text_part(made.text, made.cites)["annotations"]
    for sent in (old, new):
        assert [each["exhibit"]["verdict"]["name"] for each in sent] == ["supported", "unchecked"]
        assert sent[1]["exhibit"]["verdict"]["reason"] == "No words."
    request = AnswerRequest(messages.Chat((), (), ()), linker, Options(), (), Usage())
    assert request.describe(made)["open_parts"] == ["its age"]


def test_only_a_place_on_the_same_picture_is_marked():
    speech = Hit(Segment("a", 0, "video", "speech", TimeSpan(2.0, 8.0), text="So."), Explanation(0.5))
    assert view_places(speech, TimeSpan(3.0, 4.0)) == view_places(speech)
    page = Hit(Segment("a", 0, "text", "passage", PageBox(2), text="So."), Explanation(0.5))
    box = Box(0.1, 0.1, 0.2, 0.2)
    assert view_places(page, PageBox(2, box))["marked"] == PageBox(2, box)
    assert view_places(page, FrameRegion(2.0, box)) == view_places(page, PageBox(3, box)) == view_places(page)


def test_signs_and_remarks_are_no_words_of_an_earlier_answer():
    said = (
        'It is old [1] [?](http://x/evidence/t/marked "Not checked").\n\n? [1] Not checked: why?\n\n[1]: http://x "a"'
    )
    assert messages.words({"role": "assistant", "content": said}) == "It is old [1]."
    assert messages.words({"role": "user", "content": "? [1] so"}) == "? [1] so"
