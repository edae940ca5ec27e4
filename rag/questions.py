"""Opens questions: pictures are decoded, recordings transcribed, films sampled; and puts pictures into words.

The one place between the language of questions (`rag.query`) and files; reading runs in a process of its own, as it
does at ingest, since a question's file is no more to be trusted than another.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import PIL.Image

from rag.config import Settings
from rag.decoding import rgb
from rag.errors import MediaError, QueryError, UnsupportedMedia
from rag.query import Audio, Image, Not, Part, Query, Text, Video

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ingest.worker import Worker
    from rag.encoders.base import DualEncoder

One = str | Path | bytes | PIL.Image.Image | Text | Image | Audio | Video
Asked = One | Not | Query | Sequence[One | Not]

# Frames of a film that is a question: evenly spread, so that each scene of a short one is among them.
_FRAMES = 4
_MOST_READ = 300  # characters of the text in a picture: enough to tell a sign, a slide, a cover
SAME = "Which exhibit shows or tells of the same as the picture of this question?"


def opened(asked: Asked, settings: Settings, *, sample_rate: int | None = None) -> Query:
    """A question with its media opened.

    Args:
        asked: the question.
        settings: bound what is read.
        sample_rate: of the sound encoder; None where sounds are not heard.

    Raises:
        QueryError: nothing is asked, or a file is neither a picture, a recording nor a film.
        MediaError: a file cannot be read.
    """
    if isinstance(asked, Query):
        return asked
    parts: list[Any] = list(asked) if isinstance(asked, (list, tuple)) else [asked]
    with closing(_reader(settings)) as reader:
        return Query(
            parts=tuple(_opened(part, settings, reader, sample_rate) for part in parts if not isinstance(part, Not)),
            without=tuple(_opened(part.part, settings, reader, sample_rate) for part in parts if isinstance(part, Not)),
        )


def in_words(query: Query, dual: DualEncoder, settings: Settings) -> str:
    """The question for a language model that sees no pictures: its words, or what is seen and read in its pictures.

    Empty where there are no words in it, nothing to read, and nothing that the image encoder is sure of.
    """
    if query.spoken or not query.pictures:
        return query.spoken
    tags = dict.fromkeys(tag for tags in dual.look(query.pictures).tags for tag in tags)
    read = _read(query.pictures[0], settings) if settings.ocr != "off" else ""
    if tags:
        asked = f"Which exhibit shows or tells of: {', '.join(tags)}?"
        return f"{asked} The words “{read}” are beside it." if read else asked
    return f"Which exhibit shows or tells of the words “{read}”?" if read else ""


def _opened(part: One, settings: Settings, reader: Worker, sample_rate: int | None) -> Part:
    match _typed(part, reader):
        case Text(words, weight):
            return Part(words=words, weight=weight)
        case Image(source, weight):
            return Part(pictures=(_picture(source, reader),), weight=weight)
        case Audio(source, weight):
            words, sounds = _heard(Path(source), reader, sample_rate)
            if not words and not sounds:
                raise QueryError(f"Nothing is heard in {source} that could be a question.")
            return Part(words, sounds=sounds, weight=weight)
        case Video(source, weight):
            words, sounds = "", ()
            with contextlib.suppress(UnsupportedMedia):  # a silent film
                words, sounds = _heard(Path(source), reader, sample_rate)
            return Part(words, tuple(_found(reader, "frames", Path(source), _FRAMES)), sounds, weight)


def _typed(part: One, reader: Worker) -> Text | Image | Audio | Video:
    match part:
        case Text() | Image() | Audio() | Video():
            return part
        case str():
            return Text(part)
        case bytes() | PIL.Image.Image():
            return Image(part)
        case Path():
            (source,) = _found(reader, "identify", part, ())
            medium = source.medium
            if medium == "document":
                raise QueryError(f"{part} is a document; ask with words, a picture, a recording or a film.")
            return Image(part) if medium == "image" else Audio(part) if medium == "audio" else Video(part)
    raise QueryError(f"A question is made of Text, Image, Audio, Video and Not, not of {type(part).__name__}.")


def _picture(source: str | Path | bytes | PIL.Image.Image, reader: Worker) -> PIL.Image.Image:
    if isinstance(source, PIL.Image.Image):
        return rgb(source)
    with _file("picture", source) if isinstance(source, bytes) else nullcontext(Path(source)) as path:
        (picture,) = _found(reader, "picture", path)
    return picture  # type: ignore[no-any-return]


def _found(reader: Worker, operation: str, path: Path, *arguments: Any) -> list[Any]:
    try:
        return list(reader.run(operation, path, *arguments))
    except MediaError as error:
        raise type(error)(f"The question's {path.name} cannot be used. {error}") from error


def _heard(recording: Path, reader: Worker, sample_rate: int | None) -> tuple[str, tuple[NDArray[np.float32], ...]]:
    """What is said in a recording, and its first other sounds at the sound encoder's rate, if any."""
    from ingest.decode import SAMPLE_RATE, resampled

    found = _found(reader, "heard", recording)
    words = " ".join(extracted.segment.text for extracted in found if extracted.segment.text)
    sounds = [extracted.sound for extracted in found if extracted.sound is not None]
    return words, (resampled(sounds[0], SAMPLE_RATE, sample_rate),) if sounds and sample_rate else ()


def _read(picture: PIL.Image.Image, settings: Settings) -> str:
    """The text in a picture, on one line; quotation marks would end the one it is put into."""
    with closing(_reader(settings)) as reader, _file("question.png", b"") as path:
        picture.save(path)
        (source,) = reader.run("identify", path, ())
        found = " ".join(extracted.segment.text for extracted in reader.run("extract", source))
    return " ".join(found.replace("“", " ").replace("”", " ").split())[:_MOST_READ]


def _reader(settings: Settings) -> Worker:
    from ingest.worker import Worker

    return Worker(settings)


@contextmanager
def _file(name: str, data: bytes) -> Iterator[Path]:
    """Bytes as a file, for as long as it is needed."""
    with tempfile.TemporaryDirectory(prefix="exhibit-") as folder:
        path = Path(folder) / name
        path.write_bytes(data)
        yield path
