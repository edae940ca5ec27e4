"""Runs of ingest over real files, readers, catalog and store; encoders without models."""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from ingest.formats.identify import identify
from ingest.pipeline import Stores, ingest, remove
from ingest.plan import plan
from ingest.reading.readers import Readers
from rag.catalog.catalog import Catalog
from rag.config import Settings
from rag.encoders.base import Vectors
from rag.errors import LLMUnavailable, MediaError, ModelError, QueryError
from rag.index import open_index
from rag.media import Renderings
from rag.types import FileResult, Filter
from tests.fakes.encoders import HashingEncoder, HashingTextEncoder
from tests.fakes.files import PROSE, photo, png, write
from tests.fakes.media import silence, write_video

UNSPEAKABLE = "This text cannot be embedded."
OUTAGE = "The encoder cannot be reached."


class RefusingEncoder(HashingTextEncoder):
    """Refuses passages with a word, and cannot be reached for those with another."""

    def embed_text(self, texts: list[str]) -> Vectors:
        if any("unspeakable" in text for text in texts):
            raise ModelError(UNSPEAKABLE)
        if any("outage" in text for text in texts):
            raise ModelError(OUTAGE) from LLMUnavailable("It cannot be reached.")
        return super().embed_text(texts)


@pytest.fixture
def stores(tmp_path: Path) -> Iterator[Stores]:
    settings, text = Settings(threads=1, ocr="off", audio_encoder="off"), RefusingEncoder()
    index = open_index(tmp_path / "index", settings, {"text": text.card, "joint": text.card})
    catalog = Catalog(f"sqlite:///{tmp_path / 'catalog.db'}")
    yield Stores(settings, catalog, index, text, HashingEncoder(), Renderings(tmp_path / "renderings"))
    catalog.close()
    index.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "media").mkdir()
    return tmp_path / "media"


def states(results: Iterator[FileResult]) -> dict[str, str]:
    return {Path(result.path).name: result.state for result in results}


def planned_actions(folder: Path, stores: Stores) -> dict[str, str]:
    return {Path(file.path).name: file.action for file in plan([folder], stores).files}


