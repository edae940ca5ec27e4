"""Opening and decoding for ingest, encoders and showing alike: threads, damage, and one rule for colours."""

from __future__ import annotations

import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event

import numpy as np
import pytest
from PIL import Image

from rag import media
from rag.errors import MediaTooLarge
from rag.media.opening import MAX_PIXELS, open_av, open_image, open_pdf, picture_stream, rgb
from rag.types import ImageRegion
from tests.fakes.files import Page, huge_png, pdf, photo, png, write
from tests.fakes.media import texture, tone, write_video


def undecodable(folder: Path) -> Path:
    """A film whose pictures are in a codec that nobody knows."""
    path = write_video(folder / "a.mkv", [texture(1)] * 5, codec="mpeg4", sound=tone(0.5))
    path.write_bytes(path.read_bytes().replace(b"V_MPEG4/ISO/ASP", b"V_NOBODYS/CODEC"))
    return path


class TestThreads:
    def test_pdfium_works_for_one_thread_at_a_time(self, tmp_path: Path) -> None:
        path = write(tmp_path, "a.pdf", pdf(Page().text(72, 700, "One thread at a time")))
        entered = Event()

        def enter() -> None:
            with open_pdf(path):
                entered.set()

        with ThreadPoolExecutor(1) as pool:
            with open_pdf(path), open_pdf(path):  # a thread may open two
                pool.submit(enter)
                assert not entered.wait(0.2)
            assert entered.wait(5)

    def test_opening_changes_no_global_state(self, tmp_path: Path) -> None:
        before = Image.MAX_IMAGE_PIXELS, list(warnings.filters)
        with open_image(write(tmp_path, "a.png", png(photo())), MAX_PIXELS):
            assert (Image.MAX_IMAGE_PIXELS, list(warnings.filters)) == before


def test_a_decompression_bomb_is_too_large(tmp_path: Path) -> None:
    path = write(tmp_path, "big.png", huge_png(60_000, 60_000))
    with pytest.raises(MediaTooLarge, match=r"big\.png .*178,956,970"):
        media.open_picture(path, ImageRegion())


def test_a_video_with_an_unknown_codec_has_no_picture_stream(tmp_path: Path) -> None:
    with open_av(undecodable(tmp_path)) as container:
        assert container.streams.video
        assert picture_stream(container) is None


class TestDeepGreys:
    @pytest.mark.parametrize(
        ("values", "expected"),
        [
            (np.array([[0, 100, 200]], np.uint16), [0, 100, 200]),  # 8 bits in a deeper file
            (np.array([[0, 100, 200]], np.int32), [0, 100, 200]),
            (np.array([[0, 100, 200]], np.float32), [0, 100, 200]),
            (np.array([[0.0, 0.2, 0.4]], np.float32), [0, 51, 102]),
            (np.array([[2570, 25700, 51400]], np.uint16), [10, 100, 200]),  # 16 bits
            (np.array([[0, 2048, 4095]], np.uint16), [0, 128, 255]),  # an X-ray of 12 bits
            (np.array([[-400.0, 800.0, 2000.0, np.nan, np.inf]], np.float32), [0, 128, 255, 0, 255]),  # heights
        ],
    )
    def test_full_8_and_16_bits_keep_their_shades_and_others_are_stretched(
        self, tmp_path: Path, values: np.ndarray, expected: list[int]
    ) -> None:
        image = Image.fromarray(values)
        image.save(tmp_path / "a.tif")
        for seen in (rgb(image), media.open_picture(tmp_path / "a.tif", ImageRegion())):
            assert [seen.getpixel((x, 0)) for x in range(len(expected))] == [(grey,) * 3 for grey in expected]
