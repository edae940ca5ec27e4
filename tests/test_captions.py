"""Captions of picture files from the documents and sidecar files beside them."""

import json
import os
import time
from contextlib import closing

import pytest

from ingest.captions import gather_notes
from ingest.formats.identify import walk
from ingest.picture.mentions import read_mentions
from ingest.picture.product_table import read_rows
from ingest.reading.worker import WorkerPool
from rag.config import Settings
from tests.fakes.files import photo, png, write


@pytest.fixture(scope="module")
def workers():
    with closing(WorkerPool(Settings(threads=1, file_timeout_s=20))) as workers:
        yield workers


@pytest.fixture
def folder(tmp_path):
    for name in ("clock.jpg", "media/bell.png", "media/rope 1.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        write(tmp_path, name, png(photo(8, 8)))
    return tmp_path


@pytest.fixture
def captions(workers):
    def captions(folder):
        found = gather_notes(list(walk([folder])), workers).notes
        return {path.relative_to(folder).as_posix(): list(said.captions) for path, said in found.items()}

    return captions


def test_markdown(folder, captions):
    words = (
        '![A clock](clock.jpg "By night")\n\nFigure 1: The clock\nof the town\n\n'
        "![The rope](media/rope%201.png)\n\n<figure><img src='media/bell.png' alt='A bell'>"
        "<figcaption>The <b>bell</b></figcaption></figure>\n"
    )
    write(folder, "a.md", words)
    assert captions(folder) == {
        "clock.jpg": ["A clock", "By night", "Figure 1: The clock of the town"],
        "media/rope 1.png": ["The rope"],
        "media/bell.png": ["A bell", "The bell"],
    }


def test_html(folder, captions):
    write(
        folder / "media", "a.html", "<img src='../clock.jpg?size=3' alt='A clock' title='By night'><img src='bell.png'>"
    )
    assert captions(folder) == {"clock.jpg": ["A clock", "By night"]}


@pytest.mark.parametrize(
    "words",
    [
        '<document xmlns="http://cnx.rice.edu/cnxml"><figure><media alt="A clock"><image src="{}"/></media>'
        "<caption>Of the <term>town</term></caption></figure></document>",
        '<article><figure><title>Of the town</title><mediaobject><imageobject><imagedata fileref="{}"/></imageobject>'
        "<textobject><phrase>A clock</phrase></textobject></mediaobject></figure></article>",
        '<article xmlns:xlink="http://www.w3.org/1999/xlink"><fig><alt-text>A clock</alt-text>'
        '<caption><p>Of the town</p></caption><graphic xlink:href="{}"/></fig></article>',
    ],
)
def test_xml_of_several_kinds(folder, words, captions):
    write(folder, "a.xml", words.format("clock.jpg"))
    assert sorted(captions(folder)["clock.jpg"]) == ["A clock", "Of the town"]


def test_sidecar_files(folder, captions):
    write(folder, "clock.txt", "A clock\nby night\n")
    write(folder, "clock.jpg.json", json.dumps({"title": "clock.jpg", "description": "One hand", "views": 3}))
    write(
        folder / "media",
        "bell.xmp",
        '<x xmlns:dc="http://purl.org/dc/elements/1.1/"><dc:description>A bell</dc:description></x>',
    )
    write(folder / "media", "rope 1.txt", "A log\n" * 10_000)
    assert captions(folder) == {"clock.jpg": ["One hand", "A clock by night"], "media/bell.png": ["A bell"]}


def test_a_converted_picture_still_matches_its_old_name(folder, captions):
    write(folder, "a.md", "![A clock](clock.png)")
    assert captions(folder) == {"clock.jpg": ["A clock"]}


def test_references_lead_only_to_files_of_the_run(folder, workers):
    (folder / "inner").mkdir()
    write(
        folder / "inner",
        "a.md",
        "![x](../clock.jpg) ![y](/etc/a.png) ![z](https://example.org/clock.jpg) ![w](//h/b.png)",
    )
    assert gather_notes(list(walk([folder / "inner"])), workers).notes == {}
    assert gather_notes([*walk([folder / "inner"]), folder / "media" / "bell.png"], workers).notes == {}


def test_captions_are_bounded_and_survive_bad_documents(folder, captions):
    write(folder, "a.md", "\n\n".join(f"![{'clock ' * 500}{n}](clock.jpg)" for n in range(50)))
    write(folder, "b.xml", "<figure><image src='clock.jpg'>")
    write(folder, "c.html", b"\xff\xfe<img src='clock.jpg'")
    write(folder, "clock.xmp", "<broken")
    write(folder, "clock.json", "[1")
    (folder / "d.md").symlink_to(folder / "gone")
    (words,) = captions(folder).values()
    assert len(words) == 1
    assert len(words[0]) == 1000


def test_pipes_and_devices_give_no_captions_and_do_not_block(folder, captions):
    os.mkfifo(folder / "notes.md")
    (folder / "zero.html").symlink_to("/dev/zero")
    write(folder, "a.md", "![A clock](clock.jpg)")
    assert captions(folder) == {"clock.jpg": ["A clock"]}


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("a.xml", "<figure>" + "<caption>clock</caption>" * 20_000 + '<image src="clock.jpg"/>' * 20_000 + "</figure>"),
        ("a.xml", '<figure src="clock.jpg">' * 20_000 + "</figure>" * 20_000),
        ("a.xml", '<figure src="clock.jpg"><caption>' * 10_000 + "clock" + "</caption></figure>" * 10_000),
        ("a.html", f"<figure><figcaption>{'clock ' * 100_000}</figcaption>{'<img src=clock.jpg>' * 10_000}</figure>"),
    ],
)
def test_a_hostile_document_takes_at_most_seconds(tmp_path, name, words):
    started = time.monotonic()
    found = read_mentions(write(tmp_path, name, words))
    assert time.monotonic() - started < 5
    assert len(found) <= 10_000
    assert all(len(caption) <= 1000 for _, caption in found)


