"""Find the media type of a file by its content; its name only settles what the content leaves open.

Magic numbers come from the formats' own specifications. Containers that may hold sound, pictures or both (MP4,
Matroska, Ogg, ...) are opened with PyAV, because only their headers show which.
"""

from __future__ import annotations

import re
import zipfile
from pathlib import Path

from ingest.formats.plain import is_text, text_media_type
from rag.errors import DamagedMedia, ProtectedMedia, UnsupportedMedia
from rag.media.opening import open_av, picture_stream, sound_stream

HEAD_BYTES = 64 * 1024

DOCX = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
PPTX = "application/vnd.openxmlformats-officedocument.presentationml.presentation"
XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
PDF = "application/pdf"

_PICTURES = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"II*\x00", "image/tiff"),
    (b"MM\x00*", "image/tiff"),
    (b"II+\x00", "image/tiff"),
    (b"MM\x00+", "image/tiff"),
)
_SOUNDS = (
    (b"fLaC", "audio/flac"),
    (b"ID3\x02", "audio/mpeg"),
    (b"ID3\x03", "audio/mpeg"),
    (b"ID3\x04", "audio/mpeg"),
    (b"wvpk", "audio/x-wavpack"),
    (b"#!AMR", "audio/amr"),
    (b"caff\x00\x01", "audio/x-caf"),
    (b".snd\x00", "audio/basic"),
    (b"\x0bw", "audio/ac3"),
)
# First bytes, type with moving pictures, type with sound alone.
_CONTAINERS = (
    (b"\x1aE\xdf\xa3", "video/x-matroska", "audio/x-matroska"),
    (b"OggS", "video/ogg", "audio/ogg"),
    (b"0&\xb2u\x8ef\xcf\x11", "video/x-ms-asf", "audio/x-ms-wma"),
    (b"FLV\x01", "video/x-flv", "audio/x-flv"),
    (b"\x00\x00\x01\xba", "video/mpeg", "audio/mpeg"),
    (b"\x00\x00\x01\xb3", "video/mpeg", "audio/mpeg"),
    (b".RMF\x00", "video/vnd.rn-realvideo", "audio/vnd.rn-realaudio"),
)
_OFFICE_PARTS = (("word/", DOCX), ("ppt/", PPTX), ("xl/", XLSX))
_UNSUPPORTED = (
    (b"8BPS", "a Photoshop file; export it as PNG"),
    (b"SQLite format 3\x00", "an SQLite database"),
    (b"\x7fELF", "a program (ELF)"),
    (b"MZ", "a Windows program"),
    (b"\x1f\x8b", "a gzip archive; unpack it"),
    (b"BZh", "a bzip2 archive; unpack it"),
    (b"\xfd7zXZ", "an xz archive; unpack it"),
    (b"7z\xbc\xaf", "a 7-Zip archive; unpack it"),
    (b"Rar!", "a RAR archive; unpack it"),
    (b"\x28\xb5\x2f\xfd", "a Zstandard archive; unpack it"),
    (b"MThd", "a MIDI score; render it to sound"),
    (b"FWS", "a Flash file"),
    (b"CWS", "a Flash file"),
    (b"\x93NUMPY", "a NumPy array"),
    (b"\x89HDF", "an HDF5 file"),
    (b"PAR1", "a Parquet table; save it as CSV"),
    (b"GGUF", "model weights (GGUF)"),
    (b"\x00asm", "WebAssembly"),
    (b"\xca\xfe\xba\xbe", "compiled code"),
    (b"wOF", "a font"),
    (b"\x00\x01\x00\x00\x00", "a font"),
    (b"OTTO", "a font"),
    (b"\x00\x00\x01\x00", "an icon file"),
)
PICTURE_SUFFIX = re.compile(r"\.(?:png|jpe?g|gif|webp|tiff?|bmp|avif)", re.I)
_NAMED_LIKE_MEDIA = re.compile(
    r"\.(pdf|docx|pptx|xlsx|png|jpe?g|gif|webp|tiff?|bmp|avif|wav|mp3|og[gav]|opus|flac|m4[av]|aac|aiff?|mp4|mov|webm|mkv|"
    r"avi|ts|mpe?g|wmv)"
)


