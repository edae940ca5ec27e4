"""PDF pages: text in reading order with true boxes, figures with captions, scans, and bad input."""

from itertools import pairwise

import pytest

from ingest.document import documents
from ingest.document.page_lines import Paragraph, TextLine, page_passages
from ingest.formats.identify import identify
from rag.config import Settings
from rag.errors import DamagedMedia, MediaError, MediaTooLarge, ProtectedMedia
from rag.types import Box, PageBox
from tests.fakes.files import PROSE, Page, pdf, photo, sign, write

WORDS = PROSE.split()


@pytest.fixture(scope="module")
def settings():
    return Settings(ocr="off")


@pytest.fixture
def read(tmp_path, settings, ocr):
    def read(*pages, changed=settings):
        source = identify(write(tmp_path, "a.pdf", pdf(*pages)), changed)
        found = list(documents.segments(source, changed, ocr))
        assert [item.segment.ordinal for item in found] == list(range(len(found)))
        assert all(isinstance(item.segment.locator, PageBox) for item in found)
        return found

    return read


def lines(words, width=60):
    """Words set in lines of at most so many characters."""
    set_lines = [""]
    for word in words:
        if len(set_lines[-1]) + len(word) >= width:
            set_lines.append("")
        set_lines[-1] = f"{set_lines[-1]} {word}".strip()
    return set_lines


def box(x, y, w, h):
    """A box within half a percent of the page."""
    return pytest.approx((x, y, w, h), abs=0.005)


def sides(found):
    shown = found.segment.locator.box
    return (shown.x, shown.y, shown.w, shown.h)


def test_text_with_its_box_counted_from_the_top_left(read):
    (found,) = read(Page().paragraph(72, 720, ["The clock has one hand.", "It strikes every quarter."], size=12))
    assert found.segment.text == "The clock has one hand. It strikes every quarter."
    left, top, width, height = sides(found)
    assert left == pytest.approx(72 / 612, abs=0.005)
    assert top == pytest.approx((792 - 720 - 12) / 792, abs=0.01)
    assert 0.18 < width < 0.25
    assert 0.028 < height < 0.042
    assert found.segment.meta["page"] == 1


def test_a_cropped_page(read):
    page = Page(crop=(72, 392, 372, 792)).text(72, 760, "Inside the crop box").text(400, 760, "Outside of it")
    (found,) = read(page)
    assert found.segment.text == "Inside the crop box"
    left, top, *_ = sides(found)
    assert left == pytest.approx(0, abs=0.01)
    assert top == pytest.approx((792 - 760 - 11) / 400, abs=0.015)


@pytest.mark.parametrize(
    ("rotate", "middle"), [(0, (0.35, 0.02)), (90, (0.98, 0.35)), (180, (0.65, 0.98)), (270, (0.02, 0.65))]
)
def test_a_turned_page(read, rotate, middle):
    """A line at the top left of the page as written is where the turn takes it."""
    (found,) = read(Page(rotate=rotate).text(8, 770, "The clock has one hand and strikes every quarter", size=18))
    left, top, width, height = sides(found)
    along, across = (width, height) if rotate in (0, 180) else (height, width)
    assert along > 0.5
    assert across < 0.05
    assert (left + width / 2, top + height / 2) == pytest.approx(middle, abs=0.06)


def test_two_columns_are_read_one_after_the_other_even_when_written_line_by_line(read):
    left, right = lines(WORDS * 2, 42), lines([word.upper() for word in WORDS * 2], 36)
    page = Page().text(150, 740, "The Clocks of the Town and Their Keepers", size=18, bold=True)
    for number, (a, b) in enumerate(zip(left, right, strict=False)):
        page.text(60, 690 - 13 * number, a, 10).text(320, 690 - 13 * number, b, 10)
    found = read(page)
    words = " ".join(item.segment.text for item in found)
    assert words.index("THE TOWER CLOCK") > words.index("whenever a strand has broken")
    assert found[0].segment.meta["heading"] == "The Clocks of the Town and Their Keepers"
    assert found[-1].segment.locator.box.x > 0.5


def test_hyphens_at_line_ends_are_removed(read):
    (found,) = read(Page().paragraph(72, 700, ["The lock-", "smith built a well-", "known clock in 1901-", "1903."]))
    assert found.segment.text == "The locksmith built a wellknown clock in 1901- 1903."


def test_headings_by_size_and_weight(read):
    page = Page().text(72, 740, "Clocks", size=22).text(72, 700, "Winding", bold=True)
    page.paragraph(72, 680, lines(WORDS)).text(72, 560, "Striking", bold=True).paragraph(72, 540, lines(WORDS))
    found = read(page)
    assert [item.segment.meta["heading"] for item in found] == ["Clocks › Winding", "Clocks › Striking"]
    assert found[1].segment.text.startswith("Striking\n\nThe tower clock")


