"""Opens questions: pictures are decoded, recordings transcribed, films sampled; and puts their media into words.

The one place between the language of questions (`rag.query.language`) and files; reading runs in a process of its
own, as it does at ingest, since a question's file is no more to be trusted than another.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import PIL.Image

from rag.config import Settings
from rag.errors import MediaError, QueryError, UnsupportedMedia
from rag.media.opening import rgb
from rag.query.language import Audio, Image, Not, Query, QueryPart, Text, Video

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ingest.reading.worker import Worker
    from rag.encoders.base import AudioEncoder, DualEncoder

One = str | Path | bytes | PIL.Image.Image | Text | Image | Audio | Video
Asked = One | Not | Query | Sequence[One | Not]
Samples: TypeAlias = "NDArray[np.float32]"  # mono (n,) in [-1, 1]

# Frames of a film that is a question: evenly spread, so that each scene of a short one is among them.
_FRAMES = 4
_MOST_READ = 300  # characters of the text in a picture: enough to tell a sign, a slide, a cover
_MOST_NAMES = 5  # of what is seen or heard
_SAME = "Which exhibit shows or tells of the same as the picture of this question"
# What sounds under words is known by seconds, of which YAMNet hears one at a time. Of 60 spoken captions, a speech and
# two narrations, one has a second in which it names anything but speech. Of 100 sounds of ESC-10 under speech that is
# as loud, 80 have such seconds, which find a sound of the same sort first for 63; at half that loudness it is 68 and
# 52. All 10 s as they are, speech included, find it for 59 and 54, and pull up a sound for every spoken question.
_PIECE_S = 0.96
_SPEECH = ("speech", "child speech", "conversation", "narration", "babbling")
_MOST_SOUNDS = 8


def opened(asked: Asked, settings: Settings, *, audio: AudioEncoder | None = None) -> Query:
    """A question with its media opened.

    Args:
        asked: the question.
        settings: bound what is read.
        audio: the sound encoder; None where sounds are not heard.

    Raises:
        QueryError: nothing is asked, or a file is neither a picture, a recording nor a film.
        MediaError: a file cannot be read.
    """
    if isinstance(asked, Query):
        return asked
    parts: list[Any] = list(asked) if isinstance(asked, (list, tuple)) else [asked]
    with closing(_reader(settings)) as reader:
        return Query(
            parts=tuple(_opened(part, settings, reader, audio) for part in parts if not isinstance(part, Not)),
            without=tuple(_opened(part.part, settings, reader, audio) for part in parts if isinstance(part, Not)),
        )


def in_words(
    query: Query, dual: DualEncoder, audio: AudioEncoder | None, settings: Settings, *, sees: bool = False
) -> str:
    """The question for a language model, which hears nothing: its words, and what is seen, read and heard beside them.

    Empty where there are no words in it, nothing to read, and nothing that the encoders are sure of.

    Args:
        query: the question.
        dual: names what is seen in pictures.
        audio: names what is heard; None where sounds are not heard.
        settings: of the text recognition.
        sees: whether the model is shown the pictures that are wanted, so that nothing need be said of them.
    """
    shown = [] if sees else _seen(query.parts, dual, settings)
    heard = _named([sound for part in query.parts for sound in part.sounds], audio)
    unwanted = [part.words.strip() for part in query.without if part.words.strip()]
    unwanted += _seen(query.without, dual, settings)
    unwanted += _named([sound for part in query.without for sound in part.sounds], audio)
    but = f", but not {', '.join(unwanted)}" if unwanted else ""
    if query.words:
        named = (("shown", shown), ("heard", heard))
        beside = "; ".join(f"{how}: {', '.join(what)}" for how, what in named if what)
        return f"{query.words}{but} ({beside})" if beside else f"{query.words}{but}"
    if shown or heard:
        return f"Which exhibit shows or tells of: {', '.join([*shown, *heard])}{but}?"
    return f"{_SAME}{but}?" if sees and query.pictures else ""


def _opened(part: One, settings: Settings, reader: Worker, audio: AudioEncoder | None) -> QueryPart:
    match _typed(part, reader):
        case Text(words, weight):
            return QueryPart(words=words, weight=weight)
        case Image(source, weight):
            return QueryPart(pictures=(_picture(source, reader),), weight=weight)
        case Audio(source, weight):
            with at(source, "recording") as path:
                words, sounds = _heard(path, reader, audio)
            if not words and not sounds:
                raise QueryError(f"Nothing is heard in {path.name} that could be a question.")
            return QueryPart(words, sounds=sounds, weight=weight)
        case Video(source, weight):
            words, sounds = "", ()
            with at(source, "film") as path:
                with contextlib.suppress(UnsupportedMedia):  # a silent film
                    words, sounds = _heard(path, reader, audio)
                return QueryPart(words, tuple(_found(reader, "spread_frames", path, _FRAMES)), sounds, weight)


def _typed(part: One, reader: Worker) -> Text | Image | Audio | Video:
    match part:
        case Text() | Image() | Audio() | Video():
            return part
        case str():
            return Text(part)
        case bytes() | PIL.Image.Image():
            return Image(part)
        case Path():
            (source,) = _found(reader, "identify", part)
            medium = source.medium
            if medium == "document":
                raise QueryError(f"{part} is a document; ask with words, a picture, a recording or a film.")
            return Image(part) if medium == "image" else Audio(part) if medium == "audio" else Video(part)
    raise QueryError(f"A question is made of Text, Image, Audio, Video and Not, not of {type(part).__name__}.")


def _picture(source: str | Path | bytes | PIL.Image.Image, reader: Worker) -> PIL.Image.Image:
    if isinstance(source, PIL.Image.Image):
        return rgb(source)
    with at(source, "picture") as path:
        (picture,) = _found(reader, "first_picture", path)
    return picture  # type: ignore[no-any-return]


def _found(reader: Worker, operation: str, path: Path, *arguments: Any) -> list[Any]:
    try:
        return list(reader.run(operation, path, *arguments))
    except MediaError as error:
        raise type(error)(f"The question's {path.name} cannot be used. {error}") from error


def _heard(recording: Path, reader: Worker, audio: AudioEncoder | None) -> tuple[str, tuple[Samples, ...]]:
    """What is said in a recording, and its other sounds at the sound encoder's rate, some of them where they are many.

    Under words only an encoder that names sounds hears anything.
    """
    from ingest.audio_video.decode import SAMPLE_RATE, resample

    found = _found(reader, "extract_audio", recording)
    words = " ".join(extracted.segment.text for extracted in found if extracted.segment.text)
    if audio is None:
        return words, ()
    sounds = [extracted.sound for extracted in found if extracted.sound is not None]
    sounds = [resample(sound, SAMPLE_RATE, audio.sample_rate) for sound in sounds]
    if words:
        windows = _found(reader, "sound_windows", recording)
        sounds += _under_words([resample(window, SAMPLE_RATE, audio.sample_rate) for window in windows], audio)
    return words, tuple(sounds[:: max(1, -(-len(sounds) // _MOST_SOUNDS))])


def _under_words(windows: Iterable[Samples], audio: AudioEncoder) -> Iterator[Samples]:
    """Of each window the seconds in which something besides speech can be named, as one sound."""
    import numpy as np

    length = int(_PIECE_S * audio.sample_rate)
    for window in windows:
        starts = range(0, len(window) - length + 1, length // 2)
        kept = np.zeros(len(window), bool)
        for start, tags in zip(
            starts, audio.embed_and_tag([window[at : at + length] for at in starts]).tags, strict=True
        ):
            kept[start : start + length] |= bool(_no_speech(tags))
        if kept.any():
            yield window[kept]


def _named(sounds: Sequence[Samples], audio: AudioEncoder | None) -> list[str]:
    """What is heard besides speech, by name."""
    found = audio.embed_and_tag(sounds).tags if audio and sounds else []
    return list(dict.fromkeys(tag for tags in found for tag in _no_speech(tags)))[:_MOST_NAMES]


def _no_speech(tags: Iterable[str]) -> list[str]:
    return [tag for tag in tags if not tag.startswith(_SPEECH)]


def _seen(parts: Sequence[QueryPart], dual: DualEncoder, settings: Settings) -> list[str]:
    """What is seen in the pictures of parts of a question, by name, and read in the first of each."""
    pictures = [picture for part in parts for picture in part.pictures]
    found = dual.embed_and_tag(pictures).tags if pictures else []
    read = [_read(part.pictures[0], settings) for part in parts if part.pictures and settings.ocr != "off"]
    names = list(dict.fromkeys(tag for tags in found for tag in tags))[:_MOST_NAMES]
    return [*names, *(f"the words “{text}”" for text in read if text)]


def _read(picture: PIL.Image.Image, settings: Settings) -> str:
    """The text in a picture, on one line; quotation marks would end the one it is put into."""
    with closing(_reader(settings)) as reader, _file("question.png", b"") as path:
        picture.save(path)
        (source,) = reader.run("identify", path)
        found = " ".join(extracted.segment.text for extracted in reader.run("extract", source))
    return " ".join(found.replace("“", " ").replace("”", " ").split())[:_MOST_READ]


def _reader(settings: Settings) -> Worker:
    from ingest.reading.worker import Worker

    return Worker(settings)


def at(source: str | Path | bytes, name: str) -> AbstractContextManager[Path]:
    """Where a medium of a question is, for as long as it is needed; bytes become a file of this name."""
    return _file(name, source) if isinstance(source, bytes) else nullcontext(Path(source))


@contextmanager
def _file(name: str, data: bytes) -> Iterator[Path]:
    """Bytes as a file, for as long as it is needed."""
    with tempfile.TemporaryDirectory(prefix="exhibit-") as folder:
        path = Path(folder) / name
        path.write_bytes(data)
        yield path
