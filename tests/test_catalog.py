"""The catalog, on SQLite always, and on PostgreSQL where EXHIBIT_TEST_POSTGRES_URL names an empty database."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from rag.catalog import Catalog
from rag.errors import IndexUnavailable
from rag.segments import asset_id

RECIPE = "recipe-1"
_POSTGRES = os.environ.get("EXHIBIT_TEST_POSTGRES_URL")


@dataclass(frozen=True)
class FakeContent:
    path: Path
    sha256: str
    size: int = 3
    media_type: str = "text/plain"
    medium: str = "document"
    captions: tuple[str, ...] = ()

    @property
    def asset_id(self) -> str:
        return asset_id(self.sha256)


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'catalog.db'}"
    if _POSTGRES is None:
        pytest.skip("EXHIBIT_TEST_POSTGRES_URL is not set")
    return _POSTGRES


@pytest.fixture
def catalog(url: str) -> Iterator[Catalog]:
    opened = Catalog(url)
    yield opened
    for path in opened.files_under(Path("/")):
        opened.forget(path)
    opened.delete([asset.id for asset in opened.assets()])
    opened.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "media").mkdir()
    return tmp_path / "media"


def file_with(path: Path, text: str, captions: tuple[str, ...] = ()) -> FakeContent:
    path.write_text(text)
    return FakeContent(path, f"{text:0>64}", len(text), captions=captions)


def taken_in(catalog: Catalog, source: FakeContent, segments: int = 2) -> list[str]:
    assert catalog.unchanged(source.path, RECIPE, source.captions) is None
    orphans = catalog.begin(source, RECIPE)
    catalog.finish(source.asset_id, segments)
    return orphans


def test_a_file_that_was_taken_in_is_unchanged_until_its_size_time_recipe_or_captions_change(
    catalog: Catalog, folder: Path
) -> None:
    source = file_with(folder / "a.txt", "one", ("a dog",))
    taken_in(catalog, source)
    known = catalog.unchanged(source.path, RECIPE, ("a dog",))
    assert known is not None
    assert (known.id, known.state, known.segments, known.sha256) == (source.asset_id, "done", 2, source.sha256)
    assert (known.media_type, known.medium, known.captions) == ("text/plain", "document", ("a dog",))
    assert catalog.unchanged(source.path, "recipe-2", ("a dog",)) is None
    assert catalog.unchanged(source.path, RECIPE, ("a cat",)) is None
    os.utime(source.path, ns=(1, 1))
    assert catalog.unchanged(source.path, RECIPE, ("a dog",)) is None


def test_a_file_that_changes_while_it_is_read_is_not_unchanged(catalog: Catalog, folder: Path) -> None:
    source = file_with(folder / "a.txt", "one")
    catalog.unchanged(source.path, RECIPE)
    source.path.write_text("other")
    catalog.begin(source, RECIPE)
    catalog.finish(source.asset_id, 1)
    assert catalog.unchanged(source.path, RECIPE) is None


def test_a_missing_file_is_never_unchanged(catalog: Catalog, folder: Path) -> None:
    source = file_with(folder / "a.txt", "one")
    catalog.begin(source, RECIPE)
    catalog.finish(source.asset_id, 1)
    source.path.unlink()
    assert catalog.unchanged(source.path, RECIPE) is None


def test_new_content_orphans_the_old_asset(catalog: Catalog, folder: Path) -> None:
    old = file_with(folder / "a.txt", "one")
    assert taken_in(catalog, old) == []
    assert taken_in(catalog, file_with(folder / "a.txt", "three")) == [old.asset_id]
    assert catalog.interrupted() == [old.asset_id]
    catalog.delete([old.asset_id])
    assert catalog.interrupted() == []
    assert [asset.state for asset in catalog.assets()] == ["done"]


def test_the_same_content_under_two_names_is_one_asset(catalog: Catalog, folder: Path) -> None:
    first, copy = file_with(folder / "a.txt", "one"), file_with(folder / "b.txt", "one")
    catalog.unchanged(copy.path, RECIPE)
    assert catalog.attach(copy) == []  # seen before the asset itself is written
    taken_in(catalog, first)
    assert catalog.unchanged(copy.path, RECIPE) is not None
    assert catalog.paths_of([first.asset_id, "unknown"]) == {first.asset_id: [str(first.path), str(copy.path)]}
    assert catalog.forget(first.path) == []
    assert catalog.forget(copy.path) == [first.asset_id]
    assert catalog.paths_of([first.asset_id]) == {}


def test_a_copy_needs_only_its_own_captions(catalog: Catalog, folder: Path) -> None:
    both = file_with(folder / "a.txt", "one", ("a dog", "on a beach"))
    copy = file_with(folder / "b.txt", "one")
    taken_in(catalog, both)
    catalog.unchanged(copy.path, RECIPE)
    catalog.attach(copy)
    assert catalog.unchanged(copy.path, RECIPE, ("on a beach",)) is not None
    assert catalog.unchanged(copy.path, RECIPE, ("at home",)) is None


def test_attaching_keeps_a_finished_asset_finished(catalog: Catalog, folder: Path) -> None:
    taken_in(catalog, file_with(folder / "a.txt", "one"))
    copy = file_with(folder / "b.txt", "one")
    catalog.attach(copy)
    asset = catalog.asset(copy.asset_id)
    assert asset is not None
    assert (asset.state, asset.segments, asset.recipe) == ("done", 2, RECIPE)
    assert catalog.asset("unknown") is None


def test_empty_files_say_why(catalog: Catalog, folder: Path) -> None:
    source = file_with(folder / "a.txt", "one")
    catalog.begin(source, RECIPE)
    catalog.finish(source.asset_id, 0, "nothing is said in it")
    (asset,) = catalog.assets()
    assert (asset.state, asset.segments, asset.reason) == ("empty", 0, "nothing is said in it")
    assert catalog.counts() == {"empty": 1}


def test_failures_are_listed_with_their_reason_until_the_file_is_taken_in(catalog: Catalog, folder: Path) -> None:
    source = file_with(folder / "a.txt", "one")
    assert catalog.fail(source.path, "permission denied") == []
    (failure,) = catalog.failures()
    assert (failure.path, failure.state, failure.reason) == (str(source.path), "failed", "permission denied")
    assert catalog.counts() == {"failed": 1}
    assert catalog.files_under(folder) == [source.path]
    taken_in(catalog, source)
    assert catalog.failures() == ()
    assert catalog.counts() == {"done": 1}


def test_a_failure_orphans_what_the_file_held_before(catalog: Catalog, folder: Path) -> None:
    source = file_with(folder / "a.txt", "one")
    taken_in(catalog, source)
    assert catalog.fail(source.path, "now it is damaged") == [source.asset_id]
    assert catalog.interrupted() == [source.asset_id]


def test_content_that_fails_does_so_for_every_copy(catalog: Catalog, folder: Path) -> None:
    first, copy = file_with(folder / "a.txt", "one"), file_with(folder / "b.txt", "one")
    catalog.attach(copy)
    assert catalog.fail(first.path, "truncated", first) == [first.asset_id]
    assert [failure.path for failure in catalog.failures()] == [str(first.path), str(copy.path)]


def test_content_that_fails_before_it_was_an_asset_orphans_nothing(catalog: Catalog, folder: Path) -> None:
    source = file_with(folder / "a.txt", "one")
    assert catalog.fail(source.path, "truncated", source) == []


def test_files_are_found_by_folder_and_not_by_prefix(catalog: Catalog, folder: Path) -> None:
    names = ["a/1.txt", "a/b/2.txt", "ab/3.txt", "a%_/4.txt"]
    for name in names:
        (folder / name).parent.mkdir(exist_ok=True)
        catalog.fail(folder / name, "for the test")
    assert catalog.files_under(folder / "a") == [folder / "a/1.txt", folder / "a/b/2.txt"]
    assert catalog.files_under(folder / "a/1.txt") == [folder / "a/1.txt"]
    assert catalog.files_under(folder / "a%_") == [folder / "a%_/4.txt"]
    assert len(catalog.files_under(Path("/"))) == 4


def test_names_and_reasons_that_are_not_utf8_are_kept(catalog: Catalog, folder: Path) -> None:
    path = folder / "caf\udce9 100%25.txt"
    catalog.fail(path, f"{path} is \0 not readable")
    assert catalog.files_under(folder) == [path]
    assert catalog.failures()[0].path == str(path)
    assert "\\udce9" in catalog.failures()[0].reason


def test_what_was_cut_off_is_named_on_the_next_opening(url: str, tmp_path: Path) -> None:
    code = (
        "import os, sys; from pathlib import Path\n"
        "from rag.catalog import Catalog; from tests.test_catalog import FakeContent\n"
        "catalog = Catalog(sys.argv[1])\n"
        "catalog.begin(FakeContent(Path(sys.argv[2]), 'f' * 64), 'r')\n"
        "os._exit(9)"
    )
    root = Path(__file__).parent.parent
    killed = subprocess.run([sys.executable, "-c", code, url, str(tmp_path / "a")], cwd=root, check=False)
    assert killed.returncode == 9
    opened = Catalog(url)
    try:
        assert opened.interrupted() == [asset_id("f" * 64)]
        opened.delete(opened.interrupted())
        assert opened.files_under(tmp_path) == []
        assert opened.counts() == {}
    finally:
        opened.close()


def test_threads_share_it(catalog: Catalog, folder: Path) -> None:
    def work(worker: int) -> None:
        for number in range(10):
            name = f"{worker}-{number}"
            taken_in(catalog, file_with(folder / name, name))

    threads = [threading.Thread(target=work, args=(worker,)) for worker in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert catalog.counts() == {"done": 40}


def test_a_newer_catalog_is_refused(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'catalog.db'}"
    Catalog(url).close()
    with sqlite3.connect(tmp_path / "catalog.db") as connection:
        connection.execute("UPDATE catalog SET version = 99")
    connection.close()
    with pytest.raises(IndexUnavailable, match="newer Exhibit .*version 99.*pip install -U"):
        Catalog(url)


def test_a_damaged_catalog_is_an_outage_with_advice(tmp_path: Path) -> None:
    (tmp_path / "catalog.db").write_bytes(b"not a database, " * 100)
    with pytest.raises(IndexUnavailable, match="file is not a database"):
        Catalog(f"sqlite:///{tmp_path / 'catalog.db'}")


def test_a_catalog_that_cannot_be_reached_is_an_outage_that_hides_the_password(tmp_path: Path) -> None:
    with pytest.raises(IndexUnavailable, match="unable to open"):
        Catalog(f"sqlite:///{tmp_path / 'missing' / 'catalog.db'}")
    with pytest.raises(IndexUnavailable, match="URL"):
        Catalog("no url")
    with pytest.raises(IndexUnavailable) as caught:
        Catalog("postgresql://me:secret@localhost:1/x")
    assert "secret" not in str(caught.value)
