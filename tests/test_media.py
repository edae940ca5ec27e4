"""Showing a place: the right page, frame and seconds, marked where the box says, and errors that name the cause."""

from __future__ import annotations

import base64
import hashlib
import os
from io import BytesIO
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image, ImageChops

from rag import media
from rag.errors import DamagedMedia, MediaError, ProtectedMedia, UnsupportedMedia
from rag.media.clips import CLIP_PX, MAX_CLIP_S
from rag.types import Box, CharSpan, FrameRegion, ImageRegion, PageBox, Source, TimeSpan
from tests.fakes.files import Page, pdf, write
from tests.fakes.media import plain, silence, texture, tone, write_audio, write_video

RED, GREEN, BLUE, WHITE = (200, 30, 30), (30, 160, 30), (30, 30, 200), (255, 255, 255)


def near(pixel: object, colour: tuple[int, int, int], within: int = 30) -> bool:
    return bool(np.abs(np.subtract(pixel, colour)).max() <= within)


def mean(picture: Image.Image) -> tuple[float, ...]:
    return tuple(np.asarray(picture).reshape(-1, 3).mean(axis=0))


def write_pdf(path: Path, *, turn: int = 0, crop: tuple[int, int, int, int] | None = None, pages: int = 1) -> Path:
    """Write pages of 400 x 600 points with a red rectangle from (100, 450) to (200, 500), from the bottom left."""
    page = Page(["0.784 0.118 0.118 rg 100 450 100 50 re f"], size=(400, 600), rotate=turn, crop=crop)
    return write(path.parent, path.name, pdf(*[page] * pages))


class TestPages:
    @pytest.mark.parametrize(
        ("turn", "crop", "box"),
        [
            (0, None, Box(0.25, 1 / 6, 0.25, 1 / 12)),
            (90, None, Box(0.75, 0.25, 1 / 12, 0.25)),
            (180, None, Box(0.5, 0.75, 0.25, 1 / 12)),
            (270, None, Box(1 / 6, 0.5, 1 / 12, 0.25)),
            (0, (50, 300, 250, 550), Box(0.25, 0.2, 0.5, 0.2)),
            (90, (50, 300, 250, 550), Box(0.6, 0.25, 0.2, 0.5)),
        ],
    )
    def test_a_box_lies_where_the_page_shows_it(
        self, tmp_path: Path, turn: int, crop: tuple[int, int, int, int] | None, box: Box
    ) -> None:
        path = write_pdf(tmp_path / "turned.pdf", turn=turn, crop=crop)
        assert near(mean(media.crop(path, PageBox(1, box))), RED, within=12)
        beside = Box(box.x, box.y + box.h + 0.02, box.w, box.h)
        assert near(mean(media.crop(path, PageBox(1, beside))), WHITE, within=12)

    def test_a_page_is_sharp_and_bounded(self, tmp_path: Path) -> None:
        path = write_pdf(tmp_path / "a.pdf")
        assert media.open_picture(path, PageBox(1)).size == (1200, 1800)
        assert media.highlight(path, PageBox(1)).width == 1200
        assert max(media.thumbnail(path, PageBox(1), 200).size) == 200

    def test_a_marked_passage_is_yellow_outlined_and_its_print_stays(self, tmp_path: Path) -> None:
        path = write_pdf(tmp_path / "a.pdf")
        marked = media.highlight(path, PageBox(1, Box(0.2, 0.1, 0.5, 0.3)))
        assert near(marked.getpixel((800, 600)), (255, 242, 176))  # white paper
        assert near(marked.getpixel((450, 370)), RED)
        assert near(marked.getpixel((100, 100)), WHITE)
        assert near(marked.getpixel((600, 175)), (201, 106, 18))

    def test_a_page_after_the_last_is_refused(self, tmp_path: Path) -> None:
        path = write_pdf(tmp_path / "short.pdf", pages=2)
        with pytest.raises(MediaError, match=r"short\.pdf .*\b2\b.*\b3\b"):
            media.open_picture(path, PageBox(3))

    def test_a_page_of_a_tiff(self, tmp_path: Path) -> None:
        path = tmp_path / "scan.tif"
        plain(RED).save(path, save_all=True, append_images=[plain(BLUE)])
        assert near(media.open_picture(path, PageBox(2)).getpixel((5, 5)), BLUE)
        with pytest.raises(MediaError, match=r"\b3\b"):
            media.open_picture(path, PageBox(3))

    def test_a_slide_has_no_picture_here(self, tmp_path: Path) -> None:
        path = tmp_path / "talk.pptx"
        path.write_bytes(b"PK\3\4 a presentation")
        with pytest.raises(UnsupportedMedia):
            media.open_picture(path, PageBox(1))

    def test_a_damaged_pdf_is_named(self, tmp_path: Path) -> None:
        path = tmp_path / "torn.pdf"
        path.write_bytes(b"%PDF-1.4\nnothing else")
        with pytest.raises(DamagedMedia, match=r"torn\.pdf"):
            media.open_picture(path, PageBox(1))