def media_type_of(path: Path, head: bytes) -> str:
    """Return the IANA media type of a file, given its first `HEAD_BYTES`.

    Raises:
        UnsupportedMedia: no reader takes it; the message names what it looks like.
        DamagedMedia: the headers of a container cannot be read, or it is noise under the name of a known format.
        ProtectedMedia: it is an office document that is encrypted as a whole.
    """
    found = _picture_type(head) or _sound_type(head) or _container_type(path, head) or _document_type(path, head)
    if found:
        return found
    if head.startswith(b"{\\rtf"):
        raise UnsupportedMedia("It looks like Rich Text; save it as DOCX or PDF.")
    found = text_media_type(head, path.suffix.lower())
    if found:
        return found
    raise _refusal(path, head)


def _refusal(path: Path, head: bytes) -> DamagedMedia | UnsupportedMedia:
    looks_like = next((name for magic, name in _UNSUPPORTED if head.startswith(magic)), "")
    if head[257:262] == b"ustar":
        looks_like = "a tar archive; unpack it"
    if looks_like:
        return UnsupportedMedia(f"Unsupported format. It looks like {looks_like}.")
    if _NAMED_LIKE_MEDIA.fullmatch(path.suffix.lower()):
        return DamagedMedia(
            f"Its name ends in {path.suffix}, but its content is something else; it is damaged or mislabelled."
        )
    return UnsupportedMedia(f"It is binary data of an unknown kind (it starts with {head[:8].hex(' ')}).")


def _picture_type(head: bytes) -> str | None:
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return "image/webp"
    # Texts often start with "BM"; in a bitmap, a size and two zeros follow.
    if head.startswith(b"BM") and head[6:10] == b"\0\0\0\0" and len(head) > 26:
        return "image/bmp"
    if head[4:8] == b"ftyp":
        brands = head[8 : min(int.from_bytes(head[:4], "big"), 256)]
        if b"avif" in brands or b"avis" in brands:
            return "image/avif"
        if brands[:4] in (b"heic", b"heix", b"hevc", b"mif1", b"msf1"):
            raise UnsupportedMedia("It looks like a HEIC picture; save it as JPEG or AVIF.")
    return next((kind for magic, kind in _PICTURES if head.startswith(magic)), None)


def _sound_type(head: bytes) -> str | None:
    if head.startswith((b"RIFF", b"RF64")) and head[8:12] == b"WAVE":
        return "audio/wav"
    if head.startswith(b"FORM") and head[8:12] in (b"AIFF", b"AIFC"):
        return "audio/aiff"
    if _has_mpeg_frames(head):
        return "audio/mpeg"
    if _has_adts_frames(head):
        return "audio/aac"
    return next((kind for magic, kind in _SOUNDS if head.startswith(magic)), None)


def _has_mpeg_frames(head: bytes) -> bool:
    """Return whether an MPEG audio frame starts here and another follows at its end (ISO 11172-3, 2.4.1.3)."""
    length = _mpeg_frame_bytes(head[:4])
    return bool(length) and (len(head) <= length or _mpeg_frame_bytes(head[length : length + 4]) > 0)


def _mpeg_frame_bytes(header: bytes) -> int:
    if len(header) < 4 or header[0] != 0xFF or header[1] & 0xE0 != 0xE0:
        return 0
    version, layer = header[1] >> 3 & 3, header[1] >> 1 & 3
    rate_index, sample_index, padding = header[2] >> 4, header[2] >> 2 & 3, header[2] >> 1 & 1
    if version == 1 or layer != 1 or rate_index in (0, 15) or sample_index == 3:  # layer III only, as in .mp3
        return 0
    rates_v1 = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
    rates_v2 = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
    sample_hz = (44100, 48000, 32000)[sample_index] >> {3: 0, 2: 1, 0: 2}[version]
    if version == 3:
        return 144 * rates_v1[rate_index] * 1000 // sample_hz + padding
    return 72 * rates_v2[rate_index] * 1000 // sample_hz + padding


