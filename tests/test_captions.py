"""Captions of picture files from the documents and sidecar files beside them."""

import json

import pytest

from ingest.captions import gather
from ingest.load import walk
from tests.fakes.files import photo, png, write


@pytest.fixture
def folder(tmp_path):
    for name in ("clock.jpg", "media/bell.png", "media/rope 1.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        write(tmp_path, name, png(photo(8, 8)))
    return tmp_path


def captions(folder):
    found = gather(list(walk([folder])))
    return {path.relative_to(folder).as_posix(): list(words) for path, words in found.items()}


def test_markdown(folder):
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


def test_html(folder):
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
def test_xml_of_several_kinds(folder, words):
    write(folder, "a.xml", words.format("clock.jpg"))
    assert sorted(captions(folder)["clock.jpg"]) == ["A clock", "Of the town"]


def test_sidecar_files(folder):
    write(folder, "clock.txt", "A clock\nby night\n")
    write(folder, "clock.jpg.json", json.dumps({"title": "clock.jpg", "description": "One hand", "views": 3}))
    write(
        folder / "media",
        "bell.xmp",
        '<x xmlns:dc="http://purl.org/dc/elements/1.1/"><dc:description>A bell</dc:description></x>',
    )
    write(folder / "media", "rope 1.txt", "A log\n" * 10_000)
    assert captions(folder) == {"clock.jpg": ["One hand", "A clock by night"], "media/bell.png": ["A bell"]}


def test_a_converted_picture_is_still_the_one_that_was_meant(folder):
    write(folder, "a.md", "![A clock](clock.png)")
    assert captions(folder) == {"clock.jpg": ["A clock"]}


def test_only_given_files_are_led_to(folder):
    (folder / "inner").mkdir()
    write(
        folder / "inner",
        "a.md",
        "![x](../clock.jpg) ![y](/etc/a.png) ![z](https://example.org/clock.jpg) ![w](//h/b.png)",
    )
    assert gather(list(walk([folder / "inner"]))) == {}
    assert gather([*walk([folder / "inner"]), folder / "media" / "bell.png"]) == {}


def test_bounded_and_unbroken_by_bad_documents(folder):
    write(folder, "a.md", "\n\n".join(f"![{'clock ' * 500}{n}](clock.jpg)" for n in range(50)))
    write(folder, "b.xml", "<figure><image src='clock.jpg'>")
    write(folder, "c.html", b"\xff\xfe<img src='clock.jpg'")
    write(folder, "clock.xmp", "<broken")
    write(folder, "clock.json", "[1")
    (folder / "d.md").symlink_to(folder / "gone")
    (words,) = captions(folder).values()
    assert len(words) == 1
    assert len(words[0]) == 1000
