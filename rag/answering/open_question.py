"""Opens questions: decodes pictures, transcribes recordings, samples videos; and puts these media into words.

The one place between the language of questions (`rag.query.language`) and files. Reading runs in a process of its own,
as it does at ingest: a file of a question is as untrusted as any other.
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

PartInput = str | Path | bytes | PIL.Image.Image | Text | Image | Audio | Video
QueryInput = PartInput | Not | Query | Sequence[PartInput | Not]
Samples: TypeAlias = "NDArray[np.float32]"  # mono (n,) in [-1, 1]

# Frames of a video that is a question: evenly spread, so that each scene of a short one is among them.
_FRAMES = 4
_MOST_READ = 300  # characters of the text in a picture: enough to recognise a sign, a slide, a cover
_MOST_NAMES = 5  # of things that are seen or heard
_SAME = "Which exhibit shows or tells of the same as the picture of this question"
# Sounds under words are recognised second by second, since YAMNet hears one second at a time. Of 60 spoken captions, a
# speech and two narrations, one has a second in which it names anything but speech. Of 100 sounds of ESC-10 under
# speech that is as loud, 80 have such seconds, which find a sound of the same sort first for 63; at half that loudness
# it is 68 and 52. All 10 s as they are, speech included, find it for 59 and 54, and rank a sound first for every spoken
# question.
_PIECE_S = 0.96
_SPEECH = ("speech", "child speech", "conversation", "narration", "babbling")
_MOST_SOUNDS = 8


def open_question(question: QueryInput, settings: Settings, *, audio: AudioEncoder | None = None) -> Query:
    """Open the media of a question.

    Args:
        question: words, files or parts.
        settings: limit what is read.
        audio: the sound encoder; None to ignore sounds.

    Raises:
        QueryError: the question is empty, or a file is neither a picture, a recording nor a video.
        MediaError: a file cannot be read.
    """
    if isinstance(question, Query):
        return question
    parts: list[Any] = list(question) if isinstance(question, (list, tuple)) else [question]
    with closing(_create_reader(settings)) as reader:
        return Query(
            parts=tuple(_open_part(part, reader, audio) for part in parts if not isinstance(part, Not)),
            without=tuple(_open_part(part.part, reader, audio) for part in parts if isinstance(part, Not)),
        )


def _open_part(part: PartInput, reader: Worker, audio: AudioEncoder | None) -> QueryPart:
    match _with_type(part, reader):
        case Text(words, weight):
            return QueryPart(words=words, weight=weight)
        case Image(source, weight):
            return QueryPart(pictures=(_open_picture(source, reader),), weight=weight)
        case Audio(source, weight):
            with as_file(source, "recording") as path:
                words, sounds = _listen(path, reader, audio)
            if not words and not sounds:
                raise QueryError(f"No speech or sound was found in {path.name}.")
            return QueryPart(words, sounds=sounds, weight=weight)
        case Video(source, weight):
            words, sounds = "", ()
            with as_file(source, "video") as path:
                with contextlib.suppress(UnsupportedMedia):  # a silent video
                    words, sounds = _listen(path, reader, audio)
                return QueryPart(words, tuple(_read(reader, "spread_frames", path, _FRAMES)), sounds, weight)


def _with_type(part: PartInput, reader: Worker) -> Text | Image | Audio | Video:
    match part:
        case Text() | Image() | Audio() | Video():
            return part
        case str():
            return Text(part)
        case bytes() | PIL.Image.Image():
            return Image(part)
        case Path():
            (source,) = _read(reader, "identify", part)
            medium = source.medium
            if medium == "document":
                raise QueryError(f"{part} is a document; ask with words, a picture, a recording or a video.")
            return Image(part) if medium == "image" else Audio(part) if medium == "audio" else Video(part)
    raise QueryError(f"A question is made of Text, Image, Audio, Video and Not, not of {type(part).__name__}.")


def _open_picture(source: str | Path | bytes | PIL.Image.Image, reader: Worker) -> PIL.Image.Image:
    if isinstance(source, PIL.Image.Image):
        return rgb(source)
    with as_file(source, "picture") as path:
        (picture,) = _read(reader, "first_picture", path)
    return picture  # type: ignore[no-any-return]


def _listen(recording: Path, reader: Worker, audio: AudioEncoder | None) -> tuple[str, tuple[Samples, ...]]:
    """Return the words of a recording, and its other sounds at the sound encoder's rate, a sample of them if many.

    Only an encoder that names sounds hears anything under words.
    """
    from ingest.audio_video.decode import SAMPLE_RATE, resample

    segments = _read(reader, "extract_audio", recording)
    words = " ".join(extracted.segment.text for extracted in segments if extracted.segment.text)
    if audio is None:
        return words, ()
    sounds = [extracted.sound for extracted in segments if extracted.sound is not None]
    sounds = [resample(sound, SAMPLE_RATE, audio.sample_rate) for sound in sounds]
    if words:
        windows = _read(reader, "sound_windows", recording)
        sounds += _sounds_under_words([resample(window, SAMPLE_RATE, audio.sample_rate) for window in windows], audio)
    return words, tuple(sounds[:: max(1, -(-len(sounds) // _MOST_SOUNDS))])


def _sounds_under_words(windows: Iterable[Samples], audio: AudioEncoder) -> Iterator[Samples]:
    """Yield, for each window, the seconds in which something besides speech can be named, as one sound."""
    import numpy as np

    length = int(_PIECE_S * audio.sample_rate)
    for window in windows:
        starts = range(0, len(window) - length + 1, length // 2)
        selected = np.zeros(len(window), bool)
        pieces = [window[start : start + length] for start in starts]
        for start, tags in zip(starts, audio.embed_and_tag(pieces).tags, strict=True):
            selected[start : start + length] |= bool(_without_speech(tags))
        if selected.any():
            yield window[selected]


def put_into_words(
    query: Query, dual: DualEncoder, audio: AudioEncoder | None, settings: Settings, *, sees: bool = False
) -> str:
    """Put a question into words for a language model, which hears nothing: its words, and names of what its media hold.

    Empty if the question has no words, nothing to read, and nothing that the encoders are sure of.

    Args:
        query: the question.
        dual: names what pictures show.
        audio: names sounds; None to ignore sounds.
        settings: of the text recognition.
        sees: whether the model gets the pictures that are wanted, so that they need no words.
    """
    pictures = [] if sees else _name_pictures(query.parts, dual, settings)
    sounds = _name_sounds(query.parts, audio)
    unwanted = [part.words.strip() for part in query.without if part.words.strip()]
    unwanted += [*_name_pictures(query.without, dual, settings), *_name_sounds(query.without, audio)]
    exclusion = f", but not {', '.join(unwanted)}" if unwanted else ""
    if query.words:
        media = [f"{how}: {', '.join(names)}" for how, names in (("shown", pictures), ("heard", sounds)) if names]
        return f"{query.words}{exclusion} ({'; '.join(media)})" if media else f"{query.words}{exclusion}"
    if pictures or sounds:
        return f"Which exhibit shows or tells of: {', '.join([*pictures, *sounds])}{exclusion}?"
    return f"{_SAME}{exclusion}?" if sees and query.pictures else ""


def _name_pictures(parts: Sequence[QueryPart], dual: DualEncoder, settings: Settings) -> list[str]:
    """Return the names of what the pictures of the parts show, and the text in the first picture of each."""
    pictures = [picture for part in parts for picture in part.pictures]
    tagged = dual.embed_and_tag(pictures).tags if pictures else []
    first = [part.pictures[0] for part in parts if part.pictures]
    texts = _read_texts(first, settings) if first and settings.ocr != "off" else []
    names = list(dict.fromkeys(tag for tags in tagged for tag in tags))[:_MOST_NAMES]
    return [*names, *(f"the words “{text}”" for text in texts if text)]


def _read_texts(pictures: Sequence[PIL.Image.Image], settings: Settings) -> list[str]:
    """Return the text in each picture, on one line; quotation marks in it would end the quotation around it."""
    texts = []
    with closing(_create_reader(settings)) as reader, tempfile.TemporaryDirectory(prefix="exhibit-") as folder:
        path = Path(folder) / "question.png"
        for picture in pictures:
            picture.save(path)
            (source,) = reader.run("identify", path)
            text = " ".join(extracted.segment.text for extracted in reader.run("extract", source))
            texts.append(" ".join(text.replace("“", " ").replace("”", " ").split())[:_MOST_READ])
    return texts


def _name_sounds(parts: Sequence[QueryPart], audio: AudioEncoder | None) -> list[str]:
    """Return the names of the sounds of the parts, besides speech."""
    sounds = [sound for part in parts for sound in part.sounds]
    tagged = audio.embed_and_tag(sounds).tags if audio and sounds else []
    return list(dict.fromkeys(tag for tags in tagged for tag in _without_speech(tags)))[:_MOST_NAMES]


def _without_speech(tags: Iterable[str]) -> list[str]:
    return [tag for tag in tags if not tag.startswith(_SPEECH)]


def _create_reader(settings: Settings) -> Worker:
    from ingest.reading.worker import Worker

    return Worker(settings)


def _read(reader: Worker, operation: str, path: Path, *arguments: Any) -> list[Any]:
    try:
        return list(reader.run(operation, path, *arguments))
    except MediaError as error:
        raise type(error)(f"The question's {path.name} cannot be used. {error}") from error


def as_file(source: str | Path | bytes, name: str) -> AbstractContextManager[Path]:
    """Return the path of a question's medium for as long as it is needed; bytes become a file of this name."""
    return _write_file(name, source) if isinstance(source, bytes) else nullcontext(Path(source))


@contextmanager
def _write_file(name: str, data: bytes) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="exhibit-") as folder:
        path = Path(folder) / name
        path.write_bytes(data)
        yield path
