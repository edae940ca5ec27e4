"""Texts are cut into passages that lose nothing, never end in a heading and never cross a page."""

from hypothesis import given
from hypothesis import strategies as st

from ingest.document.chunking import TextBlock, count_words, join_blocks, split_passages
from ingest.document.layout import gutter, reading_order, union
from rag.text import wrapped_sentences
from rag.types import Box
from tests.fakes.files import PROSE

WORDS = st.text("abcdefghij äß漢字.!?\n", min_size=1, max_size=400)
BLOCKS = st.builds(
    TextBlock,
    text=WORDS,
    kind=st.sampled_from(["paragraph", "paragraph", "row", "heading"]),
    level=st.integers(1, 3),
    page=st.just(0),
)


@given(st.lists(BLOCKS, max_size=12))
def test_passages_are_slices_that_hold_every_word(blocks):
    prose = join_blocks(blocks)
    cut = list(split_passages(prose))
    assert all(0 <= p.start < p.end <= len(prose.text) for p in cut)
    assert [(p.start, p.end) for p in cut] == sorted((p.start, p.end) for p in cut)
    assert " ".join(" ".join(prose.text[p.start : p.end] for p in cut).split()) == " ".join(prose.text.split())


@given(st.lists(BLOCKS, max_size=12))
def test_splitting_is_deterministic(blocks):
    assert list(split_passages(join_blocks(blocks))) == list(split_passages(join_blocks(blocks)))


def test_sizes():
    prose = join_blocks([TextBlock(PROSE) for _ in range(40)])
    sizes = [count_words(prose.text[p.start : p.end]) for p in split_passages(prose)]
    assert all(120 <= size <= 200 for size in sizes)


def test_a_long_sentence_and_a_long_word_are_cut():
    for text in ("word " * 2000, "漢" * 2000, "x" * 50_000, "line of a log\n" * 500):
        prose = join_blocks([TextBlock(text)])
        assert max(count_words(prose.text[p.start : p.end]) for p in split_passages(prose)) <= 240


def test_headings_stay_with_their_text():
    blocks = [TextBlock("Book", "heading", 1)]
    for number in range(6):
        blocks += [TextBlock(f"Part {number}", "heading", 2), TextBlock(PROSE * 2)]
    prose = join_blocks(blocks)
    cut = list(split_passages(prose))
    for passage in cut:
        last_line = prose.text[passage.start : passage.end].split("\n\n")[-1]
        assert not last_line.startswith("Part")
    assert [p.heading for p in cut] == [f"Book › Part {number}" for number in range(6)]


def test_short_sections_share_a_passage():
    blocks = [
        b for n in range(6) for b in (TextBlock(f"Term {n}", "heading", 2), TextBlock("It means something short."))
    ]
    (passage,) = split_passages(join_blocks(blocks))
    assert passage.heading == "Term 0"


def test_a_passage_never_spans_two_pages():
    prose = join_blocks([TextBlock("One.", page=1), TextBlock("Two.", page=2), TextBlock("Three.", page=2)])
    assert [(prose.text[p.start : p.end], p.page) for p in split_passages(prose)] == [
        ("One.", 1),
        ("Two.\n\nThree.", 2),
    ]


def test_rows_are_lines_and_figures_add_no_text():
    prose = join_blocks(
        [TextBlock("a: 1", "row"), TextBlock("alt", "figure", part="p"), TextBlock("a: 2", "row"), TextBlock("End.")]
    )
    assert prose.text == "a: 1\n\na: 2\n\nEnd."
    assert [part.block.kind for part in prose.parts] == ["row", "figure", "row", "paragraph"]


def test_sentences_do_not_end_at_abbreviations():
    text = "Dr. Weber of St. Gallen, cf. Fig. 3, wound it. It ran. “Did it?” she asked. 時計。塔。"
    assert [text[a:b] for a, b in wrapped_sentences(text, 0, len(text))] == [
        "Dr. Weber of St. Gallen, cf. Fig. 3, wound it.",
        "It ran.",
        "“Did it?” she asked.",
        "時計。",
        "塔。",
    ]


def column(x, width, rows, top=0.2):
    return [Box(x, top + 0.02 * row, width * (0.97 if row % 5 else 0.6), 0.015) for row in range(rows)]


def test_columns_are_read_one_after_the_other():
    title, left, right = Box(0.2, 0.1, 0.6, 0.03), column(0.1, 0.37, 20), column(0.53, 0.37, 20)
    caption, below_left, below_right = (
        Box(0.15, 0.62, 0.7, 0.015),
        column(0.1, 0.37, 5, 0.66),
        column(0.53, 0.37, 5, 0.66),
    )
    page = [title, *left, *right, caption, *below_left, *below_right]
    shuffled = sorted(page, key=lambda box: (box.y, box.x))
    assert [shuffled[i] for i in reading_order(shuffled)] == page
    assert 0.47 < gutter(shuffled) < 0.53


def test_a_table_is_read_row_by_row():
    cells = [
        Box(x, 0.2 + 0.03 * row, 0.04 + 0.06 * ((row + n) % 3), 0.015)
        for row in range(8)
        for n, x in enumerate((0.1, 0.4, 0.7))
    ]
    assert reading_order(cells) == list(range(len(cells)))


@given(st.lists(st.builds(Box, *[st.floats(0, 1)] * 4), max_size=30))
def test_reading_order_is_a_permutation(boxes):
    assert sorted(reading_order(boxes)) == list(range(len(boxes)))
    if boxes:
        whole = union(boxes)
        assert all(whole.x <= box.x and whole.y <= box.y for box in boxes)
