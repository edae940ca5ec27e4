"""Measure search from any medium to any medium: recall of each cell of a 5 x 4 matrix, on a small collection.

`python -m tests.measure.matrix` makes the collection, asks, and prints the table. A cell counts how many of its three
or four questions have a right file first, beside the share that guessing would give. The collection is the demo's with
some notes, recordings cut from its sound, stills of its film, videos of its photos, and two sounds without speech.
Media in questions are cut, cropped, mirrored, darkened or quieter, so that no file finds itself by its bytes. For words
of the film, what it shows at that moment is right. So few questions show whether a direction works, not how well; and
`lite` was trained on all photos but the monkey's, and on the stills of the film.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image as Pixels
from PIL import ImageEnhance, ImageOps

from rag import Audio, Image, KnowledgeBase, Not, Text, Video, media
from rag.answering.open_question import open_question
from rag.config import Settings
from rag.demo import HERE
from rag.types import MODALITIES, FrameRegion, ImageRegion, Modality
from tests.fakes.media import JFK, SAMPLE_RATE, samples_of, texture, write_audio, write_video

SOURCES = ("text", "image", "audio", "video", "composed")
FRAME_PX = (480, 320)
NOTES = {
    "bee.md": "# Honey bees\n\nA honey bee visits flowers for nectar and pollen, and dances to tell the hive of them.",
    "cat.md": "# Cats\n\nA tabby cat has a striped coat. Cats sleep for most of the day and hunt mice at dusk.",
    "orangutan.md": "# Orangutans\n\nThe orangutan lives in the trees of Borneo and Sumatra. It eats fruit, which its "
    "nimble fingers pick from the thinnest branches.",
    "kennedy.md": "# An inaugural address\n\nIn January 1961 President Kennedy told his fellow Americans to ask what "
    "they could do for their country.",
}
# Seconds of the demo's recordings: the guide on Gombe and on a telegram; the film on eyes and on flowers.
CUTS = {
    "gombe.wav": ("audio-guide.m4a", 4.0, 15.5),
    "telegram.wav": ("audio-guide.m4a", 31.0, 46.9),
    "eyes.wav": ("film.mp4", 3.8, 12.8),
    "flowers.wav": ("film.mp4", 32.8, 40.6),
}
# Seconds of the film at which its stills show a bee on a flower, and an owl.
STILLS = {"bee.jpg": 36.0, "owl.jpg": 27.0}
DOG, RAIN = JFK.with_name("dog.ogg"), JFK.with_name("rain.ogg")
# Right for words about apes: two photos and the catalogue's figure show chimpanzees or bonobos.
APES = ("photo-01.jpg", "photo-05.jpg", "catalogue.pdf")
# Source, target, question (a name of `questions`), and the right files, one of which should come first.
ROWS: tuple[tuple[str, Modality, str, tuple[str, ...]], ...] = (
    ("text", "text", "hours", ("curators-notes.md",)),
    ("text", "text", "hunt", ("catalogue.pdf",)),
    ("text", "text", "nectar", ("bee.md",)),
    ("text", "image", "an orangutan", ("photo-04.jpg",)),
    ("text", "image", "a tabby cat", ("photo-07.jpg",)),
    ("text", "image", "a guenon monkey", ("photo-06.jpg",)),
    ("text", "audio", "camp", ("gombe.wav",)),
    ("text", "audio", "news", ("telegram.wav",)),
    ("text", "audio", "country", ("jfk.ogg",)),
    ("text", "video", "a bee on a flower", ("film.mp4",)),
    ("text", "video", "a tabby cat", ("cat.mp4",)),
    ("text", "video", "country", ("speech.mp4",)),
    ("image", "text", "picture cat", ("cat.md", "curators-notes.md")),
    ("image", "text", "picture orangutan", ("orangutan.md",)),
    ("image", "text", "picture bee", ("bee.md",)),
    ("image", "image", "picture cat", ("photo-07.jpg",)),
    ("image", "image", "picture orangutan", ("photo-04.jpg",)),
    ("image", "image", "picture guenon", ("photo-06.jpg",)),
    ("image", "audio", "picture chimpanzee", ("gombe.wav", "telegram.wav")),
    ("image", "audio", "picture bonobo", ("gombe.wav", "telegram.wav")),
    ("image", "audio", "picture bee", ("flowers.wav",)),
    ("image", "video", "picture cat", ("cat.mp4",)),
    ("image", "video", "picture orangutan", ("orangutan.mp4",)),
    ("image", "video", "picture bee", ("film.mp4",)),
    ("audio", "text", "said gombe", ("catalogue.pdf",)),
    ("audio", "text", "said flowers", ("orangutan.md",)),
    ("audio", "text", "said country", ("kennedy.md",)),
    ("audio", "image", "said telegram", APES),
    ("audio", "image", "said greybeard", APES),
    ("audio", "image", "said flowers", ("bee.jpg",)),
    ("audio", "image", "said squirrels", ("owl.jpg",)),
    ("audio", "audio", "said gombe", ("gombe.wav",)),
    ("audio", "audio", "said telegram", ("telegram.wav",)),
    ("audio", "audio", "said country", ("jfk.ogg",)),
    ("audio", "audio", "barking", ("dog.ogg",)),
    ("audio", "video", "said country", ("speech.mp4",)),
    ("audio", "video", "said leap", ("film.mp4",)),
    ("audio", "video", "said flowers", ("film.mp4",)),
    ("audio", "video", "raining", ("rain.mp4",)),
    ("video", "text", "film cat", ("cat.md", "curators-notes.md")),
    ("video", "text", "film orangutan", ("orangutan.md",)),
    ("video", "text", "film country", ("kennedy.md",)),
    ("video", "image", "film cat", ("photo-07.jpg",)),
    ("video", "image", "film orangutan", ("photo-04.jpg",)),
    ("video", "image", "film chimpanzee", APES),
    ("video", "audio", "film chimpanzee", ("gombe.wav",)),
    ("video", "audio", "film country", ("jfk.ogg",)),
    ("video", "audio", "film flowers", ("flowers.wav",)),
    ("video", "video", "film cat", ("cat.mp4",)),
    ("video", "video", "film orangutan", ("orangutan.mp4",)),
    ("video", "video", "film country", ("speech.mp4",)),
    ("composed", "text", "this eats", ("orangutan.md",)),
    ("composed", "text", "this and flowers", ("bee.md",)),
    ("composed", "text", "this and not hours", ("cat.md",)),
    ("composed", "image", "a monkey but not this ape", ("photo-06.jpg",)),
    ("composed", "image", "this as an animal", ("photo-07.jpg",)),
    ("composed", "image", "this eats", ("photo-04.jpg",)),
    ("composed", "audio", "this and tools", ("telegram.wav",)),
    ("composed", "audio", "this and a camp", ("gombe.wav",)),
    ("composed", "audio", "heard and country", ("jfk.ogg",)),
    ("composed", "video", "this and not hours", ("cat.mp4",)),
    ("composed", "video", "a bee but not this cat", ("film.mp4",)),
    ("composed", "video", "heard and country", ("speech.mp4",)),
)


@dataclass(frozen=True, slots=True)
class Cell:
    """How many questions of a cell have a right file first, how many there are, and the share that guessing gives."""

    right: int
    asked: int
    chance: float

    @property
    def recall(self) -> float:
        """The share of questions with a right file first."""
        return self.right / self.asked


def collection(folder: Path) -> Path:
    """Make the collection in a folder, and return it."""
    made = folder / "collection"
    shutil.copytree(HERE / "collection", made, ignore=shutil.ignore_patterns("audio-guide.m4a"))
    for name, text in NOTES.items():
        (made / name).write_text(text, encoding="utf-8")
    for name, (source, start_s, end_s) in CUTS.items():
        _cut(made / name, source, start_s, end_s)
    for name, at_s in STILLS.items():
        media.open_picture(HERE / "collection" / "film.mp4", FrameRegion(at_s)).save(made / name)
    shutil.copy(JFK, made / "jfk.ogg")
    shutil.copy(DOG, made / "dog.ogg")
    write_video(made / "rain.mp4", [texture(8, FRAME_PX)] * 50, sound=samples_of(RAIN))
    for name, photo in (("cat.mp4", "photo-07.jpg"), ("orangutan.mp4", "photo-04.jpg")):
        write_video(made / name, [_photo(photo).resize(FRAME_PX)] * 30)
    write_video(made / "speech.mp4", [texture(7, FRAME_PX)] * 110, sound=samples_of(JFK))
    return made


def questions(folder: Path) -> dict[str, Any]:
    """Return the questions by name; their media are written to a folder."""
    folder.mkdir(parents=True)
    film = HERE / "collection" / "film.mp4"
    bee = _disguise(media.open_picture(film, FrameRegion(36.0)))
    cat, orangutan, chimpanzee = (_disguise(_photo(f"photo-{n}.jpg")) for n in ("07", "04", "01"))
    guenon, bonobo = (_disguise(_photo(f"photo-{n}.jpg")) for n in ("06", "05"))
    spoken = _audio_questions(folder)
    sounds = {name: samples_of(Path(part.source)) for name, part in spoken.items()}
    films = {
        "film cat": (cat, None),
        "film orangutan": (orangutan, None),
        "film chimpanzee": (chimpanzee, sounds["said gombe"]),
        "film country": (texture(9), sounds["said country"]),
        "film flowers": (bee, sounds["said flowers"]),
    }
    return {
        "hours": "When is the gallery open?",
        "hunt": "hunting bush babies with spears",
        "nectar": "how a hive learns where nectar is",
        **{words: words for words in ("an orangutan", "a tabby cat", "a guenon monkey", "a bee on a flower")},
        "camp": "a young woman's camp by the lake",
        "news": "what the teacher wrote when he heard the news",
        "country": "ask what you can do for your country",
        "picture cat": cat,
        "picture orangutan": orangutan,
        "picture bee": bee,
        "picture guenon": guenon,
        "picture chimpanzee": chimpanzee,
        "picture bonobo": bonobo,
        **spoken,
        **{name: Video(_write_video(folder / f"{name}.mp4", *shown)) for name, shown in films.items()},
        "this eats": [Text("What does it eat?", 0.5), Image(orangutan)],
        "this and flowers": [Text("flowers"), Image(bee)],
        "this and not hours": [Image(cat), Not(Text("opening hours of the gallery"))],
        "a monkey but not this ape": [Text("a monkey"), Not(Image(chimpanzee))],
        "this as an animal": [Image(cat), Text("an animal")],
        "this and tools": [Text("a telegram about tools"), Image(chimpanzee)],
        "this and a camp": [Text("a camp on the shore"), Image(chimpanzee)],
        "heard and country": [spoken["said country"], Text("my country")],
        "a bee but not this cat": [Text("a bee"), Not(Image(cat))],
    }


def _audio_questions(folder: Path) -> dict[str, Audio]:
    country = write_audio(folder / "country.wav", samples_of(JFK)[: 6 * SAMPLE_RATE])
    return {
        "said gombe": Audio(_cut(folder / "gombe.wav", "audio-guide.m4a", 4.0, 15.0)),
        "said telegram": Audio(_cut(folder / "telegram.wav", "audio-guide.m4a", 37.2, 46.9)),
        "said flowers": Audio(_cut(folder / "flowers.wav", "film.mp4", 33.0, 40.4)),
        "said greybeard": Audio(_cut(folder / "greybeard.wav", "audio-guide.m4a", 15.0, 29.6)),
        "said squirrels": Audio(_cut(folder / "squirrels.wav", "film.mp4", 22.0, 32.0)),
        "said leap": Audio(_cut(folder / "leap.wav", "film.mp4", 17.6, 21.4)),
        "said country": Audio(country),
        "barking": Audio(write_audio(folder / "barking.wav", _soften(DOG))),
        "raining": Audio(write_audio(folder / "raining.wav", _soften(RAIN))),
    }


def measure(base: KnowledgeBase, folder: Path) -> dict[tuple[str, str], Cell]:
    """Ask every question, print the misses, and count by cell."""
    opened = {
        name: open_question(question, base.settings, audio=base._audio) for name, question in questions(folder).items()
    }
    files = {modality: _names(base, "an animal", modality) for modality in MODALITIES}
    cells: dict[tuple[str, str], Cell] = {}
    for source, target, name, right in ROWS:
        found = _names(base, opened[name], target)
        cell = cells.get((source, target), Cell(0, 0, 0.0))
        chance = cell.chance * cell.asked + len(right) / max(len(files[target]), 1)
        first_is_right = bool(found) and found[0] in right
        cells[source, target] = Cell(cell.right + first_is_right, cell.asked + 1, chance / (cell.asked + 1))
        if not first_is_right:
            print(f"{source:>8} to {target:<5}  {name}: {', '.join(found[:3])} instead of {', '.join(right)}")
    return cells


def _names(base: KnowledgeBase, question: Any, modality: Modality) -> list[str]:
    """Return the names of the files found, each once, best first."""
    hits = base.search(question, modality=modality, top_k=100)
    return list(dict.fromkeys(Path(hit.path).name for hit in hits))


def _photo(name: str) -> Pixels.Image:
    return media.open_picture(HERE / "collection" / name, ImageRegion())


def _disguise(picture: Pixels.Image) -> Pixels.Image:
    """Return the picture mirrored, without its edges, and darker."""
    width, height = picture.size
    inner = picture.crop((width // 10, height // 10, width - width // 12, height - height // 12))
    return ImageEnhance.Brightness(ImageOps.mirror(inner)).enhance(0.8)


def _soften(path: Path) -> Any:
    """Return the sound without its first second, less than half as loud."""
    return 0.4 * samples_of(path)[SAMPLE_RATE:]


def _cut(path: Path, source: str, start_s: float, end_s: float) -> Path:
    samples = samples_of(HERE / "collection" / source)
    return write_audio(path, samples[int(start_s * SAMPLE_RATE) : int(end_s * SAMPLE_RATE)])


def _write_video(path: Path, picture: Pixels.Image, sound: Any) -> Path:
    length = 30 if sound is None else round(10 * len(sound) / SAMPLE_RATE)
    return write_video(path, [picture.resize(FRAME_PX)] * length, sound=sound)


def table(cells: dict[tuple[str, str], Cell]) -> list[Sequence[str]]:
    """Return the matrix as rows of text: recall, and in brackets what guessing gives."""
    rows = []
    for source in SOURCES:
        row = [source]
        for target in MODALITIES:
            cell = cells[source, target]
            row.append(f"{cell.recall:.2f} ({cell.chance:.2f})")
        rows.append(row)
    return rows


def main() -> None:
    """Make the collection, ask, print."""
    from rich.console import Console
    from rich.table import Table

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.parse_args()
    with (
        tempfile.TemporaryDirectory() as name,
        KnowledgeBase.open(Path(name) / "base", Settings(transcriber="tiny.en")) as base,
    ):
        base.ingest(collection(Path(name)))
        cells = measure(base, Path(name) / "questions")
    drawn = Table("question", *(f"to {target}" for target in MODALITIES), title="Right file first (by guessing)")
    for row in table(cells):
        drawn.add_row(*row)
    Console(width=120).print(drawn)


if __name__ == "__main__":
    main()
