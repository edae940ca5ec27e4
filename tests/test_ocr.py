"""Text in pictures, read by the real models of the RapidOCR wheel, with sockets blocked."""

import logging

import pytest
from PIL import Image

from tests.fakes.files import photo, sign


def test_lines_with_boxes_and_confidence(ocr):
    first, second = ocr.read(sign("OPENING HOURS", "Monday to Friday", size=40, width=900))
    assert (first.text, second.text) == ("OPENING HOURS", "Monday to Friday")
    assert first.box.y + first.box.h < second.box.y + 0.05
    assert first.box.x == pytest.approx(40 / 900, abs=0.02)
    assert 0.3 < first.box.w < 0.45
    assert min(first.confidence, second.confidence) > 0.9


def test_a_picture_without_text_has_no_lines(ocr):
    assert ocr.read(photo()) == []
    assert ocr.read(Image.new("RGB", (3000, 5), "white")) == []


def test_size_is_bounded_and_boxes_stay_fractions(ocr):
    small = sign("THE BELL", size=60, width=600)
    large = small.resize((small.width * 8, small.height * 8))
    for image in (small, large):
        (line,) = ocr.read(image)
        assert line.text == "THE BELL"
        assert line.box.x == pytest.approx(0.1, abs=0.03)


def test_columns_are_read_one_after_the_other(ocr):
    page = Image.new("RGB", (1200, 700), "white")
    page.paste(
        sign("The clock of the", "town has one hand", "and it strikes", "every quarter", size=28, width=500), (20, 20)
    )
    page.paste(
        sign("Every morning the", "keeper climbs the", "stairs to wind it", "with a crank", size=28, width=500),
        (640, 20),
    )
    words = " ".join(line.text for line in ocr.read(page))
    assert words == (
        "The clock of the town has one hand and it strikes every quarter "
        "Every morning the keeper climbs the stairs to wind it with a crank"
    )


def test_it_is_silent(ocr, capfd, caplog):
    with caplog.at_level(logging.DEBUG):
        ocr.read(photo())
        ocr.read(sign("HELLO"))
    assert capfd.readouterr() == ("", "")
