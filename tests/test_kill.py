"""`kill -9` at 20 random moments of an ingest run: the next one finishes, nothing is lost, doubled or half written."""

import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image, ImageDraw

from rag import KnowledgeBase
from rag.segments import segment_id
from rag.types import Filter

_SEED = 20


def write_collection(folder: Path) -> None:
    folder.mkdir()
    for number in range(12):
        lines = [
            f"Note {number}, paragraph {p}: the keeper of lamp {number}.{p} wrote a line.\n" * 12 for p in range(6)
        ]
        (folder / f"note-{number:02}.md").write_text("\n".join(lines))
        picture = Image.new("RGB", (320, 240), (20 * number, 120, 255 - 20 * number))
        ImageDraw.Draw(picture).ellipse((40, 40, 40 + 15 * number, 200), fill=(255, 220, 20 * number))
        picture.save(folder / f"picture-{number:02}.png")


def contents(path: Path) -> dict[str, list[str]]:
    """Ids of all segments by file."""
    with KnowledgeBase.open(path) as base:
        held = {file.name: file for file in base._catalog.files_under(Path("/"))}
        ids = {
            asset: sorted(segment_id(s) for s in base._index.segments_of(asset))
            for asset in base._catalog.paths_of([r.asset_id for r in base.ingest(list(held.values()))])
        }
        assert sum(map(len, ids.values())) == base._index.count(Filter())
        return ids


def ingesting(folder: Path, base: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "rag.cli", "ingest", str(folder), "--kb", str(base)]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


@pytest.fixture(scope="module")
def collection(tmp_path_factory):
    folder = tmp_path_factory.mktemp("kill") / "media"
    write_collection(folder)
    return folder


def test_killed_at_twenty_random_moments(collection, tmp_path):
    started = time.monotonic()
    assert ingesting(collection, tmp_path / "whole").wait() == 0
    seconds = time.monotonic() - started
    expected = contents(tmp_path / "whole")

    moments = random.Random(_SEED)
    for _ in range(20):
        process = ingesting(collection, tmp_path / "killed")
        time.sleep(moments.uniform(0.2, 1.0) * seconds)
        process.send_signal(signal.SIGKILL)
        process.wait()
        if moments.random() < 0.3:  # begin again, so that kills meet early moments too
            shutil.rmtree(tmp_path / "killed", ignore_errors=True)
    assert ingesting(collection, tmp_path / "killed").wait() == 0
    assert contents(tmp_path / "killed") == expected
