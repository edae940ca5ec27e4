"""Tiny files of many formats, written byte by byte so that a test says exactly what is in them."""

from __future__ import annotations

import hashlib
import io
import struct
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

PROSE = (
    "The tower clock of the town was built by a locksmith named Anna Weber in the spring of that year. "
    "It has one hand and strikes every quarter of an hour, day and night, in rain and in snow. "
    "Every morning the keeper climbs the stairs to wind it with a crank of iron. "
    "The weights hang on ropes of hemp that are replaced whenever a strand has broken. "
)


def png(image: Image.Image, **options: object) -> bytes:
    """Return a picture as the bytes of a PNG."""
    file = io.BytesIO()
    image.save(file, "PNG", **options)
    return file.getvalue()


def photo(width: int = 320, height: int = 240) -> Image.Image:
    """Draw a landscape without text."""
    image = Image.new("RGB", (width, height), (120, 170, 230))
    draw = ImageDraw.Draw(image)
    draw.rectangle((0, height * 2 // 3, width, height), fill=(60, 130, 50))
    draw.ellipse((width // 2, height // 4, width // 2 + height // 3, height // 4 + height // 3), fill=(250, 220, 90))
    return image


def sign(*lines: str, size: int = 40, width: int = 900) -> Image.Image:
    """Draw black words on white."""
    image = Image.new("RGB", (width, int((len(lines) + 1) * size * 1.5)), "white")
    draw = ImageDraw.Draw(image)
    font = ImageFont.load_default(size)
    for number, line in enumerate(lines):
        draw.text((size, size * (0.6 + 1.5 * number)), line, fill="black", font=font)
    return image


def huge_png(width: int, height: int) -> bytes:
    """Return a PNG with a valid header of any size and hardly any pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    data = zlib.compress(bytes(100_000))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


@dataclass
class Page:
    """A page of a PDF: drawing operators in points from the bottom left, and pictures with their place."""

    operators: list[str] = field(default_factory=list)
    pictures: list[tuple[Image.Image, tuple[float, float, float, float]]] = field(default_factory=list)
    size: tuple[int, int] = (612, 792)
    rotate: int = 0
    crop: tuple[int, int, int, int] | None = None

    def text(self, x: float, y: float, words: str, size: float = 11, bold: bool = False) -> Page:
        """Write a line whose baseline starts at a point."""
        escaped = words.replace("\\", "\\\\").replace("(", "\\(").replace(")", "\\)")
        self.operators.append(f"BT /F{2 if bold else 1} {size} Tf {x} {y} Td ({escaped}) Tj ET")
        return self

    def paragraph(self, x: float, y: float, lines: Sequence[str], size: float = 11) -> Page:
        """Write lines below each other."""
        for number, line in enumerate(lines):
            self.text(x, y - number * size * 1.2, line, size)
        return self

    def picture(self, image: Image.Image, x: float, y: float, width: float, height: float) -> Page:
        """Show a picture in a rectangle."""
        self.pictures.append((image, (x, y, width, height)))
        return self


def pdf(*pages: Page, user_password: str | None = None) -> bytes:
    """Return a PDF; with a password, which may be empty, it is encrypted by RC4 with 40 bits, revision 2."""
    objects: list[tuple[bytes, bytes | None]] = [(b"", None)]  # object 0 does not exist

    def add(head: str, stream: bytes | None = None) -> int:
        objects.append((head.encode("latin-1"), stream))
        return len(objects) - 1

    fonts = [add(f"<</Type/Font/Subtype/Type1/BaseFont/{name}>>") for name in ("Helvetica", "Helvetica-Bold")]
    pages_number = len(objects)
    objects.append((b"", None))
    kids = [_add_page(add, page, fonts, pages_number) for page in pages]
    listing = " ".join(f"{kid} 0 R" for kid in kids)
    objects[pages_number] = (f"<</Type/Pages/Kids[{listing}]/Count {len(kids)}>>".encode(), None)
    root = add(f"<</Type/Catalog/Pages {pages_number} 0 R>>")
    return _assembled(objects, root, user_password)


def _add_page(add, page: Page, fonts: list[int], parent: int) -> int:
    names, operators = [], list(page.operators)
    for image, (x, y, width, height) in page.pictures:
        data = zlib.compress(image.convert("RGB").tobytes())
        number = add(
            f"<</Type/XObject/Subtype/Image/Width {image.width}/Height {image.height}/ColorSpace/DeviceRGB"
            f"/BitsPerComponent 8/Filter/FlateDecode/Length {len(data)}>>",
            data,
        )
        names.append(f"/X{number} {number} 0 R")
        operators.append(f"q {width} 0 0 {height} {x} {y} cm /X{number} Do Q")
    content = "\n".join(operators).encode("latin-1")
    stream = add(f"<</Length {len(content)}>>", content)
    crop = f"/CropBox[{' '.join(map(str, page.crop))}]" if page.crop else ""
    return add(
        f"<</Type/Page/Parent {parent} 0 R/MediaBox[0 0 {page.size[0]} {page.size[1]}]{crop}/Rotate {page.rotate}"
        f"/Resources<</Font<</F1 {fonts[0]} 0 R/F2 {fonts[1]} 0 R>>/XObject<<{' '.join(names)}>>>>"
        f"/Contents {stream} 0 R>>"
    )


def _assembled(objects: list[tuple[bytes, bytes | None]], root: int, password: str | None) -> bytes:
    identity = b"0123456789abcdef"
    key, encryption = _encryption(password, identity) if password is not None else (None, b"")
    out = bytearray(b"%PDF-1.4\n")
    places = []
    for number, (head, stream) in enumerate(objects[1:], start=1):
        places.append(len(out))
        out += b"%d 0 obj" % number + head
        if stream is not None:
            if key is not None:
                stream = _rc4(hashlib.md5(key + struct.pack("<I", number)[:3] + b"\0\0").digest()[:10], stream)
            out += b"stream\n" + stream + b"\nendstream"
        out += b"\nendobj\n"
    start = len(out)
    out += b"xref\n0 %d\n0000000000 65535 f \n" % len(objects)
    out += b"".join(b"%010d 00000 n \n" % place for place in places)
    out += b"trailer<</Size %d/Root %d 0 R/ID[<%s><%s>]%s>>\n" % (
        len(objects),
        root,
        identity.hex().encode(),
        identity.hex().encode(),
        encryption,
    )
    return bytes(out + b"startxref\n%d\n%%%%EOF\n" % start)


def _encryption(password: str, identity: bytes) -> tuple[bytes, bytes]:
    """Return the key and the trailer entry of the standard security handler (ISO 32000-1, 7.6.3, algorithms 2 to 4)."""
    padding = bytes.fromhex("28BF4E5E4E758A4164004E56FFFA01082E2E00B6D0683E802F0CA9FE6453697A")
    user = (password.encode() + padding)[:32]
    owner = _rc4(hashlib.md5((b"owner" + padding)[:32]).digest()[:5], user)
    permissions = struct.pack("<i", -4)
    key = hashlib.md5(user + owner + permissions + identity).digest()[:5]
    entry = b"/Encrypt<</Filter/Standard/V 1/R 2/P -4/O<%s>/U<%s>>>" % (
        owner.hex().encode(),
        _rc4(key, padding).hex().encode(),
    )
    return key, entry


def _rc4(key: bytes, data: bytes) -> bytes:
    state = list(range(256))
    j = 0
    for i in range(256):
        j = (j + state[i] + key[i % len(key)]) % 256
        state[i], state[j] = state[j], state[i]
    i = j = 0
    out = bytearray()
    for byte in data:
        i = (i + 1) % 256
        j = (j + state[i]) % 256
        state[i], state[j] = state[j], state[i]
        out.append(byte ^ state[(state[i] + state[j]) % 256])
    return bytes(out)


def zipped(members: dict[str, bytes | str]) -> bytes:
    """Return a ZIP file with these members; the same bytes at any time."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, data in members.items():
            archive.writestr(zipfile.ZipInfo(name), data, zipfile.ZIP_DEFLATED)
    return file.getvalue()


def docx(body: str, pictures: dict[str, bytes] | None = None, extra: dict[str, bytes | str] | None = None) -> bytes:
    """Return a Word document with this content of ``w:body``; pictures are named by their relation, as in `drawing`."""
    relations = "".join(
        f'<Relationship Id="{name}" Target="media/{name}.png" '
        'Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/image"/>'
        for name in pictures or {}
    )
    package = "http://schemas.openxmlformats.org/package/2006"
    return zipped(
        {
            "[Content_Types].xml": f'<Types xmlns="{package}/content-types"><Default Extension="png" '
            'ContentType="image/png"/><Default Extension="rels" '
            'ContentType="application/vnd.openxmlformats-package.relationships+xml"/><Override '
            'PartName="/word/document.xml" ContentType="application/vnd.openxmlformats-officedocument.'
            'wordprocessingml.document.main+xml"/></Types>',
            "_rels/.rels": f'<Relationships xmlns="{package}/relationships"><Relationship Id="r1" '
            'Target="word/document.xml" Type="http://schemas.openxmlformats.org/officeDocument/2006/'
            'relationships/officeDocument"/></Relationships>',
            "word/_rels/document.xml.rels": f'<Relationships xmlns="{package}/relationships">{relations}'
            "</Relationships>",
            "word/document.xml": '<w:document xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main" '
            'xmlns:r="http://schemas.openxmlformats.org/officeDocument/2006/relationships" '
            'xmlns:wp="http://schemas.openxmlformats.org/drawingml/2006/wordprocessingDrawing" '
            'xmlns:a="http://schemas.openxmlformats.org/drawingml/2006/main" '
            'xmlns:pic="http://schemas.openxmlformats.org/drawingml/2006/picture">'
            f"<w:body>{body}</w:body></w:document>",
            **{f"word/media/{name}.png": data for name, data in (pictures or {}).items()},
            **(extra or {}),
        }
    )


def paragraph(words: str, style: str = "") -> str:
    """Return a paragraph of a Word document."""
    properties = f'<w:pPr><w:pStyle w:val="{style}"/></w:pPr>' if style else ""
    return f"<w:p>{properties}<w:r><w:t>{words}</w:t></w:r></w:p>"


def table(*rows: Sequence[str]) -> str:
    """Return a table of a Word document."""
    cells = ("".join(f"<w:tc>{paragraph(cell)}</w:tc>" for cell in row) for row in rows)
    return "<w:tbl>" + "".join(f"<w:tr>{row}</w:tr>" for row in cells) + "</w:tbl>"


def drawing(relation: str, alt: str = "") -> str:
    """Return a paragraph of a Word document that shows a picture."""
    return (
        f'<w:p><w:r><w:drawing><wp:inline><wp:docPr id="1" name="p" descr="{alt}"/><a:graphic><a:graphicData>'
        f'<pic:pic><pic:blipFill><a:blip r:embed="{relation}"/></pic:blipFill></pic:pic></a:graphicData></a:graphic>'
        "</wp:inline></w:drawing></w:r></w:p>"
    )


def encrypted_office() -> bytes:
    """Return the beginning of a compound file as Office writes it for a document with a password."""
    header = bytearray(512)
    header[:8] = bytes.fromhex("D0CF11E0A1B11AE1")
    struct.pack_into("<H", header, 30, 9)  # sectors of 512 bytes
    struct.pack_into("<I", header, 48, 0)  # the directory is the first of them
    name = "EncryptedPackage".encode("utf-16-le")
    return bytes(header) + name.ljust(64, b"\0") + bytes(448)


def write(folder: Path, name: str, data: bytes | str) -> Path:
    """Write a file and return its path."""
    path = folder / name
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return path