def test_the_heading_of_the_page_before_goes_on(read):
    first = Page().text(72, 740, "Clocks", size=22).paragraph(72, 700, lines(WORDS))
    found = read(first, Page().paragraph(72, 740, lines(WORDS)))
    assert found[1].segment.meta == {"page": 2, "heading": "Clocks"}
    assert found[1].segment.title == "a.pdf › Clocks"


def test_running_titles_and_page_numbers_are_left_out(read):
    pages = [
        Page()
        .text(72, 770, f"Clocks of the town, volume {n}", 8)
        .paragraph(72, 700, lines(WORDS))
        .text(300, 20, str(n))
        for n in range(1, 6)
    ]
    words = " ".join(item.segment.text for item in read(*pages))
    assert "volume" not in words
    assert not any(char.isdigit() for char in words)


def test_a_figure_with_its_caption(read):
    page = Page().paragraph(72, 740, lines(WORDS)).picture(photo(), 200, 400, 240, 180)
    page.text(200, 385, "Figure 3: The hill on which the tower stands.").paragraph(72, 340, lines(WORDS))
    passage, figure = read(page)
    assert passage.segment.kind == "passage"
    assert (figure.segment.kind, figure.segment.modality) == ("figure", "image")
    assert figure.segment.caption == "Figure 3: The hill on which the tower stands."
    assert sides(figure) == box(200 / 612, (792 - 580) / 792, 240 / 612, 180 / 792)
    assert figure.picture.mode == "RGB"
    assert max(figure.picture.size) <= 768
    assert figure.picture.getpixel((figure.picture.width // 4, 20)) == pytest.approx((120, 170, 230), abs=3)


def test_a_figure_without_caption_takes_the_nearest_words(read):
    page = Page().paragraph(72, 740, lines(WORDS)).picture(photo(), 72, 380, 240, 180)
    page.paragraph(72, 360, ["On the hill stands the tower."])
    assert read(page)[-1].segment.caption == "On the hill stands the tower."


def test_a_sentence_that_begins_with_a_figure_is_not_a_caption(read):
    page = Page().picture(photo(), 72, 500, 240, 180).text(72, 480, "Figure 3 shows the tower as it was.")
    page.text(72, 440, "Fig. 4. The bell.")
    captions = [item.segment.caption for item in read(page) if item.segment.kind == "figure"]
    assert captions == ["Fig. 4. The bell."]


def test_strips_are_one_figure_and_icons_logos_and_backgrounds_are_none(read):
    pages = []
    for _ in range(4):
        page = Page().picture(photo(), 0, 0, 612, 792).picture(photo(80, 60), 500, 730, 80, 55)
        pages.append(page.paragraph(72, 600, lines(WORDS * 2)).picture(photo(), 20, 300, 12, 12))
    upper, lower = photo().crop((0, 0, 320, 120)), photo().crop((0, 120, 320, 240))
    pages.append(
        Page().paragraph(72, 700, lines(WORDS)).picture(upper, 72, 390, 240, 90).picture(lower, 72, 300, 240, 90)
    )
    (figure,) = [item for item in read(*pages) if item.segment.kind == "figure"]
    assert figure.segment.meta["page"] == 5
    assert sides(figure) == box(72 / 612, (792 - 480) / 792, 240 / 612, 180 / 792)


def test_a_drawing_is_located_by_its_caption_with_its_labels(read):
    page = Page().paragraph(72, 740, lines(WORDS, 95)).text(150, 430, "crank").text(300, 430, "rope")
    page.operators += ["150 400 m 450 560 l 3 w S", "0.2 0.4 0.8 rg 200 420 80 120 re f", "320 440 90 60 re f"]
    page.text(72, 380, "Figure 1: How the clock is wound.").paragraph(72, 340, lines(WORDS, 95))
    passage, figure = read(page)
    assert figure.segment.caption == "Figure 1: How the clock is wound."
    assert figure.segment.text == "crank\nrope"
    assert "crank\n" not in passage.segment.text
    left, top, width, height = sides(figure)
    assert left < 150 / 612
    assert top < (792 - 555) / 792
    assert left + width > 449 / 612
    assert top + height < (792 - 380) / 792 + 0.01


def test_a_scan_is_read_with_boxes(read):
    words = sign("The tower clock has one hand.", "It strikes every quarter.", size=40, width=1000)
    (found,) = read(Page().picture(words, 56, 792 - 60 - 90, 500, 90), changed=Settings(ocr="auto"))
    assert found.segment.text == "The tower clock has one hand. It strikes every quarter."
    assert found.segment.meta == {"ocr": True, "page": 1}
    left, top, _, height = sides(found)
    assert 0.08 < left < 0.15
    assert 0.07 < top < 0.12
    assert top + height < 0.2


def test_a_scan_without_ocr_is_a_picture_and_a_blank_page_is_nothing(read):
    (found,) = read(
        Page().picture(photo(), 0, 0, 612, 792), Page(), Page().picture(photo().point(lambda v: 255), 0, 0, 9, 9)
    )
    assert (found.segment.kind, found.segment.locator) == ("figure", PageBox(1))


def test_few_words_need_no_ocr(read):
    (found,) = read(Page().text(200, 400, "Part Two", size=30), changed=Settings(ocr="auto"))
    assert found.segment.text == "Part Two"
    assert "ocr" not in found.segment.meta


def test_measure_counts_and_estimates(tmp_path, settings):
    pages = [Page().paragraph(72, 700, lines(WORDS)).picture(photo(), 72, 200, 240, 180) for _ in range(20)]
    found = documents.measure(identify(write(tmp_path, "a.pdf", pdf(*pages)), settings), settings)
    assert (found.pages, found.pictures) == (20, 20)
    assert found.characters == pytest.approx(20 * len(PROSE), rel=0.1)


def test_too_many_pages(tmp_path, ocr):
    path = write(tmp_path, "a.pdf", pdf(*[Page().text(72, 700, "x")] * 4))
    settings = Settings(max_pages=3)
    with pytest.raises(MediaTooLarge, match="EXHIBIT_MAX_PAGES"):
        list(documents.segments(identify(path, settings), settings, ocr))
    with pytest.raises(MediaTooLarge, match="EXHIBIT_MAX_PAGES"):
        documents.measure(identify(path, settings), settings)


def test_a_password(tmp_path, settings, ocr):
    page = Page().text(72, 700, "The clock has one hand.")
    locked = identify(write(tmp_path, "a.pdf", pdf(page, user_password="secret")), settings)
    with pytest.raises(ProtectedMedia):
        list(documents.segments(locked, settings, ocr))
    with pytest.raises(ProtectedMedia):
        documents.measure(locked, settings)
    opened = identify(write(tmp_path, "b.pdf", pdf(page, user_password="")), settings)
    (found,) = documents.segments(opened, settings, ocr)
    assert found.segment.text == "The clock has one hand."


def test_no_pages_and_unreadable_fonts(tmp_path, settings, ocr):
    for data in (pdf(), b"%PDF-1.7\n" + b"nonsense\n" * 50 + b"%%EOF"):
        with pytest.raises(DamagedMedia):
            list(documents.segments(identify(write(tmp_path, "a.pdf", data), settings), settings, ocr))


def test_truncated_and_broken_files_end_in_media_errors(tmp_path, settings, ocr):
    pages = [Page().paragraph(72, 700, lines(WORDS)).picture(photo(40, 30), 72, 300, 240, 180) for _ in range(3)]
    whole = pdf(*pages)
    for place in range(20, len(whole) - 10, len(whole) // 15):
        source = identify(write(tmp_path, "a.pdf", whole[:place]), settings)
        with pytest.raises(DamagedMedia):
            list(documents.segments(source, settings, ocr))
        source = identify(write(tmp_path, "a.pdf", whole[:place] + bytes(30) + whole[place + 30 :]), settings)
        try:
            assert all(item.segment.text for item in documents.segments(source, settings, ocr) if item.picture is None)
        except MediaError:
            continue


def line(text, y, x=0.1, w=0.8, size=0.015, bold=False):
    return TextLine(text, Box(x, y, w, size), bold, size)


def test_gaps_bullets_and_short_last_lines_end_paragraphs():
    page = [
        line("A sentence that fills its line and goes", 0.10),
        line("on until it ends.", 0.12, w=0.3),
        line("Another paragraph begins without a gap", 0.14),
        line("- an item", 0.16, w=0.2),
        line("- another item", 0.18, w=0.2),
        line("After a gap.", 0.24, w=0.3),
    ]
    (passage,) = page_passages(page)
    assert passage.text.split("\n\n") == [
        "A sentence that fills its line and goes on until it ends.",
        "Another paragraph begins without a gap",
        "- an item",
        "- another item",
        "After a gap.",
    ]
    assert passage.box == Box(0.1, 0.1, 0.8, 0.155)


def test_a_passage_has_the_box_of_its_own_lines_only():
    page = [line(f"Line {n} of a page that is set in many lines of ten words.", 0.1 + 0.02 * n) for n in range(40)]
    found = list(page_passages(page))
    assert len(found) > 2
    for passage, following in pairwise(found):
        assert following.box.y >= passage.box.y + passage.box.h - 0.016


def test_soft_hyphens():
    assert Paragraph([line("wind\u00ad", 0.1), line("ing it", 0.12)]).text == "winding it"
    assert Paragraph([line("wind\u0002", 0.1), line("ing it", 0.12)]).text == "winding it"
    assert Paragraph([line("Anna-", 0.1), line("Maria", 0.12)]).text == "Anna- Maria"
