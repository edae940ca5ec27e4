"""The demo's collection, taken in once with the real bundled models, for every test that only reads it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from rag import KnowledgeBase
from rag.demo import HERE

COLLECTION = HERE / "collection"


@pytest.fixture(scope="session")
def demo_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the demo's collection."""
    folder = tmp_path_factory.mktemp("demo") / "media"
    shutil.copytree(COLLECTION, folder)
    return folder


@pytest.fixture(scope="session")
def demo_base(demo_folder: Path) -> Iterator[KnowledgeBase]:
    """A knowledge base of the demo's collection."""
    with KnowledgeBase.open(demo_folder.parent / "base") as base:
        report = base.ingest(demo_folder)
        assert report.counts == {"indexed": 12}, report
        yield base
