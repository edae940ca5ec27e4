"""Documents of every text format: clean passages whose places give them back, figures, and bad input."""

import contextlib
import io
import json
import zipfile
from dataclasses import astuple

import openpyxl
import pptx
import pytest
from pptx.util import Inches

from ingest.document.documents import _read_document, measure, segments
from ingest.formats.identify import identify
from rag.config import Settings
from rag.errors import DamagedMedia, MediaError, MediaTooLarge, ProtectedMedia
from rag.types import CharSpan, PageBox
from tests.fakes.files import PROSE, docx, drawing, paragraph, photo, png, sign, table, write, zipped

CNXML = f"""<document xmlns="http://cnx.rice.edu/cnxml"><title>Clocks</title>
<metadata xmlns:md="http://cnx.rice.edu/mdml"><md:uuid>0</md:uuid></metadata><content>
<section><title>Towers</title><para>{PROSE}See the <term>crank</term>,<newline/>the ropes.</para>
<figure><media alt="A clock face"><image src="clock.jpg"/></media><caption>A clock with one hand</caption></figure>
<para>{PROSE}</para></section>
<section><title>Terms</title><list><item>Crank</item><item>Hemp</item></list>
<table><tgroup><thead><row><entry>Year</entry><entry>Ropes</entry></row></thead>
<tbody><row><entry>1900</entry><entry>4</entry></row></tbody></tgroup></table></section>
</content></document>"""


@pytest.fixture(scope="module")
def settings():
    return Settings(ocr="off")


@pytest.fixture
def read(tmp_path, settings, ocr):
    """Write a file and read it; checks on the way what holds for every document."""

    def read(name, data):
        source = identify(write(tmp_path, name, data), settings)
        found = [extracted.segment for extracted in segments(source, settings, ocr)]
        text = _read_document(source).text
        for number, segment in enumerate(found):
            assert (segment.asset_id, segment.ordinal) == (source.asset_id, number)
            if segment.kind == "passage" and isinstance(segment.locator, CharSpan):
                assert text[segment.locator.start : segment.locator.end] == segment.text
            assert segment.text == segment.text.strip()
        assert measure(source, settings).characters >= 0
        return found

    return read


def joined(found):
    return "\n\n".join(segment.text for segment in found)


def test_plain_text_stays_as_it_is(read, tmp_path, settings):
    words = f"\n\n  {PROSE}\n   \n\n{PROSE * 3}\n"
    found = read("a.txt", words)
    assert _read_document(identify(tmp_path / "a.txt", settings)).text == words
    assert "".join(joined(found).split()) == "".join(words.split())
    assert found[0].title == "a.txt"


@pytest.mark.parametrize("words", [" \n\t\n ", "\ufeff\n"])
def test_white_space_is_empty_but_not_an_error(read, words):
    assert read("a.txt", words) == []


def test_other_encodings(read):
    words = "Die Größe des Turms über der Straße ist „schön“ und für alle da. " * 5
    (segment,) = read("a.txt", words.encode("cp1252"))
    assert segment.text == words.strip()


def test_markdown_without_its_markup(read):
    found = read(
        "a.md",
        f"""---
title: "Clocks"
---
# Towers

{PROSE}See [the **crank**](https://example.org/x?y=z) and ![a photo](data:image/png;base64,AAAA).

- one *item*
- two

| Year | Ropes |
| --- | --- |
| 1900 | 4 |
| 1910 | 6 |

```python
wind(clock)
```
""",
    )
    words = joined(found)
    assert "See the crank and a photo." in words
    assert "- one item\n- two" in words
    assert "Year: 1900; Ropes: 4\nYear: 1910; Ropes: 6" in words
    assert "wind(clock)" in words
    assert not any(noise in words for noise in ("base64", "example.org", "**", "|", "```"))
    assert found[0].title == "Clocks › Towers"
    assert found[0].meta["heading"] == "Towers"


def test_html_without_navigation_scripts_and_data(read):
    found = read(
        "a.html",
        f"""<html><head><title>Clocks</title><style>p {{color: red}}</style></head><body>
        <nav><a href="/">Home</a></nav><script>alert(1)</script><h1>Towers</h1><p>{PROSE}</p>
        <img src="data:image/png;base64,AAAA" alt="a photo"><table><tr><th>Year</th><th>Ropes</th></tr>
        <tr><td>1900</td><td>4</td></tr></table></body></html>""",
    )
    words = joined(found)
    assert "Year: 1900; Ropes: 4" in words
    assert "a photo" in words
    assert not any(noise in words for noise in ("Home", "alert", "color", "base64"))
    assert found[0].title == "Clocks › Towers"


