"""The catalog, on SQLite always, and on PostgreSQL where EXHIBIT_TEST_POSTGRES_URL names an empty database."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

import pytest

from rag.catalog.catalog import Catalog
from rag.errors import IndexUnavailable
from tests.contracts.catalog import CatalogContract

_POSTGRES = os.environ.get("TEST_POSTGRES_URL")


class TestSQLite(CatalogContract):
    @pytest.fixture
    def url(self, tmp_path: Path) -> str:  # type: ignore[override]
        return f"sqlite:///{tmp_path / 'catalog.db'}"


class TestPostgreSQL(CatalogContract):
    @pytest.fixture
    def url(self) -> str:
        if _POSTGRES is None:
            pytest.skip("EXHIBIT_TEST_POSTGRES_URL is not set")
        return _POSTGRES


def test_a_newer_catalog_is_refused(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'catalog.db'}"
    Catalog(url).close()
    with sqlite3.connect(tmp_path / "catalog.db") as connection:
        connection.execute("UPDATE exhibit_schema SET version = 99")
    connection.close()
    with pytest.raises(IndexUnavailable, match=r"\b99\b.*\b1\b"):
        Catalog(url)


def test_a_damaged_catalog_is_an_outage_with_advice(tmp_path: Path) -> None:
    (tmp_path / "catalog.db").write_bytes(b"not a database, " * 100)
    with pytest.raises(IndexUnavailable, match="EXHIBIT_CATALOG_URL"):
        Catalog(f"sqlite:///{tmp_path / 'catalog.db'}")


def test_a_catalog_that_cannot_be_reached_is_an_outage_that_hides_the_password(tmp_path: Path) -> None:
    with pytest.raises(IndexUnavailable, match="EXHIBIT_CATALOG_URL"):
        Catalog(f"sqlite:///{tmp_path / 'missing' / 'catalog.db'}")
    with pytest.raises(IndexUnavailable, match="CATALOG_URL"):
        Catalog("no url")
    with pytest.raises(IndexUnavailable) as caught:
        Catalog("postgresql://me:secret@127.0.0.1:1/x")
    assert "secret" not in str(caught.value)
