"""The notebooks run from top to bottom, and what they keep is small and tells nothing of a machine."""

import re
import shutil
from pathlib import Path

import nbformat
import pytest
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient

from rag import KnowledgeBase
from rag.demo import COLLECTION

FOLDER = Path(__file__).parents[1] / "notebooks"
BOOKS = sorted(FOLDER.glob("*.ipynb"))
KEPT_BYTES = 300_000
_MACHINE = re.compile(r"/(?:tmp|home|root|Users|work)/|[A-Z]:\\")


async def executed(path, folder):
    """The notebook after all its cells have run in a folder; the kernel is spoken to through Unix sockets."""
    book = nbformat.read(path, as_version=4)
    manager = AsyncKernelManager(kernel_name="python3", transport="ipc", ip=str(folder / "kernel"))
    client = NotebookClient(
        book, km=manager, timeout=600, record_timing=False, resources={"metadata": {"path": str(folder)}}
    )
    try:
        await client.async_execute(cwd=str(folder))
    finally:
        await manager.shutdown_kernel(now=True)
    return book


def outputs(book):
    return [output for cell in book.cells if cell.cell_type == "code" for output in cell.outputs]


@pytest.fixture
def folder(demo_template, demo_folder, tmp_path):
    """Where a notebook runs: beside the knowledge base that the first of them makes, of the same files."""
    with KnowledgeBase.open(shutil.copytree(demo_template, tmp_path / "museum.exhibit")) as base:
        base.ingest(COLLECTION)
        base.remove(demo_folder)
    return tmp_path


def test_there_are_four_notebooks():
    assert [path.stem[:2] for path in BOOKS] == ["01", "02", "03", "04"]


@pytest.mark.language_model
@pytest.mark.parametrize("path", BOOKS, ids=lambda path: path.stem)
async def test_a_notebook_runs_and_has_the_stored_outputs(path, folder, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(FOLDER.parent))
    monkeypatch.setenv("IPYTHONDIR", str(folder / "ipython"))
    # One candidate is judged, and answered from, where a reader has three: the kernels ask 11 questions.
    monkeypatch.setenv("EXHIBIT_RERANK_TOP_N", "1")
    monkeypatch.setenv("EXHIBIT_EVIDENCE_N", "1")
    book = await executed(path, folder)
    kept = nbformat.read(path, as_version=4)
    kinds = [sorted(output.get("data", {})) for output in outputs(book)]
    assert kinds == [sorted(output.get("data", {})) for output in outputs(kept)]


@pytest.mark.parametrize("path", BOOKS, ids=lambda path: path.stem)
def test_stored_outputs_are_small_and_name_no_machine(path):
    book = nbformat.read(path, as_version=4)
    assert path.stat().st_size < KEPT_BYTES
    assert outputs(book)
    for output in outputs(book):
        assert output.output_type != "error"
        text = "".join(str(value) for value in output.get("data", {}).values()) + output.get("text", "")
        assert not _MACHINE.search(re.sub(r"base64,[\w+/=]+", "", text))