def test_deeply_nested_html_still_gives_its_words(read):
    (segment,) = read("a.html", "<html><body>" + "<div>" * 3000 + "Ropes of hemp." + "</div>" * 3000 + "</body></html>")
    assert segment.text == "Ropes of hemp."


def test_cnxml_gives_prose_by_paragraph_with_section_titles(read):
    found = read("index.cnxml", CNXML)
    words = joined(found)
    assert "See the crank,\nthe ropes." in words
    assert "A clock with one hand" in words
    assert "Crank\nHemp" in words
    assert "Year: 1900; Ropes: 4" in words
    assert "uuid" not in words
    assert found[0].title == "Clocks › Towers"
    assert found[-1].meta["heading"] in ("Clocks › Towers", "Clocks › Terms")


def test_xml_records(read):
    (segment,) = read(
        "a.xml",
        '<books><book id="7"><author>Weber</author><year>1901</year></book>'
        "<book><author>Meier</author><year>1911</year></book></books>",
    )
    assert segment.text == "id: 7; author: Weber; year: 1901\nauthor: Meier; year: 1911"


def test_csv_rows_name_their_columns(read):
    rows = "".join(f'"Weber, Anna",{1800 + n},\n' for n in range(100))
    found = read("a.csv", "name,year,note\n" + rows)
    assert found[0].text.startswith("name: Weber, Anna; year: 1800\nname: Weber, Anna; year: 1801\n")
    assert all(segment.text.startswith("name: ") for segment in found)
    assert joined(found).count("year:") == 100


def test_csv_without_header(read):
    (segment,) = read("a.csv", "1;2\n3;4\n")
    assert segment.text == "1; 2\n3; 4"


def test_json_records_lines_and_notebooks(read):
    record = {"name": "Weber", "places": [{"town": "Bern"}, {"town": "Chur"}], "on": True, "blob": "A" * 2000}
    words = "name: Weber; places.town: Bern; places.town: Chur; on: true"
    assert read("a.json", json.dumps([record]))[0].text == words
    assert read("a.jsonl", "\n".join([json.dumps(record)] * 2))[0].text.count("name: Weber") == 2
    notebook = {
        "nbformat": 4,
        "cells": [
            {"cell_type": "markdown", "source": ["# Winding\n", PROSE]},
            {"cell_type": "code", "source": "wind(clock)", "outputs": [{"data": "AAAA"}]},
        ],
    }
    (segment,) = read("a.ipynb", json.dumps(notebook))
    assert segment.meta["heading"] == "Winding"
    assert segment.text.endswith("wind(clock)")


def test_subtitles_are_read_for_their_words(read):
    (segment,) = read("a.vtt", "WEBVTT\n\nNOTE x\n\n1\n00:01.000 --> 00:02.000 align:left\n<i>Who</i> is\nthere?\n")
    assert segment.text == "Who is there?"


def test_docx_headings_tables_and_figures(read, tmp_path, settings, ocr):
    body = (
        paragraph("Towers", "Heading1")
        + paragraph(PROSE)
        + drawing("pic1", "A landscape")
        + paragraph("Figure 1: The hill of the tower")
        + paragraph(PROSE)
        + drawing("pic2", "Picture 2")
        + drawing("icon")
        + drawing("pic1", "A landscape")
        + table(("Year", "Ropes"), ("1900", "4"))
    )
    pictures = {"pic1": png(photo()), "pic2": png(sign("hello")), "icon": png(photo(20, 20))}
    found = read("a.docx", docx(body, pictures))
    passage, *_ = found
    assert passage.meta["heading"] == "Towers"
    assert "Year: 1900; Ropes: 4" in joined(found)
    assert "base64" not in joined(found)
    first, second = (segment for segment in found if segment.kind == "figure")
    assert first.caption == "A landscape\nFigure 1: The hill of the tower"
    assert (first.modality, first.meta["part"], first.meta["width_px"]) == ("image", "word/media/pic1.png", 320)
    text = _read_document(identify(tmp_path / "a.docx", settings)).text
    assert text[first.locator.start : first.locator.end] == "Figure 1: The hill of the tower"
    assert second.caption.startswith("The tower clock")
    source = identify(tmp_path / "a.docx", settings)
    (picture, _) = [e.picture for e in segments(source, settings, ocr) if e.picture is not None]
    assert (picture.mode, picture.size) == ("RGB", (320, 240))


