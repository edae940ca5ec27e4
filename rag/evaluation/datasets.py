"""The evaluation sets, loaded on demand from the folder of the setting `data`.

None of them ships: their licences differ, and `flickr_dev` may only be measured on. Without one of their files the
error names it.
"""

from __future__ import annotations

import csv
import json
import tarfile
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rag.config import Settings
from rag.encoders.training_split import held_out
from rag.errors import QueryError, SettingsError
from rag.evaluation.labelled_questions import Question, shipped_questions
from rag.evaluation.retrieval_sets import Direction, EvaluationSet, Item
from rag.types import Modality

FIGURES = "anthropology/media/"
FIGURES_NOTE = f"The encoder `lite` was trained on 241 of the 328 figures in `{FIGURES}`."
_MODALITIES: Mapping[str, Modality] = {"image": "image", "sound": "audio", "speech": "audio"}  # of whole files
NO_DATA = "EXHIBIT_DATA is not set; set it to the folder that holds the evaluation sets."


@dataclass(frozen=True, slots=True)
class KnownSet:
    """A set of `exhibit eval --list`: its description, folder below `data`, reader and caveats."""

    name: str
    about: str
    folder: str
    read: Callable[[Path, Settings], Sequence[Direction]]
    notes: tuple[str, ...] = ()


def load(name: str, settings: Settings, *, limit: int | None = None) -> EvaluationSet:
    """Load a set by name, with at most `limit` queries in each direction and all items.

    Raises:
        QueryError: the set is unknown, or its files are missing.
    """
    known = next((one for one in SETS if one.name == name), None)
    if known is None:
        names = ", ".join(one.name for one in SETS)
        raise QueryError(f"There is no set `{name}`. Choose from {names}, or give a JSON Lines file of questions.")
    folder = data_folder(settings) / known.folder
    if not folder.is_dir():
        raise QueryError(f"The folder {folder} of the set `{name}` is missing. Set EXHIBIT_DATA to its parent.")
    directions = [_limited(direction, limit) for direction in known.read(folder, settings)]
    return EvaluationSet(name, known.about, directions, known.notes)


def data_folder(settings: Settings) -> Path:
    """Return the absolute path of the folder that holds the sets.

    Raises:
        SettingsError: the settings name no folder.
    """
    if settings.data is None:
        raise SettingsError(NO_DATA)
    return settings.data.absolute()


def to_questions(chosen: EvaluationSet, data: Path) -> list[Question]:
    """Convert the text queries of a set that search whole files to questions for a knowledge base of these files.

    Args:
        chosen: the set.
        data: the folder of its files; assets are named relative to it, so a copy of the files works too.

    Raises:
        QueryError: the set has no such queries.
    """
    made = []
    for direction in chosen.directions:
        files = {item.id: item for item in direction.items if item.medium in _MODALITIES and not item.span}
        for query in (query for query in direction.queries if query.medium == "text"):
            if found := [files[key] for key in sorted(direction.relevant[query.id]) if key in files]:
                assets = tuple(_below(data, item) for item in found)
                made.append(Question(query.text, assets, modality=_MODALITIES[found[0].medium]))
    if not made:
        raise QueryError(
            f"`{chosen.name}` has no text queries for whole files; use it without --kb, to measure encoders."
        )
    return made


def _below(data: Path, item: Item) -> str:
    assert item.path is not None
    return item.path.relative_to(data.absolute()).as_posix()


