"""Files on their way to being shown: whether they are still there and the same; and upstream errors as `MediaError`."""

from __future__ import annotations

import errno
import hashlib
import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image, ImageFile, UnidentifiedImageError

from rag.errors import DamagedMedia, MediaError, MediaTooLarge, ProtectedMedia, UnsupportedMedia
from rag.types import Source

if TYPE_CHECKING:
    from av.container import InputContainer
    from pypdfium2 import PdfDocument

MAX_PIXELS = 2**28  # 800 MB as RGB; ingest has its own, lower limit, which can be set
_IMAGE_FORMATS = ("PNG", "JPEG", "GIF", "WEBP", "TIFF", "BMP", "AVIF")
# Demuxers that read one local file; playlists (HLS, DASH, concat) could name other files or hosts.
_AV_FORMATS = (
    "aac,ac3,aiff,amr,amrnb,amrwb,asf,au,avi,caf,dts,eac3,flac,flv,h264,hevc,matroska,webm,mov,mp4,m4a,3gp,3g2,mj2,mp3,"
    "mpeg,mpegts,mpegvideo,ogg,rm,swf,tta,w64,wav,wv"
)


def head_of(path: Path) -> bytes:
    """The first kilobyte of a file.

    Raises:
        MediaError: the file has gone.
        ProtectedMedia: it may not be read.
    """
    with _read_errors(path), path.open("rb") as file:
        return file.read(1024)


def check_same(path: Path, asset_id: str) -> None:
    """Make sure that a file still has the content that was indexed; reads all of it.

    Args:
        path: where it was.
        asset_id: id of the content, `Source.asset_id`.

    Raises:
        MediaError: the file has gone, or its content is another now.
        ProtectedMedia: it may not be read.
    """
    with _read_errors(path), path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
        size = file.tell()
    if Source(path, found, size, "", "document").asset_id != asset_id:
        raise MediaError(f"{path.name} has changed since it was indexed; ingest it again.")


@contextmanager
def opened_image(path: Path) -> Iterator[ImageFile.ImageFile]:
    """Open a picture file; in the body, too, what Pillow raises becomes a `MediaError`.

    Raises:
        MediaError: the file has gone.
        DamagedMedia: truncated, malformed or no picture.
        MediaTooLarge: more than `MAX_PIXELS`.
    """
    limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None  # checked here, against the header
    try:
        with warnings.catch_warnings(), _read_errors(path), path.open("rb") as file:
            warnings.simplefilter("ignore")  # Pillow warns of odd metadata and goes on
            with Image.open(file, formats=_IMAGE_FORMATS) as image:
                check_pixels(*image.size)
                yield image
    except UnidentifiedImageError as error:
        raise DamagedMedia(f"{path.name} cannot be read as a picture; it is truncated or malformed.") from error
    except (OSError, EOFError, SyntaxError, ValueError, LookupError, TypeError, ArithmeticError, struct.error) as error:
        raise DamagedMedia(f"{path.name} cannot be decoded ({error}); it is truncated or malformed.") from error
    finally:
        Image.MAX_IMAGE_PIXELS = limit


@contextmanager
def opened_pdf(path: Path) -> Iterator[PdfDocument]:
    """Open a PDF; in the body, too, what PDFium raises becomes a `MediaError`.

    Raises:
        MediaError: the file has gone.
        ProtectedMedia: it needs a password.
        DamagedMedia: truncated or malformed.
    """
    import pypdfium2
    import pypdfium2.raw as pdfium

    head_of(path)
    try:
        with pypdfium2.PdfDocument(path) as document:
            yield document
    except pypdfium2.PdfiumError as error:
        if error.err_code == pdfium.FPDF_ERR_PASSWORD:
            raise ProtectedMedia(f"{path.name} needs a password; save a copy without one.") from error
        raise DamagedMedia(f"{path.name} cannot be read as PDF ({error}); it is truncated or malformed.") from error


@contextmanager
def opened_av(path: Path) -> Iterator[InputContainer]:
    """Open a recording or video; in the body, too, what PyAV raises becomes a `MediaError`.

    Raises:
        MediaError: the file has gone.
        UnsupportedMedia: no demuxer or decoder for it.
        DamagedMedia: truncated or malformed.
        ProtectedMedia: it may not be read.
    """
    import av

    options = {"format_whitelist": _AV_FORMATS, "protocol_whitelist": "file"}
    try:
        with av.open(f"file:{path}", options=options, metadata_errors="replace") as container:
            yield container
    except av.FFmpegError as error:
        raise _av_error(path, error) from error


def check_pixels(width: int, height: int) -> None:
    """Refuse, before decoding, what would take too much memory.

    Raises:
        MediaTooLarge: more than `MAX_PIXELS`.
    """
    if width * height > MAX_PIXELS:
        raise MediaTooLarge(f"A picture of {width:,} x {height:,} pixels is too large to show; scale it down.")


@contextmanager
def _read_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
        raise _gone(path) from error
    except PermissionError as error:
        raise _forbidden(path) from error


def _gone(path: Path) -> MediaError:
    return MediaError(f"There is no file {path} any more; ingest its folder again, or put it back.")


def _forbidden(path: Path) -> ProtectedMedia:
    return ProtectedMedia(f"You have no permission to read {path}; change its permissions or run as its owner.")


def _av_error(path: Path, error: Any) -> MediaError:
    import av.error

    if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.EISDIR):
        return _gone(path)
    if error.errno == errno.EACCES:
        return _forbidden(path)
    unknown = (av.error.DecoderNotFoundError, av.error.DemuxerNotFoundError, av.error.PatchWelcomeError)
    # EINVAL is how libavformat refuses a container that is not in its list of allowed ones.
    if error.errno == errno.EINVAL or isinstance(error, unknown):
        return UnsupportedMedia(f"{path.name} is in a format that cannot be played here.")
    return DamagedMedia(f"{path.name} cannot be decoded ({error.strerror}); it is truncated or malformed.")
