"""Picture files: upright RGB pixels, what they say about themselves, animations, scans, and bad input."""

import io
import re
import struct
import zlib
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image, PngImagePlugin, TiffImagePlugin

from ingest.formats.identify import identify
from ingest.picture import images
from rag.config import Settings
from rag.errors import DamagedMedia, MediaTooLarge
from rag.types import FrameRegion, ImageRegion, PageBox
from tests.fakes.files import huge_png, photo, png, sign, write

SKY, GRASS, SUN = (120, 170, 230), (60, 130, 50), (250, 220, 90)


@pytest.fixture(scope="module")
def settings():
    return Settings(ocr="off")


@pytest.fixture
def read(tmp_path, settings, ocr):
    def read(data, captions=(), changed=settings):
        source = replace(identify(write(tmp_path, "a.bin", data), changed), captions=captions)
        found = list(images.segments(source, changed, ocr))
        assert [item.segment.ordinal for item in found] == list(range(len(found)))
        for item in found:
            assert item.segment.modality == "image"
            if item.picture is not None:
                assert item.picture.mode == "RGB"
                assert max(item.picture.size) <= 768
        return found

    return read


def saved(image, kind, **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def near(image, x, y, colour, tolerance=12):
    """Whether the pixel at fractions of the picture has this colour."""
    pixel = image.getpixel((int(x * (image.width - 1)), int(y * (image.height - 1))))
    return all(abs(a - b) <= tolerance for a, b in zip(pixel, colour, strict=True))


def test_a_picture_is_one_segment(read):
    (found,) = read(png(photo(1600, 1200)), captions=("A hill", "A hill by noon"))
    assert (found.segment.kind, found.segment.locator) == ("picture", ImageRegion())
    assert found.segment.caption == "A hill\nA hill by noon"
    assert found.segment.meta == {"width_px": 1600, "height_px": 1200}
    assert found.picture.size == (768, 576)
    assert near(found.picture, 0.1, 0.1, SKY)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(read, orientation):
    upright = photo(320, 240)
    stored = {
        1: None,
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    (found,) = read(saved(upright.transpose(stored) if stored is not None else upright, "JPEG", exif=exif))
    assert (found.segment.meta["width_px"], found.segment.meta["height_px"]) == (320, 240)
    assert found.picture.size == (320, 240)
    assert near(found.picture, 0.02, 0.02, SKY)
    assert near(found.picture, 0.02, 0.98, GRASS)
    assert near(found.picture, 0.65, 0.4, SUN)
    assert near(found.picture, 0.2, 0.4, SKY)


def transparent():
    image = photo().convert("RGBA")
    image.paste((0, 0, 0, 0), (0, 0, 160, 120))
    return image


@pytest.mark.parametrize(
    ("data", "corner"),
    [
        (png(transparent()), (255, 255, 255)),
        (png(transparent().quantize()), (255, 255, 255)),
        (saved(transparent(), "WEBP", lossless=True), (255, 255, 255)),
        (png(photo().quantize()), SKY),
        (png(photo().convert("L")), (162, 162, 162)),
        (png(photo().convert("LA")), (162, 162, 162)),
        (png(Image.new("1", (64, 64), 1)), (255, 255, 255)),
        (saved(photo().convert("CMYK"), "JPEG", quality=95), SKY),
        (saved(photo().convert("YCbCr"), "JPEG", quality=95), SKY),
        (saved(photo(), "AVIF", quality=90), SKY),
        (saved(photo(), "BMP"), SKY),
    ],
)
def test_every_mode_becomes_rgb_over_white(read, data, corner):
    (found,) = read(data)
    assert near(found.picture, 0.1, 0.1, corner, tolerance=25)


def test_sixteen_bits_and_floats_are_stretched_to_grey(read):
    ramp = np.linspace(1000, 9000, 64 * 64).reshape(64, 64)
    for data in (png(Image.fromarray(ramp.astype(np.uint16))), saved(Image.fromarray(ramp.astype(np.float32)), "TIFF")):
        (found,) = read(data)
        assert near(found.picture, 0, 0, (0, 0, 0))
        assert near(found.picture, 1, 1, (255, 255, 255))


def test_a_large_jpeg_keeps_its_true_size_in_its_fields(read):
    (found,) = read(saved(photo(5000, 4000), "JPEG"))
    assert found.segment.meta == {"width_px": 5000, "height_px": 4000}
    assert found.picture.size == (768, 614)


def test_photo_metadata(read):
    exif = Image.Exif()
    exif[0x010E] = "The tower on its hill"
    exif[0x010F], exif[0x0110] = "Acme", "Acme One"
    exif.get_ifd(0x8769)[0x9003] = "2019:05:29 20:52:05"
    exif.get_ifd(0x8825).update({1: "N", 2: (46.0, 57.0, 3.6), 3: "W", 4: (7.0, 27.0, 0.0)})
    (found,) = read(saved(photo(), "JPEG", exif=exif), captions=("From the page",))
    assert found.segment.caption == "From the page\nThe tower on its hill"
    assert found.segment.meta == {
        "width_px": 320,
        "height_px": 240,
        "taken": "2019-05-29T20:52:05",
        "taken_s": 1559163125.0,
        "camera": "Acme One",
        "lat": 46.951,
        "lon": -7.45,
    }


def test_meaningless_exif_fields_are_left_out(read):
    exif = Image.Exif()
    exif[0x010E] = "OLYMPUS DIGITAL CAMERA         "
    exif.get_ifd(0x8769)[0x9003] = "0000:00:00 00:00:00"
    exif.get_ifd(0x8825).update({1: "N", 2: (946.0, 0.0, 0.0), 3: "W", 4: (7.0, 27.0, 0.0)})
    (found,) = read(saved(photo(), "JPEG", exif=exif))
    assert found.segment.caption == ""
    assert found.segment.meta == {"width_px": 320, "height_px": 240}


XMP = """<?xpacket begin=""?><x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF
xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description xmlns:dc="http://purl.org/dc/elements/1.1/">
<dc:description><rdf:Alt><rdf:li xml:lang="x-default">A tower {}</rdf:li></rdf:Alt></dc:description>
</rdf:Description></rdf:RDF></x:xmpmeta><?xpacket end="w"?>"""


def test_captions_in_xmp_iptc_and_png_text(read):
    assert read(saved(photo(), "JPEG", xmp=XMP.format("by night").encode()))[0].segment.caption == "A tower by night"
    assert read(saved(photo(), "JPEG", xmp=XMP[:300].encode()))[0].segment.caption == ""
    chunk = PngImagePlugin.PngInfo()
    chunk.add_text("Description", "A tower in a PNG")
    chunk.add_text("Software", "a program")
    assert read(png(photo(), pnginfo=chunk))[0].segment.caption == "A tower in a PNG"
    words = "Größe des Turms".encode()
    record = b"\x1c\x02\x78" + len(words).to_bytes(2, "big") + words
    resource = b"8BIM\x04\x04\0\0" + len(record).to_bytes(4, "big") + record + bytes(len(record) % 2)
    segment = b"Photoshop 3.0\0" + resource
    jpeg = saved(photo(), "JPEG")
    marked = jpeg[:2] + b"\xff\xed" + (len(segment) + 2).to_bytes(2, "big") + segment + jpeg[2:]
    assert read(marked)[0].segment.caption == "Größe des Turms"


def animation(colours, **options):
    frames = [Image.new("RGB", (64, 64), colour) for colour in colours]
    return frames[0], {"save_all": True, "append_images": frames[1:], "loop": 0, **options}


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
def test_animations_by_the_frames_that_differ(read, kind):
    first, options = animation(["red", "red", "blue", "blue", "lime"], duration=[500, 500, 250, 250, 100])
    found = read(saved(first, kind, **options, **({"lossless": True} if kind == "WEBP" else {})))
    assert [item.segment.locator for item in found] == [FrameRegion(0.0), FrameRegion(1.0), FrameRegion(1.5)]
    assert [item.segment.meta["start_s"] for item in found] == [0.0, 1.0, 1.5]
    for item, colour in zip(found, [(255, 0, 0), (0, 0, 255), (0, 255, 0)], strict=True):
        assert near(item.picture, 0.5, 0.5, colour, tolerance=8)


def test_a_long_animation_is_thinned_evenly(read):
    first, options = animation([(n * 53 % 256, n * 97 % 256, n * 31 % 256) for n in range(200)], duration=50)
    found = read(saved(first, "GIF", **options))
    assert 30 <= len(found) <= 40
    assert found[-1].segment.locator.at_s > 9


def test_tiff_pages_without_their_previews(read, tmp_path):
    path = tmp_path / "pages.tif"
    with TiffImagePlugin.AppendingTiffWriter(str(path), True) as writer:
        for kind, image in ((0, photo()), (1, photo(40, 30)), (0, sign("hello"))):
            image.save(writer, "TIFF", tiffinfo={254: kind})
            writer.newFrame()
    found = read(path.read_bytes())
    assert [item.segment.locator for item in found] == [PageBox(1), PageBox(3)]
    assert [item.segment.meta["page"] for item in found] == [1, 3]


def shared_strip(pages, side):
    """A TIFF whose pages are all the same blank strip of Group 4 fax, one bit for each row (TIFF 6.0, section 11)."""
    strip = b"\xff" * (side // 8)
    tags = {256: side, 257: side, 258: 1, 259: 4, 262: 0, 273: 8, 278: side, 279: len(strip)}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    first, length = 8 + len(strip), 2 + len(entries) + 4
    links = [first + length * (n + 1) for n in range(pages - 1)] + [0]
    directories = (struct.pack("<H", len(tags)) + entries + struct.pack("<I", link) for link in links)
    return b"II*\0" + struct.pack("<I", first) + strip + b"".join(directories)


def test_a_small_tiff_whose_pages_share_their_pixels_is_refused_by_its_headers(read, settings, tmp_path):
    assert [near(item.picture, 0.5, 0.5, (255, 255, 255)) for item in read(shared_strip(2, 1024))] == [True, True]
    source = identify(write(tmp_path, "a.tif", shared_strip(1000, 8000)), settings)
    for refused in (lambda: images.measure(source, settings), lambda: next(images.segments(source, settings, None))):
        with pytest.raises(MediaTooLarge):
            refused()


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "JPEG"])
def test_damaged_exif_does_not_cost_the_picture(read, kind):
    exif = Image.Exif()
    exif[0x0112] = 6
    data = saved(photo(), kind, exif=exif).replace(b"II*\0", b"XX*\0").replace(b"MM\0*", b"XX\0*")
    if kind == "PNG":
        (at,) = (match.start() for match in re.finditer(b"eXIf", data))
        end = at + 4 + int.from_bytes(data[at - 4 : at], "big")
        data = data[:end] + struct.pack(">I", zlib.crc32(data[at:end])) + data[end + 4 :]
    (found,) = read(data)
    assert found.picture.size == (320, 240)
    assert near(found.picture, 0.02, 0.02, SKY)


def test_words_in_a_picture(read):
    settings = Settings(ocr="auto")
    (found,) = read(png(sign("OPENING HOURS", "9 to 5")), changed=settings)
    assert found.segment.text == "OPENING HOURS\n9 to 5"


def test_a_scanned_page_also_gives_passages_with_their_boxes(read):
    rows = [f"Row {n}: the clock has one hand and strikes at noon" for n in range(14)]
    found = read(png(sign(*rows, size=28)), changed=Settings(ocr="auto"))
    picture, *passages = found
    assert len(picture.segment.text.split()) == 60
    assert passages
    assert all(item.picture is None and item.segment.kind == "passage" for item in passages)
    assert all(0 < item.segment.locator.box.h < 1 for item in passages)
    words = " ".join(item.segment.text for item in passages)
    assert "Row 0: the clock" in words
    assert "Row 13: the clock" in words


def test_a_decompression_bomb_is_refused_by_its_header(read, settings):
    with pytest.raises(MediaTooLarge, match=r"[\d,]{5,} "):
        read(huge_png(60_000, 60_000))
    with pytest.raises(MediaTooLarge, match="EXHIBIT_MAX_PIXELS"):
        read(png(photo(200, 200)), changed=Settings(ocr="off", max_pixels=39_999))
    (found,) = read(png(photo(200, 200)), changed=Settings(ocr="off", max_pixels=40_000))
    assert found.picture.size == (200, 200)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "WEBP", "TIFF", "BMP", "AVIF"])
def test_truncated_pictures_are_damaged(read, kind):
    data = saved(photo(), kind)
    for share in (0.3, 0.6, 0.9):
        with pytest.raises(DamagedMedia):
            read(data[: int(len(data) * share)])


def test_measure(tmp_path, settings):
    first, options = animation(["red", "blue"], duration=100)
    source = identify(write(tmp_path, "a.gif", saved(first, "GIF", **options)), settings)
    assert images.measure(source, settings).pictures == 2
    scan = identify(write(tmp_path, "b.tif", saved(first, "TIFF", **options)), settings)
    assert images.measure(scan, settings).pages == 2
    for limits in ({"max_pages": 1}, {"max_pixels": 64 * 64 - 1}):
        with pytest.raises(MediaTooLarge):
            images.measure(scan, Settings(**limits))
