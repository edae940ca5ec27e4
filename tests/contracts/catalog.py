"""The contract of a catalog on every database."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from rag.catalog.catalog import Catalog
from rag.errors import KnowledgeBaseBusy
from rag.types import Source

RECIPE = "recipe-1"


def file_with(path: Path, text: str, captions: tuple[str, ...] = ()) -> Source:
    path.write_text(text)
    stat = path.stat()
    return Source(path, f"{text:0>64}", stat.st_size, "text/plain", "document", stat.st_mtime_ns, captions)


def ingest_file(catalog: Catalog, source: Source, segments: int = 2) -> list[str]:
    orphans = catalog.begin(source, RECIPE)
    catalog.finish(source.asset_id, segments)
    return orphans


class CatalogContract:
    """A test class inherits it and gives it the ``url`` of an empty database."""

    @pytest.fixture
    def url(self) -> str:
        raise NotImplementedError

    @pytest.fixture
    def catalog(self, url: str) -> Iterator[Catalog]:
        opened = Catalog(url)
        yield opened
        opened.forget(opened.files_under(Path("/")))
        opened.delete(opened.interrupted())
        opened.close()

    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        (tmp_path / "media").mkdir()
        return tmp_path / "media"

    def test_an_ingested_file_is_unchanged_until_its_size_time_recipe_or_captions_change(
        self, catalog: Catalog, folder: Path
    ) -> None:
        source = file_with(folder / "a.txt", "one", ("a dog",))
        assert catalog.find_unchanged(source.path, RECIPE, ("a dog",)) is None
        ingest_file(catalog, source)
        known = catalog.find_unchanged(source.path, RECIPE, ("a dog",))
        assert known is not None
        assert (known.id, known.segments) == (source.asset_id, 2)
        assert catalog.find_unchanged(source.path, "recipe-2", ("a dog",)) is None
        assert catalog.find_unchanged(source.path, RECIPE, ("a cat",)) is None
        os.utime(source.path, ns=(1, 1))
        assert catalog.find_unchanged(source.path, RECIPE, ("a dog",)) is None

    def test_fields_count_if_a_product_table_was_read(self, catalog: Catalog, folder: Path) -> None:
        source = replace(file_with(folder / "a.txt", "one"), fields={"price": 3, "sale": True})
        ingest_file(catalog, source)
        assert catalog.find_unchanged(source.path, RECIPE, (), source.fields)
        assert catalog.find_unchanged(source.path, RECIPE, ())
        assert catalog.find_unchanged(source.path, RECIPE, (), {"price": 3}) is None
        assert catalog.find_unchanged(source.path, RECIPE, (), {}) is None
        assert catalog.find_finished(source, RECIPE, is_catalogued=True)
        assert catalog.find_finished(replace(source, fields={}), RECIPE)
        assert catalog.find_finished(replace(source, fields={}), RECIPE, is_catalogued=True) is None

    def test_a_file_that_changes_while_it_is_read_is_not_unchanged(self, catalog: Catalog, folder: Path) -> None:
        source = file_with(folder / "a.txt", "one")
        os.utime(source.path, ns=(1, 1))
        ingest_file(catalog, source)
        assert catalog.find_unchanged(source.path, RECIPE, ()) is None

    def test_a_missing_file_is_never_unchanged(self, catalog: Catalog, folder: Path) -> None:
        source = file_with(folder / "a.txt", "one")
        ingest_file(catalog, source)
        source.path.unlink()
        assert catalog.find_unchanged(source.path, RECIPE, ()) is None

    def test_new_content_orphans_the_old_asset(self, catalog: Catalog, folder: Path) -> None:
        old = file_with(folder / "a.txt", "one")
        assert ingest_file(catalog, old) == []
        assert ingest_file(catalog, file_with(folder / "a.txt", "three")) == [old.asset_id]
        assert catalog.interrupted() == [old.asset_id]
        catalog.delete([old.asset_id])
        assert catalog.interrupted() == []
        assert catalog.counts() == {"indexed": 1, "empty": 0, "failed": 0}

    def test_the_same_content_under_two_names_is_one_asset(self, catalog: Catalog, folder: Path) -> None:
        first, copy = file_with(folder / "a.txt", "one"), file_with(folder / "b.txt", "one")
        assert catalog.find_finished(copy, RECIPE) is None
        assert catalog.attach(copy) == []  # seen before the asset itself is written
        ingest_file(catalog, first)
        assert catalog.find_finished(copy, RECIPE) == catalog.find_unchanged(copy.path, RECIPE, ())
        assert catalog.paths_of([first.asset_id, "unknown"]) == {first.asset_id: [str(first.path), str(copy.path)]}
        assert catalog.forget([first.path]) == []
        assert catalog.forget([copy.path]) == [first.asset_id]
        assert catalog.paths_of([first.asset_id]) == {}

    def test_many_assets_are_read_and_deleted_at_once(self, catalog: Catalog, folder: Path) -> None:
        sources = [file_with(folder / f"{number:04}", f"{number:04}") for number in range(520)]
        for source in sources[::13]:
            catalog.attach(source)
        ids = [source.asset_id for source in sources]
        assert len(catalog.paths_of(ids)) == 40
        catalog.delete(ids)
        assert catalog.paths_of(ids) == {}
        assert len(catalog.files_under(folder)) == 40  # to be read again

    def test_an_asset_is_interrupted_until_it_is_finished(self, catalog: Catalog, folder: Path) -> None:
        source = file_with(folder / "a.txt", "one")
        catalog.begin(source, RECIPE)
        assert catalog.interrupted() == [source.asset_id]
        assert catalog.find_unchanged(source.path, RECIPE, ()) is None
        assert catalog.counts() == {"indexed": 0, "empty": 0, "failed": 0}
        catalog.finish(source.asset_id, 0)
        assert catalog.interrupted() == []
        assert catalog.counts() == {"indexed": 0, "empty": 1, "failed": 0}

    def test_failures_are_listed_with_their_reason_until_the_file_is_ingested(
        self, catalog: Catalog, folder: Path
    ) -> None:
        source = file_with(folder / "a.txt", "one")
        assert catalog.fail(source.path, "permission denied") == []
        (failure,) = catalog.failures()
        assert (failure.path, failure.state, failure.reason) == (str(source.path), "failed", "permission denied")
        assert catalog.counts() == {"indexed": 0, "empty": 0, "failed": 1}
        assert catalog.files_under(folder) == [source.path]
        ingest_file(catalog, source)
        assert catalog.failures() == ()

    def test_a_failure_orphans_what_the_file_held_before(self, catalog: Catalog, folder: Path) -> None:
        source = file_with(folder / "a.txt", "one")
        ingest_file(catalog, source)
        assert catalog.fail(source.path, "now it is damaged") == [source.asset_id]
        assert catalog.interrupted() == [source.asset_id]

    def test_a_failure_to_read_the_same_content_again_keeps_what_is_indexed(
        self, catalog: Catalog, folder: Path
    ) -> None:
        source = file_with(folder / "a.txt", "one")
        ingest_file(catalog, source)
        assert catalog.fail(source.path, "the reader took too long", source) == []
        assert catalog.paths_of([source.asset_id]) == {source.asset_id: [str(source.path)]}
        assert len(catalog.failures()) == 1
        assert catalog.find_unchanged(source.path, RECIPE, ()) is None  # it is tried again

    def test_files_are_listed_by_folder_and_not_by_prefix(self, catalog: Catalog, folder: Path) -> None:
        names = ["a/1.txt", "a/b/2.txt", "ab/3.txt", "a%_/4.txt"]
        for name in names:
            (folder / name).parent.mkdir(exist_ok=True)
            catalog.fail(folder / name, "for the test")
        assert catalog.files_under(folder / "a") == [folder / "a/1.txt", folder / "a/b/2.txt"]
        assert catalog.files_under(folder / "a/1.txt") == [folder / "a/1.txt"]
        assert catalog.files_under(folder / "a%_") == [folder / "a%_/4.txt"]
        assert len(catalog.files_under(Path("/"))) == 4

    def test_names_and_reasons_that_are_not_utf8_survive(self, catalog: Catalog, folder: Path) -> None:
        path = folder / "caf\udce9 100%25.txt"
        catalog.fail(path, f"{path} is \0 not readable")
        assert catalog.files_under(folder) == [path]
        assert catalog.failures()[0].path == str(path)
        assert "\\udce9" in catalog.failures()[0].reason

    def test_assets_of_a_killed_process_are_listed_as_interrupted(self, url: str, tmp_path: Path) -> None:
        code = (
            "import os, sys; from pathlib import Path\n"
            "from rag.catalog.catalog import Catalog; from rag.types import Source\n"
            "source = Source(Path(sys.argv[2]), 'f' * 64, 3, 'text/plain', 'document')\n"
            "Catalog(sys.argv[1]).begin(source, 'r'); os._exit(9)"
        )
        root = Path(__file__).parents[2]
        killed = subprocess.run([sys.executable, "-c", code, url, str(tmp_path / "a")], cwd=root, check=False)
        assert killed.returncode == 9
        opened = Catalog(url)
        cut_off = opened.interrupted()
        opened.delete(cut_off)
        assert len(cut_off) == 1
        assert opened.interrupted() == []
        opened.close()

    def test_threads_share_it(self, catalog: Catalog, folder: Path) -> None:
        def work(worker: int) -> None:
            for number in range(10):
                name = f"{worker}-{number}"
                ingest_file(catalog, file_with(folder / name, name))

        threads = [threading.Thread(target=work, args=(worker,)) for worker in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert catalog.counts() == {"indexed": 40, "empty": 0, "failed": 0}

    def test_processes_on_one_database_server_write_one_at_a_time(self, url: str) -> None:
        with closing(Catalog(url)) as one, closing(Catalog(url)) as other:
            assert one.identity == other.identity
            with one.write_lock():
                if url.startswith("postgresql"):
                    with pytest.raises(KnowledgeBaseBusy), other.write_lock():
                        pass
            with other.write_lock():
                pass
