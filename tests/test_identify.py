"""What a file is, by its content; which files lie in a folder; what is refused, and why."""

import os
import socket
import wave
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.formats.identify import UnreadablePath, identify, walk
from ingest.formats.plain import decode_text
from ingest.formats.sniff import DOCX
from rag.config import Settings
from rag.errors import DamagedMedia, MediaError, MediaTooLarge, ProtectedMedia, UnsupportedMedia
from tests.fakes.files import PROSE, docx, encrypted_office, paragraph, pdf, photo, png, write, zipped
from tests.fakes.files import Page as PdfPage


@pytest.fixture(scope="module")
def settings():
    return Settings()


def media_type(folder, settings, name, data):
    return identify(write(folder, name, data), settings).media_type


def sound():
    import io

    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setparams((1, 2, 8000, 0, "NONE", ""))
        writer.writeframes(bytes(8000))
    return file.getvalue()


def container(folder, name, *, pictures, audio=True):
    """A second of grey pictures, of silence, or of both."""
    import av
    import numpy as np

    path = folder / name
    with av.open(str(path), "w") as file:
        if pictures:
            video = file.add_stream("mpeg4", rate=5)
            video.width = video.height = 64
            video.pix_fmt = "yuv420p"
        if audio:
            track = file.add_stream("aac", rate=16000)
        for _ in range(5 if pictures else 0):
            file.mux(video.encode(av.VideoFrame.from_ndarray(np.full((64, 64, 3), 128, np.uint8))))
        if pictures:
            file.mux(video.encode(None))
        if audio:
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 16000), np.float32), format="fltp", layout="mono")
            frame.sample_rate = 16000
            file.mux(track.encode(frame))
            file.mux(track.encode(None))
    return path


@pytest.mark.parametrize(
    ("name", "data", "expected"),
    [
        ("notes.txt", PROSE, "text/plain"),
        ("README", PROSE, "text/plain"),
        ("code.py", "# A comment\n\ndef f():\n    return 1\n", "text/plain"),
        ("notes.md", PROSE, "text/markdown"),
        ("notes", "# Title\n\nSee [here](https://example.org).\n", "text/markdown"),
        ("page.txt", "<!DOCTYPE html>\n<html><body>Hi</body></html>", "text/html"),
        ("page.xml", '<?xml version="1.0"?><!DOCTYPE html><html xmlns="http://www.w3.org/1999/xhtml"/>', "text/html"),
        ("part", "<!-- hello --><div><p>Hi</p></div>", "text/html"),
        ("module.cnxml", '<document xmlns="http://cnx.rice.edu/cnxml"><title>T</title></document>', "application/xml"),
        ("book.txt", '\ufeff<?xml version="1.0"?>\n<!-- a --><book><p>Hi</p></book>', "application/xml"),
        ("drawing.xml", '<svg xmlns="http://www.w3.org/2000/svg"><text>Hi</text></svg>', "image/svg+xml"),
        ("a.json", '{"a": [1, 2]}', "application/json"),
        ("a.jsonl", '{"a": 1}\n{"a": 2}\n', "application/json"),
        ("list.txt", "[1] Weber, A. On clocks.\n[2] Another.\n", "text/plain"),
        ("table.csv", "name,age\nAda,36\n", "text/csv"),
        ("table.txt", "name;age;town\nAda;36;London\nAlan;41;Wilmslow\nEdsger;72;Nuenen\n", "text/csv"),
        ("table.tsv", "name\tage\nAda\t36\n", "text/tab-separated-values"),
        ("subtitles.vtt", "WEBVTT\n\n00:01.000 --> 00:02.000\nHi\n", "text/vtt"),
        ("subtitles.txt", "1\n00:00:01,000 --> 00:00:02,000\nHi\n", "application/x-subrip"),
        ("about-pdf.txt", "A file that begins with %PDF-1.7 is a PDF.\n", "text/plain"),
        ("starts.txt", "MZ is what Windows programs start with. ID3 is a tag. BM too.\n", "text/plain"),
        ("picture.pdf", png(photo()), "image/png"),
        ("movie.mp4", PROSE, "text/plain"),
        ("letter.jpg", pdf(PdfPage().text(72, 700, "Hello")), "application/pdf"),
        ("letter", docx(paragraph("Hello")), DOCX),
        ("sound.dat", sound(), "audio/wav"),
    ],
)
def test_kind_by_content(tmp_path, settings, name, data, expected):
    assert media_type(tmp_path, settings, name, data) == expected


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "WEBP", "TIFF", "BMP", "AVIF"])
def test_pictures_by_content(tmp_path, settings, kind):
    path = tmp_path / "file.bin"
    photo().save(path, kind)
    source = identify(path, settings)
    assert (source.media_type, source.medium) == (f"image/{kind.lower()}", "image")