def _has_adts_frames(head: bytes) -> bool:
    """Return whether an AAC frame with an ADTS header starts here and another follows (ISO 13818-7, 6.2)."""
    if len(head) < 7 or head[0] != 0xFF or head[1] & 0xF6 != 0xF0:
        return False
    length = (head[3] & 3) << 11 | head[4] << 3 | head[5] >> 5
    following = head[length : length + 2]
    return length > 7 and (len(following) < 2 or (following[0] == 0xFF and following[1] & 0xF6 == 0xF0))


def _container_type(path: Path, head: bytes) -> str | None:
    kinds = _container_types(head)
    if kinds is None:
        return None
    with_pictures, sound_only = kinds
    return with_pictures if _has_moving_pictures(path) else sound_only


def _container_types(head: bytes) -> tuple[str, str] | None:
    if head[4:8] in (b"ftyp", b"moov", b"mdat", b"wide", b"free") and head[:1] == b"\0":
        brand = head[8:12] if head[4:8] == b"ftyp" else b"qt  "
        kind = {b"qt": "quicktime", b"3g": "3gpp"}.get(brand[:2], "mp4")
        return f"video/{kind}", "audio/3gpp" if kind == "3gpp" else "audio/mp4"
    if head.startswith(b"RIFF") and head[8:12] == b"AVI ":
        return "video/x-msvideo", "audio/x-msvideo"
    if len(head) > 376 and head[0] == head[188] == head[376] == 0x47:
        return "video/mp2t", "audio/mp2t"
    if head.startswith(b"\x1aE\xdf\xa3") and b"webm" in head[:64]:
        return "video/webm", "audio/webm"
    return next(((video, audio) for magic, video, audio in _CONTAINERS if head.startswith(magic)), None)


def _has_moving_pictures(path: Path) -> bool:
    with open_av(path) as container:
        if picture_stream(container) is not None:
            return True
        if sound_stream(container) is None:
            raise UnsupportedMedia(
                "It is a media container without readable sound or pictures; convert it to MP4 (H.264, AAC)."
            )
        return False


def _document_type(path: Path, head: bytes) -> str | None:
    # Readers accept a PDF header within the first 1,024 bytes (ISO 32000-1, annex H, note 13).
    if b"%PDF-" in head[:1024] and (head.lstrip().startswith(b"%PDF-") or not is_text(head)):
        return PDF
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return _office_type(path)
    if head.startswith(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"):
        if "EncryptedPackage".encode("utf-16-le") in _directory_sectors(path, head):
            raise ProtectedMedia("It is an office document with a password; save a copy without one.")
        raise UnsupportedMedia("It looks like an Office file from before 2007; save it as DOCX, PPTX, XLSX or PDF.")
    return None


def _directory_sectors(path: Path, head: bytes) -> bytes:
    """Return the start of a compound file's directory, which holds the names of its streams ([MS-CFB] 2.2 and 2.6)."""
    sector_bytes = 1 << min(int.from_bytes(head[30:32], "little"), 12)
    first = int.from_bytes(head[48:52], "little")
    with path.open("rb") as file:
        file.seek((first + 1) * sector_bytes)
        return file.read(4096)


def _office_type(path: Path) -> str:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, NotImplementedError, ValueError) as error:
        raise DamagedMedia(f"It starts like a ZIP file but cannot be opened ({error}); it is truncated.") from error
    if "[Content_Types].xml" in names:
        for folder, media_type in _OFFICE_PARTS:
            if any(name.startswith(folder) for name in names):
                return media_type
    if "mimetype" in names:
        raise UnsupportedMedia("It looks like an OpenDocument or EPUB file; save it as DOCX, PPTX, XLSX, HTML or PDF.")
    raise UnsupportedMedia("It looks like a ZIP archive; unpack it and add the files in it.")
