"""Read the metadata of picture files: captions, time, place and camera."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from PIL import ExifTags, Image, IptcImagePlugin

from ingest.document.markup import parse_xml
from ingest.formats.plain import decode_text
from rag.errors import DamagedMedia
from rag.media.opening import exif
from rag.query.filters import timestamp_s
from rag.types import Scalar

_CAPTION_CHARS = 1000
_XMP_BYTES = 200_000
_PNG_KEYWORDS = ("Title", "Description")  # of the keywords that PNG, 11.3.4.2, registers
_IPTC_TITLE, _IPTC_CAPTION = (2, 5), (2, 120)
_XP_TAGS = (0x9C9B, 0x9C9C, 0x9C9F)  # Windows: title, comment, subject, in UTF-16
# What cameras and programs write there automatically.
_BOILERPLATE = re.compile(
    r"(?:OLYMPUS |MINOLTA |KODAK )?DIGITAL (?:STILL )?CAMERA|SONY DSC|SAMSUNG CAMERA PICTURES|Exif_JPEG_\w+|"
    r"(?:DSC|IMG|DCIM|P)[\W_]?\d+(?:\.\w+)?|Screenshot|Created with \w+|Untitled[\W\d]*|default|[\W\d_]*",
    re.I,
)
_UNSET = ("1904-01-0", "1970-01-01")  # where QuickTime and Unix begin to count
_ISO_6709 = re.compile(r"([+-]\d{1,2}(?:\.\d{1,8})?)([+-]\d{1,3}(?:\.\d{1,8})?)")
_DC = "{http://purl.org/dc/elements/1.1/}"


def embedded_captions(image: Image.Image) -> list[str]:
    """Return the captions inside the file: EXIF, XMP (Dublin Core), IPTC and PNG text, without repetitions."""
    found: dict[str, None] = {}
    for words in (*_png_captions(image), *_exif_captions(image), *_xmp_captions(image), *_iptc_captions(image)):
        caption = " ".join(words.replace("\x00", " ").split())[:_CAPTION_CHARS]
        if caption and not _BOILERPLATE.fullmatch(caption):
            found[caption] = None
    return list(found)


def capture_fields(image: Image.Image) -> dict[str, Scalar]:
    """Return fields to filter on: `capture_time_fields`, ``camera``, ``lat`` and ``lon`` in degrees."""
    tags = exif(image)
    details = tags.get_ifd(ExifTags.IFD.Exif)
    known = capture_time_fields(
        _exif_time(details.get(ExifTags.Base.DateTimeOriginal) or tags.get(ExifTags.Base.DateTime))
    )
    maker, model = (_text(tags.get(tag)) for tag in (ExifTags.Base.Make, ExifTags.Base.Model))
    camera = model if model.lower().startswith(maker.lower()) else f"{maker} {model}".strip()
    if camera:
        known["camera"] = camera
    place = _gps_position(tags.get_ifd(ExifTags.IFD.GPSInfo))
    if place:
        known["lat"], known["lon"] = place
    return known


def capture_time_fields(time: str) -> dict[str, Scalar]:
    """Return ``taken`` (ISO 8601 by the camera's own clock) and ``taken_s`` (the same in seconds, as if it were UTC).

    Return nothing for a clock that was never set: EXIF's zeros, and the first days of QuickTime's and Unix's count.
    """
    at_s = timestamp_s(time)
    if at_s is None or time.startswith(_UNSET):
        return {}
    return {"taken": time, "taken_s": at_s}


def parse_position(text: str) -> tuple[float, float] | None:
    """Parse latitude and longitude in ISO 6709, as phones write it into videos: ``+48.8577+002.2950+035/``."""
    found = _ISO_6709.match(text)
    return _valid_position(float(found[1]), float(found[2])) if found else None


def _exif_captions(image: Image.Image) -> Iterator[str]:
    tags = exif(image)
    yield _text(tags.get(ExifTags.Base.ImageDescription))
    for tag in _XP_TAGS:
        value = tags.get(tag)
        if isinstance(value, bytes):
            yield value.decode("utf-16-le", errors="ignore")


def _xmp_captions(image: Image.Image) -> Iterator[str]:
    packet = image.info.get("xmp") or image.info.get("XML:com.adobe.xmp") or b""
    packet = packet.encode() if isinstance(packet, str) else bytes(packet)
    if not packet or len(packet) > _XMP_BYTES:
        return
    try:
        root = parse_xml(decode_text(packet.strip(b"\x00 \n")))
    except DamagedMedia:
        return  # a broken packet costs the caption, not the picture
    for name in ("title", "description"):
        for element in root.iter(f"{_DC}{name}"):
            yield " ".join("".join(element.itertext()).split())


def _iptc_captions(image: Image.Image) -> Iterator[str]:
    fields = IptcImagePlugin.getiptcinfo(image) or {}  # type: ignore[arg-type]
    for key in (_IPTC_TITLE, _IPTC_CAPTION):
        value: Any = fields.get(key)
        for data in value if isinstance(value, list) else [value]:
            if isinstance(data, bytes):
                yield decode_text(data)


def _png_captions(image: Image.Image) -> Iterator[str]:
    texts = getattr(image, "text", {})
    for keyword in _PNG_KEYWORDS:
        if keyword in texts:
            yield str(texts[keyword])


def _text(value: Any) -> str:
    words = decode_text(value) if isinstance(value, bytes) else value if isinstance(value, str) else ""
    return " ".join(words.replace("\x00", " ").split())[:_CAPTION_CHARS]


def _exif_time(value: Any) -> str:
    try:
        return datetime.strptime(_text(value)[:19], "%Y:%m:%d %H:%M:%S").isoformat()
    except ValueError:
        return ""


def _gps_position(gps: dict[int, Any]) -> tuple[float, float] | None:
    lat = _degrees(gps.get(ExifTags.GPS.GPSLatitude), gps.get(ExifTags.GPS.GPSLatitudeRef), "S")
    lon = _degrees(gps.get(ExifTags.GPS.GPSLongitude), gps.get(ExifTags.GPS.GPSLongitudeRef), "W")
    return None if lat is None or lon is None else _valid_position(lat, lon)


def _valid_position(lat: float, lon: float) -> tuple[float, float] | None:
    """Return the position; None if it is outside the valid range, or if zeros stand for an unknown place."""
    return None if abs(lat) > 90 or abs(lon) > 180 or lat == lon == 0 else (lat, lon)


def _degrees(parts: Any, side: Any, negative: str) -> float | None:
    try:
        degrees, minutes, seconds = (float(part) for part in parts)
    except (TypeError, ValueError, ZeroDivisionError):
        return None
    value = degrees + minutes / 60 + seconds / 3600
    if value != value:
        return None
    return round(-value if _text(side).upper().startswith(negative) else value, 6)