@pytest.mark.parametrize(
    ("name", "pictures", "audio", "expected"),
    [
        ("both.mp4", True, True, ("video/mp4", "video")),
        ("sound.mp4", False, True, ("audio/mp4", "audio")),
        ("silent.mp4", True, False, ("video/mp4", "video")),
        ("both.mov", True, True, ("video/quicktime", "video")),
        ("both.mkv", True, True, ("video/x-matroska", "video")),
        ("sound.mkv", False, True, ("audio/x-matroska", "audio")),
        ("both.ts", True, True, ("video/mp2t", "video")),
        ("both.avi", True, True, ("video/x-msvideo", "video")),
        ("sound.aac", False, True, ("audio/aac", "audio")),
    ],
)
def test_containers_by_their_streams(tmp_path, settings, name, pictures, audio, expected):
    path = container(tmp_path, name, pictures=pictures, audio=audio)
    unnamed = path.rename(tmp_path / "noname")
    source = identify(unnamed, settings)
    assert (source.media_type, source.medium) == expected


def test_identity_comes_from_the_content(tmp_path, settings):
    first = identify(write(tmp_path, "a.txt", PROSE), settings)
    second = identify(write(tmp_path, "b.txt", PROSE), settings)
    assert first.asset_id == second.asset_id
    assert (first.title, second.title) == ("a.txt", "b.txt")
    assert first.size == len(PROSE.encode())


@pytest.mark.parametrize(
    ("name", "data", "error", "words"),
    [
        ("empty.txt", b"", DamagedMedia, None),
        ("noise.bin", bytes(range(256)) * 4, UnsupportedMedia, None),
        ("noise.pdf", bytes(range(256)) * 4, DamagedMedia, None),
        ("cut.mp4", b"\0\0\0\x18ftypisom\0\0\x02\0isomiso2" + bytes(2000), MediaError, None),
        ("old.doc", bytes.fromhex("D0CF11E0A1B11AE1") + bytes(2000), UnsupportedMedia, "2007"),
        ("locked.docx", encrypted_office(), ProtectedMedia, None),
        ("letter.rtf", "{\\rtf1 Hello}", UnsupportedMedia, "Rich Text"),
        ("base.db", b"SQLite format 3\0" + bytes(100), UnsupportedMedia, "SQLite"),
        ("tool", b"\x7fELF\x02\x01\x01" + bytes(100), UnsupportedMedia, None),
        ("box.zip", zipped({"a.txt": "Hi"}), UnsupportedMedia, None),
        ("book.epub", zipped({"mimetype": "application/epub+zip"}), UnsupportedMedia, "EPUB"),
        ("cut.docx", docx(paragraph("Hello"))[:300], DamagedMedia, None),
        ("list.m3u8", b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(50), UnsupportedMedia, "HEIC"),
    ],
)
def test_refusals_give_a_reason(tmp_path, settings, name, data, error, words):
    with pytest.raises(error, match=words):
        identify(write(tmp_path, name, data), settings)


def test_too_large(tmp_path):
    with pytest.raises(MediaTooLarge, match="EXHIBIT_MAX_FILE_MB"):
        identify(write(tmp_path, "a.txt", PROSE), Settings(max_file_mb=0.0001))


