"""Each cell of the matrix, from any medium or a mixture to each medium, does better than guessing."""

from __future__ import annotations

import pytest

from rag import KnowledgeBase
from rag.config import Settings
from rag.types import MODALITIES
from tests.measure.matrix import ROWS, SOURCES, Cell, collection, measure


@pytest.fixture(scope="module")
def cells(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], Cell]:
    folder = tmp_path_factory.mktemp("matrix")
    with KnowledgeBase.open(folder / "base", Settings(transcriber="tiny.en")) as base:
        assert not base.ingest(collection(folder)).failed
        return measure(base, folder / "questions")


@pytest.mark.parametrize("target", MODALITIES)
@pytest.mark.parametrize("source", SOURCES)
def test_a_cell_does_better_than_guessing(cells: dict[tuple[str, str], Cell], source: str, target: str) -> None:
    cell = cells[source, target]
    assert cell.asked == sum(row[:2] == (source, target) for row in ROWS) >= 3
    assert cell.recall > cell.chance, cell