class TestPictures:
    def test_a_picture_is_turned_upright(self, tmp_path: Path) -> None:
        picture = plain(WHITE, (60, 40))
        picture.paste(RED, (0, 0, 10, 10))
        exif = Image.Exif()
        exif[0x0112] = 6
        path = tmp_path / "phone.jpg"
        picture.save(path, exif=exif, quality=95)
        shown = media.open_picture(path, ImageRegion())
        assert shown.size == (40, 60)
        assert near(shown.getpixel((36, 3)), RED)
        assert near(mean(media.crop(path, ImageRegion(Box(0.8, 0, 0.15, 0.1)))), RED)

    @pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "I;16", "F"])
    def test_every_mode_becomes_rgb(self, tmp_path: Path, mode: str) -> None:
        path = tmp_path / ("a.tif" if mode in ("CMYK", "I;16", "F") else "a.png")
        grey = Image.linear_gradient("L")
        wide = Image.fromarray(np.asarray(grey, np.uint16) * 200) if mode == "I;16" else grey.convert(mode)
        wide.save(path)
        shown = media.open_picture(path, ImageRegion())
        assert shown.mode == "RGB"
        assert shown.size == (256, 256)
        assert sorted((shown.getpixel((9, 9))[0] < 128, shown.getpixel((9, 250))[0] < 128)) == [False, True]

    def test_transparency_is_white(self, tmp_path: Path) -> None:
        path = tmp_path / "logo.png"
        Image.new("RGBA", (8, 8), (0, 0, 0, 0)).save(path)
        assert media.open_picture(path, ImageRegion()).getpixel((4, 4)) == WHITE

    def test_a_region_is_outlined_and_not_washed(self, tmp_path: Path) -> None:
        path = tmp_path / "a.png"
        plain(BLUE, (400, 300)).save(path)
        marked = media.highlight(path, ImageRegion(Box(0.25, 0.25, 0.5, 0.5)))
        assert near(marked.getpixel((200, 150)), BLUE)
        changed = ImageChops.difference(marked, plain(BLUE, (400, 300))).getbbox()
        assert changed is not None
        assert np.allclose(changed, (96, 71, 304, 229), atol=2)

    def test_a_box_at_the_edge_or_without_size_is_still_a_picture(self, tmp_path: Path) -> None:
        path = tmp_path / "a.png"
        plain(BLUE, (40, 30)).save(path)
        for box in (Box(0, 0, 1, 1), Box(1, 1, 0, 0), Box(0.999, 0.999, 1, 1)):
            assert min(media.crop(path, ImageRegion(box)).size) >= 1
            media.highlight(path, ImageRegion(box))

    def test_an_animation_by_time(self, tmp_path: Path) -> None:
        path = tmp_path / "a.gif"
        plain(RED).save(path, save_all=True, append_images=[plain(GREEN), plain(BLUE)], duration=[500, 1000, 200])
        shown = {
            at_s: media.open_picture(path, FrameRegion(at_s)).getpixel((9, 9)) for at_s in (0, 0.49, 0.5, 1.49, 1.5)
        }
        assert [near(shown[at_s], RED) for at_s in shown] == [True, True, False, False, False]
        assert near(shown[0.5], GREEN)
        assert near(shown[1.49], GREEN)
        assert near(shown[1.5], BLUE)
        with pytest.raises(MediaError, match=r"1\.7 s"):
            media.open_picture(path, FrameRegion(9))

    @pytest.mark.parametrize("content", [b"", b"\xff\xd8\xff\xe0 torn", b"just words"])
    def test_a_file_that_is_no_picture_is_damaged(self, tmp_path: Path, content: bytes) -> None:
        path = tmp_path / "a.jpg"
        path.write_bytes(content)
        with pytest.raises(DamagedMedia, match=r"a\.jpg"):
            media.open_picture(path, ImageRegion())

    def test_words_have_no_picture(self, tmp_path: Path) -> None:
        with pytest.raises(UnsupportedMedia):
            media.open_picture(tmp_path / "a.md", CharSpan(0, 5))