def test_paths_that_are_not_files(tmp_path, settings):
    (tmp_path / "dangling").symlink_to(tmp_path / "gone")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    os.mkfifo(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(os.path.relpath(tmp_path / "socket"))
        for name, error in (
            ("dangling", MediaError),
            ("missing", MediaError),
            ("loop", MediaError),
            ("pipe", UnsupportedMedia),
            ("socket", UnsupportedMedia),
            (".", UnsupportedMedia),
        ):
            with pytest.raises(error) as caught:
                identify(tmp_path / name, settings)
            assert type(caught.value) is error
    with pytest.raises(UnsupportedMedia):
        identify(Path("/dev/null"), settings)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_without_permission(tmp_path, settings):
    path = write(tmp_path, "a.txt", PROSE)
    path.chmod(0)
    with pytest.raises(ProtectedMedia):
        identify(path, settings)


def test_walk_is_sorted_and_leaves_out_junk(tmp_path):
    for name in (
        "b.txt",
        "a/2.txt",
        "a/1.txt",
        ".hidden",
        "a/.git/config",
        "~$a.docx",
        "__pycache__/x.pyc",
        "Thumbs.db",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        write(tmp_path, name, "x")
    found = [path.relative_to(tmp_path).as_posix() for path in walk([tmp_path])]
    assert found == ["a/1.txt", "a/2.txt", "b.txt"]


def test_walk_yields_named_paths_and_each_file_once(tmp_path):
    named = write(tmp_path, ".hidden", "x")
    (tmp_path / "a").mkdir()
    inner = write(tmp_path / "a", "1.txt", "x")
    assert list(walk([named, tmp_path / "a", inner, tmp_path / "a" / ".." / "a", tmp_path / "gone"])) == [
        named,
        inner,
        tmp_path / "gone",
    ]


def test_walk_follows_links_once(tmp_path):
    (tmp_path / "a").mkdir()
    write(tmp_path / "a", "1.txt", "x")
    (tmp_path / "a" / "up").symlink_to(tmp_path)
    (tmp_path / "b").symlink_to(tmp_path / "a")
    assert list(walk([tmp_path])) == [tmp_path / "a" / "1.txt"]


def test_walk_reports_folders_that_cannot_be_read(tmp_path):
    write(tmp_path, "z.txt", "x")
    deep = tmp_path
    while len(str(deep)) < os.pathconf(tmp_path, "PC_PATH_MAX") - 200:  # also root cannot open a longer path
        deep = deep / ("d" * 100)
    os.makedirs(deep)
    descriptor = os.open(deep, os.O_RDONLY)
    for _ in range(3):
        os.mkdir("e" * 100, dir_fd=descriptor)
        inner = os.open("e" * 100, os.O_RDONLY, dir_fd=descriptor)
        os.close(descriptor)
        descriptor = inner
    os.close(descriptor)
    *unreadable, last = walk([tmp_path])
    assert last == tmp_path / "z.txt"
    assert len(unreadable) == 1
    assert isinstance(unreadable[0], UnreadablePath)
    assert not isinstance(unreadable[0], Path)


@given(
    st.text(st.characters(codec="utf-8", exclude_characters="\x00\r\ufeff")), st.sampled_from(["utf-8", "utf-8-sig"])
)
def test_decode_text_reproduces_utf8(text, encoding):
    assert decode_text(text.encode(encoding)) == text


@given(st.binary(max_size=300))
def test_decode_text_never_fails(data):
    assert "\x00" not in decode_text(data)


@pytest.mark.parametrize(
    ("encoding", "text"),
    [
        ("utf-16", "Größe: 5 µm. Der Turm steht seit langem.\n" * 5),
        ("utf-16-le", "Größe: 5 µm. Der Turm steht seit langem.\n" * 5),
        ("utf-16-be", "The tower has stood here for long.\n" * 5),
        ("utf-32", "Der Turm.\n"),
        ("cp1252", "Die Größe des Turms über der Straße ist „schön“ und für alle da.\n" * 5),
        ("cp1252", "Jalapeños y piña\n"),
        ("cp1252", "Crème brûlée à la façon de grand-mère\n"),
        ("cp1252", "Smörgåsbord på svenska, äpplen och öl\n"),
        ("cp1252", "Rødgrød med fløde\n"),
        ("cp1252", "kettle;12,50 €\nlamp;7 €\n"),
        ("cp1252", "kettle,£12\n“lamp”,the shop’s – 4 × £7\n"),
        ("cp437", "Grüße aus München, schöne Äpfel\n"),
        ("cp1250", "Vážení přátelé, dovolte mi, abych vám poděkoval za účast.\n"),
        ("cp1250", "Żółty ser i śledź\n"),
        ("cp1251", "Башенные часы города построила мастер Анна Вебер весной того года.\n" * 5),
        ("shift_jis", "町の塔時計はその年の春に作られました。時計には針が一本あります。\n" * 5),
    ],
)
def test_other_encodings_are_text(tmp_path, settings, encoding, text):
    path = write(tmp_path, "a.txt", text.encode(encoding))
    assert identify(path, settings).media_type == "text/plain"
    assert decode_text(path.read_bytes()) == text


def test_declared_encoding_counts():
    text = '<?xml version="1.0" encoding="iso-8859-2"?><a>Łódź</a>'
    assert decode_text(text.encode("iso-8859-2")) == text