def test_all_copies_of_a_damaged_file_fail(folder: Path, stores: Stores) -> None:
    data = png(photo())
    for name in ("a.png", "b.png"):
        write(folder, name, data[: len(data) // 2])
    assert states(ingest([folder], stores)) == {"a.png": "failed", "b.png": "failed"}
    assert len(stores.catalog.failures()) == 2


def test_a_copy_is_read_if_the_first_disappears_before_its_turn(folder: Path, stores: Stores) -> None:
    for name in ("a.txt", "b.txt", "c.txt"):
        write(folder, name, PROSE)
    write(folder, "z.bin", bytes(range(256)))
    results = ingest([folder], stores)
    assert states(iter([next(results)])) == {"z.bin": "failed"}
    (folder / "a.txt").unlink()
    assert states(results) == {"a.txt": "failed", "b.txt": "indexed", "c.txt": "unchanged"}
    assert states(ingest([folder], stores)) == {
        "a.txt": "removed",
        "b.txt": "unchanged",
        "c.txt": "unchanged",
        "z.bin": "failed",
    }


def test_captions_of_a_copy_apply_to_all_copies(folder: Path, stores: Stores) -> None:
    for name in ("a", "b"):
        (folder / name).mkdir()
        write(folder / name, f"{name}.png", png(photo()))
    write(folder / "b", "page.md", "![The hill](b.png)\n")
    results = {Path(result.path).name: result for result in ingest([folder], stores)}
    (segment,) = stores.index.segments_of(results["a.png"].asset_id)
    assert segment.caption == "The hill"
    assert set(states(ingest([folder], stores)).values()) == {"unchanged"}


def test_a_file_that_cannot_be_embedded_fails_alone(folder: Path, stores: Stores) -> None:
    for name, words in (("a.txt", PROSE), ("b.txt", "It is unspeakable."), ("c.txt", f"{PROSE} Again.")):
        write(folder, name, words)
    shutil.copy(folder / "b.txt", folder / "d.txt")
    results = states(ingest([folder], stores))
    assert results == {"a.txt": "indexed", "b.txt": "failed", "c.txt": "indexed", "d.txt": "failed"}
    assert {failure.reason for failure in stores.catalog.failures()} == {UNSPEAKABLE}


def test_an_encoder_that_cannot_be_reached_ends_the_run(folder: Path, stores: Stores) -> None:
    write(folder, "a.txt", "There is an outage.")
    with pytest.raises(ModelError, match=OUTAGE):
        list(ingest([folder], stores))
    assert stores.catalog.failures() == ()


def test_a_file_that_is_still_there_is_not_removed(folder: Path, stores: Stores) -> None:
    hidden = write(folder, ".plan.txt", PROSE)
    write(folder, "a.txt", f"{PROSE} Again.")
    assert states(ingest([hidden], stores)) == {".plan.txt": "indexed"}
    assert states(ingest([folder], stores)) == {"a.txt": "indexed"}
    hidden.unlink()
    assert [file.action for file in plan([folder, folder], stores).files] == ["unchanged", "remove"]
    assert states(ingest([folder], stores)) == {"a.txt": "unchanged", ".plan.txt": "removed"}


def test_a_plan_is_what_is_done(folder: Path, stores: Stores) -> None:
    write(folder, "a.txt", PROSE)
    write(folder, "copy of a.txt", PROSE)
    write(folder, "gone.txt", f"{PROSE} Again.")
    write(folder, "broken.png", b"\x89PNG\r\n\x1a\n")
    actions = {"a.txt": "index", "copy of a.txt": "unchanged", "gone.txt": "index", "broken.png": "fail"}
    assert planned_actions(folder, stores) == actions
    list(ingest([folder], stores))
    (folder / "gone.txt").unlink()
    (folder / "a.txt").rename(folder / "b.txt")
    actions = {"b.txt": "unchanged", "copy of a.txt": "unchanged", "broken.png": "fail"}
    assert planned_actions(folder, stores) == actions | {"a.txt": "remove", "gone.txt": "remove"}
    assert stores.catalog.files_under(folder / "a.txt")  # nothing was done


def test_a_plan_knows_the_limits(folder: Path, stores: Stores) -> None:
    frames = [Image.new("L", (8, 8), 9 * n) for n in range(4)]
    frames[0].save(folder / "a.tif", save_all=True, append_images=frames[1:])
    settings = stores.settings.model_copy(update={"max_pages": 3})
    with pytest.raises(MediaError, match=r"\b4\b"):
        list(Readers(settings).measure(identify(folder / "a.tif", settings)))


@pytest.mark.parametrize("sound", [None, silence(52)], ids=["silent", "with sound"])
def test_a_plan_counts_the_sound_of_a_video_once(
    folder: Path, stores: Stores, sound: NDArray[np.float32] | None
) -> None:
    write_video(folder / "a.mp4", [Image.new("RGB", (64, 64))] * 52, fps=1, sound=sound)
    (planned_file,) = plan([folder], stores).files
    frames, speech, windows = math.ceil(52 / stores.settings.frame_every_s), 3, 2
    assert planned_file.segments == frames + (0 if sound is None else speech)
    assert planned_file.model_calls == 2 * frames + (0 if sound is None else speech + windows)


def test_a_file_that_changes_while_it_is_read_fails(folder: Path) -> None:
    settings = Settings(ocr="off")
    source = identify(write(folder, "a.txt", PROSE * 20), settings)
    reading = Readers(settings).extract(source)
    next(reading)
    os.utime(source.path, ns=(0, source.mtime_ns + 1))
    with pytest.raises(MediaError) as caught:
        list(reading)
    assert type(caught.value) is MediaError


def test_nothing_is_removed_if_a_name_is_wrong(folder: Path, stores: Stores) -> None:
    path = write(folder, "a.txt", PROSE)
    list(ingest([folder], stores))
    with pytest.raises(QueryError, match=r"typo\.txt"):
        list(remove([path, folder / "typo.txt"], stores))
    assert states(remove([path, folder], stores)) == {"a.txt": "removed"}


def test_product_fields_can_be_filtered_and_change_with_the_table(stores, folder):
    write(folder, "chair.png", png(photo(20, 20)))
    write(folder, "shop.csv", "image,price,colour\nchair.png,40,red\n")
    list(ingest([folder], stores))

    def found(**where):
        return stores.index.count(Filter(where={"kind": "picture", **where}))

    assert found(price={"lte": 50}, colour="red") == 1
    assert found(price={"lte": 30}) == 0
    write(folder, "shop.csv", "image,price,colour\nchair.png,30,red\n")
    states = {Path(result.path).name: result.state for result in ingest([folder], stores)}
    assert states == {"chair.png": "indexed", "shop.csv": "indexed"}
    assert found(price={"lte": 30}) == 1
    assert {result.state for result in ingest([folder / "chair.png"], stores)} == {"unchanged"}