class TestFrames:
    @pytest.mark.parametrize(
        ("name", "codec"), [("a.mp4", "libx264"), ("a.mkv", "libx264"), ("a.avi", "mpeg4"), ("a.ts", "libx264")]
    )
    def test_the_frame_is_the_one_that_a_player_shows(self, tmp_path: Path, name: str, codec: str) -> None:
        # One key frame in all, frames between that refer to later ones, one grey level each.
        levels = [plain((20 + 7 * i,) * 3) for i in range(30)]
        options = {"g": "300", "bf": "3" if codec == "libx264" else "0", "qmax": "2"}
        path = write_video(tmp_path / name, levels, codec=codec, options=options)
        for at_s, number in ((0.0, 0), (0.05, 0), (0.1, 1), (1.0, 10), (1.099, 10), (2.35, 23), (2.9, 29), (2.99, 29)):
            found = media.open_picture(path, FrameRegion(at_s)).getpixel((50, 50))
            assert near(found, levels[number].getpixel((0, 0)), within=3), (at_s, found)

    def test_a_variable_rate(self, tmp_path: Path) -> None:
        path = write_video(tmp_path / "a.mp4", [plain(RED), plain(GREEN), plain(BLUE)], times_s=[0.0, 3.0, 3.2])
        assert near(media.open_picture(path, FrameRegion(2.99)).getpixel((9, 9)), RED)
        assert near(media.open_picture(path, FrameRegion(3.0)).getpixel((9, 9)), GREEN)

    def test_a_video_that_was_filmed_on_its_side(self, tmp_path: Path) -> None:
        picture = plain(WHITE, (320, 160))
        picture.paste(RED, (0, 0, 80, 40))
        path = tmp_path / "phone.mp4"
        with av.open(str(path), "w") as container:
            stream = container.add_stream("libx264", rate=10)
            stream.width, stream.height, stream.pix_fmt = 320, 160, "yuv420p"
            stream.set_display_rotation(-90)
            for _ in range(10):
                container.mux(stream.encode(av.VideoFrame.from_image(picture)))
            container.mux(stream.encode(None))
        shown = media.open_picture(path, FrameRegion(0.5))
        assert shown.size == (160, 320)
        assert near(shown.getpixel((150, 10)), RED)

    def test_a_frame_after_the_end_is_refused(self, tmp_path: Path) -> None:
        path = write_video(tmp_path / "a.mp4", [plain(RED)] * 20)
        with pytest.raises(MediaError, match=r"a\.mp4 .*2\.0.*9\.0"):
            media.open_picture(path, FrameRegion(9))

    def test_sound_alone_has_no_frame(self, tmp_path: Path) -> None:
        path = write_audio(tmp_path / "a.wav", tone(1))
        with pytest.raises(UnsupportedMedia):
            media.open_picture(path, TimeSpan(0, 1))

    def test_a_region_of_a_frame(self, tmp_path: Path) -> None:
        picture = plain(WHITE)
        picture.paste(RED, (160, 0, 320, 90))
        path = write_video(tmp_path / "a.mp4", [picture] * 5)
        assert near(mean(media.crop(path, FrameRegion(0.2, Box(0.55, 0.05, 0.4, 0.4)))), RED)