PRODUCT_TABLE = """Image;Name;Price (EUR);In stock;Colour;Description;Title
clock.jpg;Wall clock;49.90;yes;white;A plain clock for the kitchen;Timeless
media/bell.png;Brass bell;12;no;gold;;
;Nothing;1;no;;;
other.jpg;Not here;1;yes;;;
"""


def test_a_product_table_gives_captions_and_fields(folder, workers):
    write(folder, "products.csv", PRODUCT_TABLE)
    found = gather_notes(list(walk([folder])), workers).notes
    clock, bell = found[folder / "clock.jpg"], found[folder / "media/bell.png"]
    assert clock.captions == (
        "Wall clock. price_eur: 49.90. in_stock: yes. colour: white. A plain clock for the kitchen. Timeless",
    )
    assert clock.fields == {
        "name": "Wall clock",
        "price_eur": 49.9,
        "in_stock": True,
        "colour": "white",
        "description": "A plain clock for the kitchen",
    }
    assert bell.fields == {"name": "Brass bell", "price_eur": 12, "in_stock": False, "colour": "gold"}
    assert found[folder / "media/rope 1.png"].fields == {}  # beside one that has a row
    assert len(found) == 3


@pytest.mark.parametrize(
    "table", ["", "a,b\n1,2\n", "image,x\nclock.jpg\n1,2\n3,4\n", 'image\n"clock.jpg', "image\n" + "x" * 2_000_000]
)
def test_a_table_without_pictures_adds_nothing(folder, workers, table):
    write(folder, "a.csv", table)
    assert gather_notes(list(walk([folder])), workers).notes == {}


@pytest.mark.parametrize(
    ("written", "read"),
    [
        (["1.299,00 €", "12 €", "2,50 €"], [1299, 12, 2.5]),
        (["1.299 €", "12 €"], [1299, 12]),
        (["$3", "$1,299.00", "12.50 USD", "-£4"], [3, 1299, 12.5, -4]),
        (["1 299,00 kr", "49 kr"], [1299, 49]),
        (["12,50", "1.299", "7"], [12.5, 1299, 7]),
        (["12.50", "1,299", "7"], [12.5, 1299, 7]),
        (["on request", "12,50"], ["on request", 12.5]),
        (["00123", "124"], ["00123", "124"]),
        (["38", "M", "1.5 kg"], [38, "M", "1.5 kg"]),
        (["1,2,3", "01.05.2024", "2024-05-01", "20%"], ["1,2,3", "01.05.2024", "2024-05-01", "20%"]),
        (["1e400", "1e5", "."], ["1e400", 100_000, "."]),
    ],
)
def test_numbers_are_read_as_people_write_them(written, read):
    table = "image\tvalue\n" + "".join(f"{n}.jpg\t{cell}\n" for n, cell in enumerate(written))
    assert [fields["value"] for _, _, fields in read_rows(table)] == read


def test_a_price_keeps_the_name_of_its_column():
    assert [caption for _, caption, _ in read_rows("image;preis\na.jpg;2,50 €\n")] == ["preis: 2,50 €"]


def test_columns_are_named_in_plain_letters():
    ((_, _, fields),) = read_rows("image,Größe,Préço (€),2nd\na.jpg,L,3,x\n")
    assert fields == {"grosse": "L", "preco": 3, "_2nd": "x"}


def test_rows_without_a_picture_are_skipped_and_a_row_may_have_several():
    table = 'sku,images\n1,a.jpg|b.jpg\n2,\n3,\n4,\n5,img\\c.jpg\n6,"d, e.jpg"\n'
    assert [(source, fields["sku"]) for source, _, fields in read_rows(table)] == [
        ("a.jpg", 1),
        ("b.jpg", 1),
        ("img/c.jpg", 5),
        ("d, e.jpg", 6),
    ]


def test_file_names_with_url_characters_match_also_in_tables_with_tabs(folder, workers):
    write(folder, "no#1 100%.png", png(photo(8, 8)))
    write(folder, "a.tsv", "image\tname\nno#1 100%.png\tBell\nclock.jpg\tClock\n")
    found = gather_notes(list(walk([folder])), workers).notes
    assert found[folder / "no#1 100%.png"].fields == {"name": "Bell"}


def test_missing_pictures_of_a_product_table_are_reported(folder, workers):
    path = write(folder, "products.csv", PRODUCT_TABLE)
    write(folder, "a.md", "![A rope](rope.png)")
    assert gather_notes(list(walk([folder])), workers).missing == {path: ("other.jpg",)}
