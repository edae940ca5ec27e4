"""`kill -9` at random moments of an ingest run: the next one finishes; nothing is lost, doubled or half written."""

import multiprocessing
import multiprocessing.process
import random
import shutil
import time
from contextlib import closing
from pathlib import Path

import pytest
from PIL import Image, ImageDraw

from ingest import pipeline
from rag import KnowledgeBase
from rag.catalog.catalog import Catalog
from rag.config import Settings
from rag.segments import segment_id
from rag.types import Filter
from tests.fakes.processes import FORKED

_SEED = 20
_MOST_RUNS_PER_KILL = 4


def write_collection(folder: Path) -> None:
    folder.mkdir()
    for number in range(8):
        lines = [f"Note {number}, paragraph {p}: the keeper of lamp {number}.{p} wrote a line.\n" * 4 for p in range(2)]
        (folder / f"note-{number:02}.md").write_text("\n".join(lines))
        picture = Image.new("RGB", (320, 240), (20 * number, 120, 255 - 20 * number))
        ImageDraw.Draw(picture).ellipse((40, 40, 40 + 15 * number, 200), fill=(255, 220, 20 * number))
        picture.save(folder / f"picture-{number:02}.png")


def contents(path: Path) -> dict[str, list[str]]:
    """Ids of all segments by file."""
    with KnowledgeBase.open(path, Settings(ocr="off")) as base:
        held = base._catalog.paths_of(base._catalog.asset_ids())
        ids = {name: sorted(map(segment_id, base._index.segments_of(asset))) for asset, (name,) in held.items()}
        assert sum(map(len, ids.values())) == base._index.count(Filter())
        return ids


def ingest(media: Path, path: Path) -> None:
    pipeline._BATCH, pipeline._WRITE_S = 4, 0.1  # so that a small collection is written in many steps
    with KnowledgeBase.open(path, Settings(ocr="off")) as base:
        base.ingest(media)


def ingesting(media: Path, path: Path) -> multiprocessing.process.BaseProcess:
    """A process of its own that has been forked from one which holds the modules, so that it is soon at work."""
    process = FORKED.Process(target=ingest, args=(media, path))
    process.start()
    return process


def begun(path: Path, whole: Path) -> Path:
    """A new knowledge base with the calibration of the whole one, which takes longer to measure than to take all in."""
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir()
    shutil.copy(whole / "calibration.json", path)
    return path


def at_work(path: Path, files: int) -> bool:
    """Whether a run has begun, and not yet taken in all files."""
    if not (path / "catalog.db").exists():
        return False
    with closing(Catalog(f"sqlite:///{path / 'catalog.db'}")) as catalog:
        return catalog.counts()["indexed"] < files


def test_a_run_killed_at_random_moments_can_be_finished(tmp_path: Path, pytestconfig: pytest.Config) -> None:
    wanted = pytestconfig.getoption("--kills")
    media, whole, killed = (tmp_path / name for name in ("media", "whole", "killed"))
    write_collection(media)
    ingest(media, whole)
    expected = contents(whole)
    assert len(expected) == len(list(media.iterdir()))
    begun(killed, whole)
    started = time.monotonic()
    ingesting(media, killed).join()
    seconds = time.monotonic() - started

    moments, kills = random.Random(_SEED), 0
    for _ in range(_MOST_RUNS_PER_KILL * wanted):
        # A run that had not begun, or was through, was not interrupted; beginning again lets kills meet early moments.
        if not at_work(killed, len(expected)) or moments.random() < 0.3:
            begun(killed, whole)
        process = ingesting(media, killed)
        process.join(moments.uniform(0.1, 1.0) * seconds)
        process.kill()
        process.join()
        kills += at_work(killed, len(expected))
        if kills == wanted:
            break
    assert kills == wanted
    process = ingesting(media, killed)
    process.join()
    assert process.exitcode == 0
    assert contents(killed) == expected