def sample_evenly(things: Sequence[Any], limit: int | None) -> Sequence[Any]:
    """Return at most `limit` of them, evenly spaced, because sets are sorted by photo, book or kind."""
    if limit is None or limit >= len(things):
        return things
    return [things[n * len(things) // limit] for n in range(limit)]


def _limited(direction: Direction, limit: int | None) -> Direction:
    return replace(direction, queries=sample_evenly(direction.queries, limit))


def _flickr(folder: Path, _: Settings) -> Sequence[Direction]:
    photos, captions = _photos(folder)
    by_photo = _ids_by_family(captions)
    return [
        Direction("text>image", "joint", captions, photos, _families(captions)),
        Direction("image>text", "joint", photos, captions, {photo.id: by_photo[photo.id] for photo in photos}),
    ]


def _flickr_spoken(folder: Path, _: Settings) -> Sequence[Direction]:
    photos, _captions = _photos(folder)
    spoken = [one for one in _recordings(folder) if one.family in {photo.id for photo in photos}]
    return [Direction("speech>image", "joint", spoken, photos, _families(spoken))]


def _speech(folder: Path, _: Settings) -> Sequence[Direction]:
    """Return recordings searched by their words; the queries are other captions of the same photo."""
    spoken = _recordings(folder)
    said = {one.family: _plain(one.text) for one in spoken}
    captions = _photos(folder)[1]
    others = [one for one in captions if one.family in said and _plain(one.text) != said[one.family]]
    exact = [Item(one.id, "text", one.text, family=one.family) for one in spoken]
    recording = {one.family: frozenset({one.id}) for one in spoken}
    return [
        Direction("words>speech", "text", exact, spoken, {one.id: recording[one.family] for one in exact}),
        Direction("paraphrase>speech", "text", others, spoken, {one.id: recording[one.family] for one in others}),
    ]


def _photos(folder: Path) -> tuple[list[Item], list[Item]]:
    with _require_file(folder / "captions.csv").open(encoding="utf-8", newline="") as file:
        rows = [(row["image"], row["caption"].strip()) for row in csv.DictReader(file)]
    names = dict.fromkeys(image for image, _ in rows)
    photos = [Item(name, "image", path=_require_file(folder / "images" / name), family=name) for name in names]
    captions = [Item(f"{name}#{n}", "text", caption, family=name) for n, (name, caption) in enumerate(rows) if caption]
    return photos, captions


def _recordings(folder: Path) -> list[Item]:
    paths = sorted((folder / "spoken").glob("*.mp3"))
    if not paths:
        raise QueryError(f"{folder / 'spoken'} holds no recordings; the set needs them.")
    return [Item(path.name, "speech", _transcript(path), path, family=f"{path.stem}.jpg") for path in paths]


def _transcript(recording: Path) -> str:
    return _require_file(recording.with_suffix(".txt")).read_text("utf-8").strip()


def _openstax(folder: Path, _: Settings) -> Sequence[Direction]:
    lines = _require_file(folder / "pairs.jsonl").read_text("utf-8").splitlines()
    rows = [row for row in map(json.loads, lines) if held_out(row["module_id"]) == "test"]
    spans = {shard: _members(_require_file(folder / shard)) for shard in sorted({row["shard"] for row in rows})}
    # Figures of one module share their subject and often their wording: 538 figures are 212 clusters.
    labels = {r["id"]: {"family": r["id"], "slice": r["kind"], "cluster": r["module_id"]} for r in rows}
    figures = [
        Item(r["id"], "image", r["alt"], folder / r["shard"], spans[r["shard"]][r["path"]], **labels[r["id"]])
        for r in rows
    ]
    alts, captions = (
        [Item(r["id"], "text", r[key].strip(), **labels[r["id"]]) for r in rows if r[key].strip()]
        for key in ("alt", "caption")
    )
    described = [figure for figure in figures if figure.id in {alt.id for alt in alts}]
    return [
        Direction("alt>figure", "joint", alts, figures, _families(alts)),
        Direction("figure>alt", "joint", described, alts, _families(described)),
        Direction("caption>figure", "joint", captions, figures, _families(captions)),
    ]


def _members(shard: Path) -> dict[str, tuple[int, int]]:
    """Return the start and size of each file in a tar archive, so that single files can be read."""
    with tarfile.open(shard) as archive:
        return {member.name: (member.offset_data, member.size) for member in archive if member.isfile()}


def _anthropology(folder: Path, settings: Settings) -> Sequence[Direction]:
    asked = list(shipped_questions("anthropology/"))
    passages = [
        passage for path in sorted(folder.glob("modules/*/index.cnxml")) for passage in _passages(path, settings)
    ]
    media = sorted(path for path in (folder / "media").iterdir() if path.suffix.lower() in (".jpg", ".png"))
    trained = trained_on(folder.parent)
    slices = {path.name: "trained on" if path.name in trained else "not trained on" for path in media if trained}
    figures = [
        Item(path.name, "image", path=path, family=f"{FIGURES}{path.name}", slice=slices.get(path.name, ""))
        for path in media
    ]
    return [
        Direction("question>passage", "text", *_searched(asked, passages), by_family=True),
        Direction("question>figure", "joint", *_searched(asked, figures), by_family=True),
    ]


def trained_on(data: Path) -> frozenset[str]:
    """Return the figures that the encoder `lite` was trained on; none if `openstax_pairs` is missing."""
    pairs = data / "openstax_pairs" / "pairs.jsonl"
    rows = map(json.loads, pairs.read_text("utf-8").splitlines() if pairs.is_file() else ())
    return frozenset(Path(row["path"]).name for row in rows if held_out(row["module_id"]) == "train")


def _passages(path: Path, settings: Settings) -> Iterable[Item]:
    """Yield the passages of a module, cut as by `exhibit ingest`."""
    from ingest.formats.identify import identify
    from ingest.reading.readers import Readers

    module = f"anthropology/modules/{path.parent.name}/{path.name}"
    for extracted in Readers(settings).extract(identify(path, settings)):
        segment = extracted.segment
        if segment.kind == "passage" and segment.text.strip():
            yield Item(f"{module}:{segment.ordinal}", "text", segment.text, family=module)


def _searched(
    asked: Sequence[Question], items: Sequence[Item]
) -> tuple[list[Item], Sequence[Item], Mapping[str, frozenset[str]]]:
    """Return queries, items and relevant ids; assets of other media, which are not searched, are left out."""
    families = {item.family for item in items}
    relevant = {q.question: families & set(q.assets) for q in asked if families & set(q.assets)}
    slices = {item.family: item.slice for item in items}
    queries = [Item(q, "text", q, family=q, slice=slices[min(found)]) for q, found in relevant.items()]
    return queries, items, {question: frozenset(assets) for question, assets in relevant.items()}


def _esc10(folder: Path, _: Settings) -> Sequence[Direction]:
    paths = sorted(folder.glob("*/*.ogg"))
    sounds = [
        Item(f"{path.parent.name}/{path.name}", "sound", _class(path), path, None, path.parent.name, _class(path))
        for path in paths
    ]
    names = {sound.family: sound.text for sound in sounds}
    classes = [Item(family, "text", name, family=family, slice=name) for family, name in names.items()]
    of_class = _ids_by_family(sounds)
    others = {sound.id: of_class[sound.family] - {sound.id} for sound in sounds}
    return [
        Direction("name>sound", "audio", classes, sounds, of_class),
        Direction("sound>sound", "audio", [one for one in sounds if others[one.id]], sounds, others),
    ]


def _class(path: Path) -> str:
    """Return the class of a file: ``001 - Dog bark/1-100032-A.ogg`` is a dog bark."""
    return path.parent.name.partition(" - ")[2].lower()


def _families(things: Iterable[Item]) -> dict[str, frozenset[str]]:
    """Return the family of each item by its id."""
    return {thing.id: frozenset({thing.family}) for thing in things}


def _ids_by_family(things: Iterable[Item]) -> dict[str, frozenset[str]]:
    found: defaultdict[str, set[str]] = defaultdict(set)
    for thing in things:
        found[thing.family].add(thing.id)
    return {family: frozenset(ids) for family, ids in found.items()}


def _plain(caption: str) -> str:
    return " ".join(caption.lower().strip(" .").split())


def _require_file(path: Path) -> Path:
    if not path.is_file():
        raise QueryError(f"The file {path} of the set is missing; check EXHIBIT_DATA.")
    return path


SETS = (
    KnownSet("flickr_dev", "500 photos with 5 captions each: text>image, image>text", "flickr_dev", _flickr),
    KnownSet("flickr_spoken", "captions read out, to find their photo: speech>image", "flickr_dev", _flickr_spoken),
    KnownSet("openstax", "textbook figures of modules kept from training, by kind", "openstax_pairs", _openstax),
    KnownSet(
        "anthropology",
        "questions to a textbook: question>passage, question>figure",
        "anthropology",
        _anthropology,
        (FIGURES_NOTE,),
    ),
    KnownSet("esc10", "100 sounds of 10 classes: name>sound, sound>sound", "esc10", _esc10),
    KnownSet("speech", "recordings by what is said: words>speech, paraphrase>speech", "flickr_dev", _speech),
)