def decoded(data: bytes) -> tuple[list[tuple[float, Image.Image]], np.ndarray, int]:
    """Frames with their seconds, and the sound's samples with their rate."""
    with av.open(BytesIO(data)) as container:
        frames = (
            [(float(f.time or 0), f.to_image()) for f in container.decode(video=0)] if container.streams.video else []
        )
    with av.open(BytesIO(data)) as container:
        if not container.streams.audio:
            return frames, np.zeros(0), 0
        sound = [f.to_ndarray()[0] for f in container.decode(audio=0)]
        return frames, np.concatenate(sound), container.streams.audio[0].rate


class TestClips:
    def test_sound_and_pictures_stay_together(self, tmp_path: Path) -> None:
        # A flash and a tone, both at second 4.
        frames = [plain(WHITE if i >= 40 else (0, 0, 0)) for i in range(80)]
        sound = np.concatenate([silence(4), tone(4)])
        path = write_video(tmp_path / "a.mp4", frames, sound=sound, options={"g": "300"})
        shown, heard, rate = decoded(media.clip(path, TimeSpan(3.05, 6.0)))
        flash_s = next(at_s for at_s, picture in shown if picture.getpixel((9, 9))[0] > 128)
        tone_s = float(np.flatnonzero(np.abs(heard) > 0.1)[0]) / rate
        assert flash_s == pytest.approx(0.95, abs=0.01)
        assert tone_s == pytest.approx(0.95, abs=0.06)
        assert shown[0][0] == 0.0
        assert len(heard) / rate == pytest.approx(2.95, abs=0.1)

    @pytest.mark.parametrize(
        ("name", "codec"), [("a.wav", "pcm_s16le"), ("a.mp3", "libmp3lame"), ("a.flac", "flac"), ("a.ogg", "libopus")]
    )
    def test_sound_is_cut_where_it_should(self, tmp_path: Path, name: str, codec: str) -> None:
        rate = 48_000 if codec == "libopus" else 16_000
        sound = np.concatenate([silence(5), tone(0.5), silence(5)])
        sound = np.repeat(sound, rate // 16_000)
        path = write_audio(tmp_path / name, sound, codec=codec, rate=rate)
        frames, heard, found_rate = decoded(media.clip(path, TimeSpan(4, 7)))
        loud = np.flatnonzero(np.abs(heard) > 0.1) / found_rate
        assert frames == []
        assert loud[0] == pytest.approx(1.0, abs=0.08)
        assert loud[-1] == pytest.approx(1.5, abs=0.08)
        with av.open(BytesIO(media.clip(path, TimeSpan(4, 7)))) as container:
            assert container.streams.audio[0].codec_context.name == "aac"

    def test_a_clip_is_small_and_of_even_size(self, tmp_path: Path) -> None:
        path = write_video(tmp_path / "a.mkv", [texture(i, (1920, 1078)) for i in range(10)], codec="mpeg4")
        frames, _, _ = decoded(media.clip(path, TimeSpan(0, 1)))
        assert max(frames[0][1].size) == CLIP_PX
        assert [side % 2 for side in frames[0][1].size] == [0, 0]

    def test_a_clip_has_at_most_30_frames_a_second(self, tmp_path: Path) -> None:
        path = write_video(tmp_path / "fast.mp4", [texture(i % 3, (64, 48)) for i in range(120)], fps=120)
        assert len(decoded(media.clip(path, TimeSpan(0, 1)))[0]) in (30, 31)

    def test_a_long_span_is_cut(self, tmp_path: Path) -> None:
        path = write_audio(tmp_path / "long.wav", silence(200))
        with av.open(BytesIO(media.clip(path, TimeSpan(10, 190)))) as container:
            assert float(container.duration or 0) / 1e6 == pytest.approx(MAX_CLIP_S, abs=0.2)

    def test_a_small_file_that_plays_everywhere_stays_whole(self, tmp_path: Path) -> None:
        path = write_video(tmp_path / "a.mp4", [texture(1)] * 40, sound=tone(4))
        whole = media.playable(path, TimeSpan(1, 2), whole_bytes=1_000_000)
        assert (whole.data, whole.media_type, whole.start_s, whole.is_whole) == (
            path.read_bytes(),
            "video/mp4",
            0.0,
            True,
        )
        part = media.playable(path, TimeSpan(1, 2), whole_bytes=100)
        assert (part.media_type, part.start_s, part.is_whole) == ("video/mp4", 1.0, False)

    @pytest.mark.parametrize(
        ("name", "codec", "media_type", "is_whole"),
        [
            ("a.wav", "pcm_s16le", "audio/wav", True),
            ("a.mp3", "libmp3lame", "audio/mpeg", True),
            ("a.m4a", "aac", "audio/mp4", True),
            ("a.flac", "flac", "audio/mp4", False),
            ("a.aiff", "pcm_s16be", "audio/mp4", False),
        ],
    )
    def test_what_browsers_play(self, tmp_path: Path, name: str, codec: str, media_type: str, is_whole: bool) -> None:
        path = write_audio(tmp_path / name, tone(2), codec=codec)
        found = media.playable(path, TimeSpan(0, 1), whole_bytes=1_000_000)
        assert (found.media_type, found.is_whole) == (media_type, is_whole)

    def test_seconds_after_the_end_are_refused(self, tmp_path: Path) -> None:
        path = write_audio(tmp_path / "a.wav", tone(2))
        for show in (media.clip, media.waveform):
            with pytest.raises(MediaError, match=r"a\.wav .*2\.0"):
                show(path, TimeSpan(60, 70))

    def test_a_file_that_is_no_recording_is_refused(self, tmp_path: Path) -> None:
        path = tmp_path / "a.mp3"
        path.write_bytes(b"no sound at all" * 100)
        with pytest.raises(MediaError, match=r"a\.mp3"):
            media.clip(path, TimeSpan(0, 1))

    def test_a_playlist_cannot_name_other_files(self, tmp_path: Path) -> None:
        write_audio(tmp_path / "secret.wav", tone(1))
        path = tmp_path / "a.m3u8"
        path.write_text("#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nsecret.wav\n#EXT-X-ENDLIST\n")
        with pytest.raises(MediaError, match=r"a\.m3u8"):
            media.clip(path, TimeSpan(0, 1))


class TestWaveform:
    def test_bars_follow_loudness(self, tmp_path: Path) -> None:
        path = write_audio(tmp_path / "a.wav", np.concatenate([silence(1), tone(1), silence(1)]))
        picture = media.waveform(path, TimeSpan(0, 3))
        assert picture.mode == "RGBA"
        height = (np.asarray(picture)[..., 3] > 0).sum(axis=0)
        assert height[100:380].max() <= 6
        assert height[420:780].max() > 100

    def test_silence_is_a_thin_line(self, tmp_path: Path) -> None:
        path = write_audio(tmp_path / "a.wav", silence(2))
        assert (np.asarray(media.waveform(path, TimeSpan(0, 2)))[..., 3] > 0).sum(axis=0).max() <= 6


class TestFiles:
    def test_the_same_content_passes_and_another_does_not(self, tmp_path: Path) -> None:
        path = tmp_path / "a.txt"
        path.write_text("as indexed")
        asset = Source(path, hashlib.sha256(b"as indexed").hexdigest(), 10, "text/plain", "document").asset_id
        media.check_same(path, asset)
        path.write_text("changed since")
        with pytest.raises(MediaError, match=r"a\.txt"):
            media.check_same(path, asset)

    @pytest.mark.parametrize("place", [PageBox(1), ImageRegion(), FrameRegion(1), TimeSpan(0, 1)])
    def test_a_missing_file_is_named(self, tmp_path: Path, place: PageBox) -> None:
        with pytest.raises(MediaError, match=r"gone\.xyz"):
            media.open_picture(tmp_path / "gone.xyz", place)
        with pytest.raises(MediaError, match=r"gone\.xyz"):
            media.check_same(tmp_path / "gone.xyz", "x")
        with pytest.raises(MediaError, match=r"gone\.xyz"):
            media.clip(tmp_path / "gone.xyz", TimeSpan(0, 1))

    @pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
    def test_a_file_without_permission_is_protected(self, tmp_path: Path) -> None:
        path = tmp_path / "a.png"
        plain(RED).save(path)
        path.chmod(0)
        with pytest.raises(ProtectedMedia):
            media.open_picture(path, ImageRegion())


class TestText:
    def test_the_span_is_marked_and_all_is_escaped(self) -> None:
        text = "<script>alert(1)</script> the <b>answer</b> & more"
        found = media.excerpt(text, CharSpan(30, 43))
        assert found == ("&lt;script&gt;alert(1)&lt;/script&gt; the <mark>&lt;b&gt;answer&lt;/b&gt;</mark> &amp; more")

    def test_long_text_is_cut_at_spaces(self) -> None:
        text = "before " * 200 + "HERE" + " after" * 200
        found = str(media.excerpt(text, CharSpan(1400, 1404), context_chars=30))
        assert found == "… before before before before <mark>HERE</mark> after after after after …"

    @pytest.mark.parametrize(
        "span", [CharSpan(0, 0), CharSpan(-5, 3), CharSpan(8, 2), CharSpan(90, 99), CharSpan(0, 9**9)]
    )
    def test_a_span_outside_is_bounded(self, span: CharSpan) -> None:
        assert media.excerpt("a few words", span).striptags() == "a few words"

    def test_the_closest_sentence(self) -> None:
        text = "He was late. She called him David Greybeard. The rest is known."
        span = media.closest_sentence(text, "She named him David Greybeard.")
        assert text[span.start : span.end] == "She called him David Greybeard."
        assert media.closest_sentence(text, "Zebra") == CharSpan(0, 0)
        assert media.closest_sentence("", "anything") == CharSpan(0, 0)


class TestDataUri:
    def test_pictures_and_bytes(self) -> None:
        assert media.data_uri(plain(RED)).startswith("data:image/jpeg;base64,")
        assert media.data_uri(Image.new("RGBA", (2, 2))).startswith("data:image/png;base64,")
        assert media.data_uri(b"abc", "audio/wav") == "data:audio/wav;base64," + base64.b64encode(b"abc").decode()


def asset_of(file: Path) -> str:
    return Source(file, hashlib.sha256(file.read_bytes()).hexdigest(), 0, "", "image").asset_id


def test_renderings_are_made_once_and_go_with_their_asset(tmp_path):
    file = tmp_path / "ape.png"
    texture(1, (400, 300)).save(file)
    asset = asset_of(file)
    renderings = media.Renderings(tmp_path / "renderings")
    small = renderings.get(file, asset, ImageRegion(), "thumbnail")
    with Image.open(small) as picture:
        assert max(picture.size) == 320
    file.unlink()
    assert renderings.get(file, asset, ImageRegion(), "thumbnail") == small
    with pytest.raises(MediaError, match=r"ape\.png"):
        renderings.get(file, asset, ImageRegion(), "crop")
    renderings.forget(asset)
    assert not small.exists()


def test_a_file_that_has_changed_is_not_rendered_as_what_was_indexed(tmp_path):
    file = tmp_path / "ape.png"
    texture(1).save(file)
    with pytest.raises(MediaError, match=r"ape\.png"):
        media.Renderings(tmp_path / "renderings").get(file, "another", ImageRegion(), "marked")
    assert not (tmp_path / "renderings").exists()


def test_a_picture_has_no_seconds(tmp_path):
    file = tmp_path / "ape.png"
    texture(1).save(file)
    for view in ("clip", "waveform"):
        with pytest.raises(UnsupportedMedia):
            media.Renderings(tmp_path / "renderings").get(file, asset_of(file), ImageRegion(), view)
