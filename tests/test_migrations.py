"""Databases of earlier versions open, keep their rows and work.

``tests/data/databases`` holds SQL that earlier versions wrote: ``<store>_<schema version>[_<variant>].sql``.
They run on SQLite always; the catalog's also run on PostgreSQL where EXHIBIT_TEST_POSTGRES_URL names an empty database.
"""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa

from rag.catalog.catalog import Catalog
from rag.catalog.catalog_tables import STEPS, define_tables
from rag.catalog.database import open_engine
from rag.catalog.migrations import upgrade
from rag.errors import IndexUnavailable
from rag.personalization import store as preferences
from rag.server.history import History
from rag.server.job_store import JobStore
from rag.server.keys import Keys
from rag.types import Source

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

DATABASES = Path(__file__).parent / "data" / "databases"
CATALOGS = sorted(path.stem for path in DATABASES.glob("catalog_*.sql"))
_POSTGRES = os.environ.get("TEST_POSTGRES_URL")


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """An empty database."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'store.db'}"
        return
    if _POSTGRES is None:
        pytest.skip("EXHIBIT_TEST_POSTGRES_URL is not set")
    yield _POSTGRES
    engine = open_engine(_POSTGRES)
    metadata = sa.MetaData()
    metadata.reflect(engine)
    metadata.drop_all(engine)
    engine.dispose()


@pytest.fixture
def engine(url: str) -> Iterator[Engine]:
    engine = open_engine(url)
    yield engine
    engine.dispose()


def fill(url: str, name: str) -> None:
    """Run the SQL of an earlier version."""
    engine = open_engine(url)
    with engine.begin() as connection:
        for statement in (DATABASES / f"{name}.sql").read_text("utf-8").split(";\n"):
            if statement.strip():
                connection.execute(sa.text(statement))
    engine.dispose()


def dump(file: Path) -> list[str]:
    with closing(sqlite3.connect(file)) as connection:
        return list(connection.iterdump())


class TestCatalogs:
    def test_there_is_a_database_of_each_schema_version(self) -> None:
        assert {int(name.split("_")[1]) for name in CATALOGS} == set(range(1, len(STEPS) + 2))

    @pytest.mark.parametrize("name", CATALOGS)
    def test_rows_survive_and_the_catalog_works(self, url: str, name: str, tmp_path: Path) -> None:
        fill(url, name)
        dog = Source(Path("/media/a dog 100%.jpg"), "a" * 64, 3, "image/jpeg", "image", 5, ("a dog",))
        with closing(Catalog(url)) as catalog:
            (entry,) = catalog.entries()
            assert (entry.id, entry.path, entry.size, entry.segments) == (dog.asset_id, dog.path, 3, 2)
            assert catalog.find_finished(dog, "recipe-1")
            assert [(failure.path, failure.reason) for failure in catalog.failures()] == [("/media/b.txt", "damaged")]
            new = Source(tmp_path / "c.txt", "c" * 64, 1, "text/plain", "document")
            catalog.begin(new, "recipe-1")
            catalog.finish(new.asset_id, 1)
            identity = catalog.identity
        with closing(Catalog(url)) as catalog:
            assert catalog.identity == identity
            assert catalog.counts() == {"indexed": 2, "empty": 0, "failed": 1}
            assert catalog.forget([dog.path]) == [dog.asset_id]

    def test_one_in_the_newest_schema_is_not_changed_by_opening(self, tmp_path: Path) -> None:
        fill(f"sqlite:///{tmp_path / 'catalog.db'}", "catalog_1")
        before = dump(tmp_path / "catalog.db")
        Catalog(f"sqlite:///{tmp_path / 'catalog.db'}").close()
        assert dump(tmp_path / "catalog.db") == before

    def test_the_upgraded_schema_is_that_of_a_new_catalog(self, tmp_path: Path) -> None:
        for name in ("new", *CATALOGS):
            url = f"sqlite:///{tmp_path / name}.db"
            if name != "new":
                fill(url, name)
            Catalog(url).close()
        assert {name: columns(tmp_path / f"{name}.db") for name in CATALOGS} == dict.fromkeys(
            CATALOGS, columns(tmp_path / "new.db")
        )


def columns(file: Path) -> dict[str, list[str]]:
    """The columns of each table in a file, sorted: an added column is the last."""
    engine = open_engine(f"sqlite:///{file}")
    inspector = sa.inspect(engine)
    found = {
        table: sorted(f"{one['name']} {one['type']} {one['nullable']}" for one in inspector.get_columns(table))
        for table in inspector.get_table_names()
    }
    engine.dispose()
    return found


class TestOtherStores:
    """What a server and a knowledge base keep beside the catalog; these had no version at first."""

    def test_keys(self, tmp_path: Path) -> None:
        fill(f"sqlite:///{tmp_path / 'keys.db'}", "keys_1")
        with closing(Keys(tmp_path / "keys.db")) as keys:
            secret = "exhibit-9b41365e7800-3vMZSs-7LZMZxFSzeKSg3Zz0fMO6oogFSrGqdhuL7kE"
            assert keys.check(secret) == keys.all()[0]
            keys.make("two")
        assert version_of(tmp_path / "keys.db") == 1

    def test_jobs(self, tmp_path: Path) -> None:
        fill(f"sqlite:///{tmp_path / 'jobs.db'}", "jobs_1")
        with closing(JobStore(tmp_path / "jobs.db")) as jobs:
            assert jobs.claim("base") == "7a86591123df2aca24a89002"
        assert version_of(tmp_path / "jobs.db") == 1

    def test_history(self, tmp_path: Path) -> None:
        fill(f"sqlite:///{tmp_path / 'history.db'}", "history_1")
        with closing(History(tmp_path / "history.db")) as history:
            assert history.turn("resp_1", "k", "response").answered == "b"
        assert version_of(tmp_path / "history.db") == 1

    def test_preferences(self, tmp_path: Path) -> None:
        fill(f"sqlite:///{tmp_path / 'tastes.db'}", "tastes_1")
        with closing(preferences.PreferenceStore(preferences.preferences_url(tmp_path), None, "r")) as store:  # type: ignore[arg-type]
            assert store.users() == ["ann"]
        assert version_of(tmp_path / "tastes.db") == 1


def version_of(file: Path) -> int:
    with closing(sqlite3.connect(file)) as connection:
        return int(connection.execute(f"SELECT version FROM {file.stem}_schema").fetchone()[0])


class Notes:
    """A store with three schemas: a note, its author (with a default for older notes), and its length."""

    @staticmethod
    def metadata(version: int) -> sa.MetaData:
        metadata = sa.MetaData()
        author = [sa.Column("author", sa.String, nullable=False, server_default="nobody")] if version > 1 else []
        length = [sa.Column("length", sa.Integer)] if version > 2 else []
        sa.Table("notes", metadata, sa.Column("text", sa.String, primary_key=True), *author, *length)
        return metadata

    @staticmethod
    def add_author(connection: Connection) -> None:
        connection.exec_driver_sql("ALTER TABLE notes ADD COLUMN author VARCHAR NOT NULL DEFAULT 'nobody'")

    @staticmethod
    def add_length(connection: Connection) -> None:
        connection.exec_driver_sql("ALTER TABLE notes ADD COLUMN length INTEGER")
        connection.exec_driver_sql("UPDATE notes SET length = LENGTH(text)")

    @classmethod
    def upgrade(cls, engine: Engine, version: int) -> None:
        steps = (cls.add_author, cls.add_length)[: version - 1]
        upgrade(engine, cls.metadata(version), steps, name="notes")

    @classmethod
    def rows(cls, engine: Engine) -> list[tuple[object, ...]]:
        with engine.begin() as connection:
            return [tuple(row) for row in connection.exec_driver_sql("SELECT * FROM notes ORDER BY text")]

    @classmethod
    def version(cls, engine: Engine) -> list[int]:
        with engine.begin() as connection:
            return list(connection.exec_driver_sql("SELECT version FROM notes_schema").scalars())


class TestSteps:
    @pytest.mark.parametrize("version", [1, 2])
    def test_a_database_of_each_earlier_version_is_upgraded_with_its_rows(self, engine: Engine, version: int) -> None:
        Notes.upgrade(engine, version)
        with engine.begin() as connection:
            connection.exec_driver_sql("INSERT INTO notes (text) VALUES ('a dog')")
        for _ in range(2):  # the second time there is nothing to do
            Notes.upgrade(engine, 3)
            assert Notes.rows(engine) == [("a dog", "nobody", 5)]
            assert Notes.version(engine) == [3]

    def test_tables_without_a_version_count_as_version_1(self, engine: Engine) -> None:
        with engine.begin() as connection:
            connection.exec_driver_sql("CREATE TABLE notes (text VARCHAR PRIMARY KEY)")
            connection.exec_driver_sql("INSERT INTO notes VALUES ('a dog')")
        Notes.upgrade(engine, 3)
        assert Notes.rows(engine) == [("a dog", "nobody", 5)]

    def test_an_empty_database_gets_the_newest_schema_at_once(self, engine: Engine) -> None:
        upgrade(engine, Notes.metadata(3), [lambda connection: pytest.fail("a step ran")] * 2, name="notes")
        assert Notes.rows(engine) == []
        assert Notes.version(engine) == [3]

    def test_a_step_that_fails_leaves_the_version_before(self, engine: Engine) -> None:
        def fail(connection: Connection) -> None:
            Notes.add_length(connection)
            raise OSError("the disk is full")

        Notes.upgrade(engine, 1)
        with pytest.raises(OSError, match="disk is full"):
            upgrade(engine, Notes.metadata(3), [Notes.add_author, fail], name="notes")
        assert Notes.version(engine) == [2]
        Notes.upgrade(engine, 3)
        assert Notes.version(engine) == [3]

    def test_a_killed_step_is_repeated(self, engine: Engine, url: str) -> None:
        Notes.upgrade(engine, 1)
        code = (
            "import os, sys; from rag.catalog.database import open_engine\n"
            "from rag.catalog.migrations import upgrade; from tests.test_migrations import Notes\n"
            "def killed(connection): Notes.add_author(connection); os._exit(9)\n"
            "upgrade(open_engine(sys.argv[1]), Notes.metadata(2), [killed], name='notes')"
        )
        root = Path(__file__).parent.parent
        assert subprocess.run([sys.executable, "-c", code, url], cwd=root, check=False).returncode == 9
        assert Notes.version(engine) == [1]
        Notes.upgrade(engine, 3)
        assert Notes.version(engine) == [3]

    def test_processes_that_open_a_database_at_once_take_turns(self, url: str) -> None:
        def open_all(version: int) -> None:
            engines = [open_engine(url) for _ in range(6)]
            failures: list[Exception] = []

            def work(engine: Engine) -> None:
                try:
                    Notes.upgrade(engine, version)
                except IndexUnavailable as error:
                    failures.append(error)

            threads = [threading.Thread(target=work, args=(engine,)) for engine in engines]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert failures == []
            assert Notes.version(engines[0]) == [version]
            for engine in engines:
                engine.dispose()

        open_all(1)
        open_all(3)

    def test_a_newer_database_is_refused_and_left_alone(self, engine: Engine) -> None:
        Notes.upgrade(engine, 3)
        with pytest.raises(IndexUnavailable, match=r"schema 3\b.*\b1\b"):
            Notes.upgrade(engine, 1)
        assert Notes.version(engine) == [3]


def test_stores_that_share_a_database_have_versions_of_their_own(engine: Engine) -> None:
    Notes.upgrade(engine, 3)
    upgrade(engine, define_tables().metadata, STEPS, name="exhibit")
    assert Notes.version(engine) == [3]