def test_a_broken_picture_costs_the_figure_not_the_document(read):
    found = read("a.docx", docx(paragraph(PROSE) + drawing("pic1"), {"pic1": png(photo())[:200]}))
    assert [segment.kind for segment in found] == ["passage"]


def test_text_in_figures_is_read(tmp_path, ocr):
    settings = Settings(ocr="auto")
    source = identify(write(tmp_path, "a.docx", docx(drawing("pic1"), {"pic1": png(sign("OPENING HOURS"))})), settings)
    (figure,) = segments(source, settings, ocr)
    assert figure.segment.text == "OPENING HOURS"
    assert figure.segment.locator == CharSpan(0, 0)


@pytest.fixture
def slides(tmp_path):
    show = pptx.Presentation()
    for number in range(3):
        slide = show.slides.add_slide(show.slide_layouts[5])
        slide.shapes.title.text = f"Clock {number}"
        box = slide.shapes.add_textbox(0, Inches(2), Inches(4), Inches(1))
        box.text_frame.text = "It has one hand\nIt strikes"
        write(tmp_path, "logo.png", png(photo(100, 100)))
        slide.shapes.add_picture(str(tmp_path / "logo.png"), 0, 0)
    write(tmp_path, "photo.png", png(photo()))
    shown = slide.shapes.add_picture(str(tmp_path / "photo.png"), Inches(5), Inches(3), Inches(2.5), Inches(1.875))
    shown._element.nvPicPr.cNvPr.set("descr", "A landscape")
    grid = slide.shapes.add_table(2, 2, 0, Inches(4), Inches(4), Inches(1)).table
    for (row, column), words in {(0, 0): "Year", (0, 1): "Ropes", (1, 0): "1900", (1, 1): "4"}.items():
        grid.cell(row, column).text = words
    group = slide.shapes.add_group_shape()
    write(tmp_path, "sign.png", png(sign("hello")))
    group.shapes.add_picture(str(tmp_path / "sign.png"), Inches(5), Inches(0), Inches(1), Inches(1))
    group.left, group.top, group.width, group.height = (Inches(n) for n in (5, 0, 5, 3.75))
    own = group._element.grpSpPr.xfrm  # twice as large inside
    own.chOff.x, own.chOff.y, own.chExt.cx, own.chExt.cy = 0, 0, Inches(10), Inches(7.5)
    slide.notes_slide.notes_text_frame.text = "Say who built it"
    path = tmp_path / "a.pptx"
    show.save(path)
    return path.read_bytes()


def test_pptx_by_slide(read, slides):
    found = read("a.pptx", slides)
    assert [(s.kind, s.locator) for s in found[:3]] == [("passage", PageBox(n)) for n in (1, 2, 3)]
    assert found[0].text == "Clock 0\n\nIt has one hand\nIt strikes"
    assert (found[1].meta["heading"], found[1].meta["page"]) == ("Clock 1", 2)
    assert "Year: 1900; Ropes: 4" in found[2].text
    assert "Say who built it" in found[2].text
    assert ".png" not in joined(found)
    figure, grouped = found[3:]  # the picture on every slide is a logo
    assert (figure.kind, figure.caption, figure.meta["page"]) == ("figure", "A landscape", 3)
    assert figure.locator.page == 3
    assert figure.locator.box.x == pytest.approx(0.5)
    assert figure.locator.box.w == pytest.approx(0.25)
    assert astuple(grouped.locator.box) == pytest.approx((0.75, 0, 0.05, 1 / 15), abs=1e-4)


def test_xlsx_rows_name_their_columns(read, tmp_path):
    book = openpyxl.Workbook()
    book.active.title = "Ropes"
    book.active.append([None, "Year", "Length"])
    for row in range(120):
        book.active.append([None, 1800 + row, 12.0 + row / 2])
    book.active.add_image(openpyxl.drawing.image.Image(io.BytesIO(png(photo()))), "E2")
    other = book.create_sheet("Keepers")
    other.append(["Name"])
    other.append(["Anna Weber"])
    book.save(tmp_path / "a.xlsx")
    found = read("a.xlsx", (tmp_path / "a.xlsx").read_bytes())
    *found, figure = found
    assert (figure.kind, figure.caption, figure.meta["width_px"]) == ("figure", "Ropes", 320)
    assert found[0].text.startswith("Ropes\n\nYear: 1800; Length: 12\nYear: 1801; Length: 12.5\n")
    assert all(segment.text.startswith("Year: ") for segment in found[1:-1])
    assert found[-1].text == "Keepers\n\nName: Anna Weber"
    assert found[-1].title == "a.xlsx › Keepers"


BOMB = "<!DOCTYPE clock [<!ENTITY b0 'bbbbbbbbbb'>"
for _n in range(1, 10):
    BOMB += f"<!ENTITY b{_n} '{'&b' + str(_n - 1) + ';'}'>".replace(f"&b{_n - 1};", f"&b{_n - 1};" * 10)
BOMB += "]>"


@pytest.mark.parametrize(
    ("name", "data", "error", "words"),
    [
        ("a.xml", "<clock><hand>cut", DamagedMedia, None),
        ("a.xml", f"{BOMB}<clock>&b9;</clock>", DamagedMedia, None),
        ("a.svg", f'{BOMB}<svg xmlns="http://www.w3.org/2000/svg"><text>&b9;</text></svg>', DamagedMedia, None),
        ("a.json", '{"a": "' + "b" * 2000, DamagedMedia, "JSON"),
        ("a.json", "[" * 100_000, DamagedMedia, None),
        (
            "a.docx",
            docx(paragraph("Hi"), extra={"word/styles.xml": f"{BOMB}<clock>&b9;</clock>"}),
            DamagedMedia,
            None,
        ),
        ("a.docx", zipped({"[Content_Types].xml": "", "word/x": ""}), DamagedMedia, None),
        ("a.pptx", zipped({"[Content_Types].xml": "", "ppt/x": ""}), DamagedMedia, None),
        ("a.xlsx", zipped({"[Content_Types].xml": "", "xl/x": ""}), DamagedMedia, None),
    ],
)
def test_damaged_documents(read, name, data, error, words):
    with pytest.raises(error, match=words):
        read(name, data)


def bomb(path, declared):
    """A DOCX with a part of zeros that unpacks to many bytes."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("[Content_Types].xml", "<Types/>")
        with archive.open("word/document.xml", "w", force_zip64=True) as part:
            for _ in range(declared // 2**20):
                part.write(bytes(2**20))


def test_a_zip_bomb_is_refused_by_its_directory(tmp_path, settings, ocr):
    bomb(tmp_path / "a.docx", 150 * 2**20)
    source = identify(tmp_path / "a.docx", settings)
    assert source.size < 200_000
    with pytest.raises(MediaTooLarge):
        list(segments(source, settings, ocr))
    with pytest.raises(MediaTooLarge):
        measure(source, settings)


def test_a_zip_that_lies_about_its_sizes_is_damaged(tmp_path, settings, ocr):
    bomb(tmp_path / "a.docx", 150 * 2**20)
    data = (tmp_path / "a.docx").read_bytes()
    declared = (150 * 2**20).to_bytes(4, "little")
    assert declared in data[-300:]
    lying = data[:-300] + data[-300:].replace(declared, (1000).to_bytes(4, "little"))
    source = identify(write(tmp_path, "b.docx", lying), settings)
    with pytest.raises(DamagedMedia):
        list(segments(source, settings, ocr))


def test_encrypted_members(tmp_path, settings, ocr):
    data = bytearray(docx(paragraph("Hi")))
    directory = data.rindex(b"PK\x01\x02")
    data[directory + 8] |= 1
    source = identify(write(tmp_path, "a.docx", bytes(data)), settings)
    with pytest.raises(ProtectedMedia):
        list(segments(source, settings, ocr))


def test_cuts_and_holes_raise_only_media_errors(tmp_path, settings, ocr, slides):
    whole = {
        "a.docx": docx(paragraph("Towers", "Heading1") + paragraph(PROSE) + drawing("p"), {"p": png(photo(80, 80))}),
        "a.pptx": slides,
    }
    for name, data in whole.items():
        for place in range(0, len(data), len(data) // 12):
            for broken in (data[:place], data[:place] + bytes(40) + data[place + 40 :]):
                path = write(tmp_path, name, broken)
                with contextlib.suppress(MediaError):
                    list(segments(identify(path, settings), settings, ocr))


def test_too_much_text(tmp_path, settings, ocr):
    path = tmp_path / "a.txt"
    path.write_bytes(b"The clock strikes.\n" * 1_750_000)
    with pytest.raises(MediaTooLarge):
        list(segments(identify(path, settings), settings, ocr))
