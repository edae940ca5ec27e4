"""What many tests share and only read: the models, and the demo's collection, taken in once."""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from ingest.picture.ocr import Ocr
from rag import Answer, KnowledgeBase
from rag.config import Settings
from rag.demo import HERE, questions
from rag.llm import LanguageModel, create_language_model

# The sets that some tests measure lie beside the repository, unless the environment names another folder.
os.environ.setdefault("EXHIBIT_DATA", str(Path(__file__).parents[2] / "shared" / "data"))

settings.register_profile("unhurried", deadline=None)  # a busy machine is no failure
settings.load_profile("unhurried")


@pytest.fixture(scope="session")
def home() -> Path:
    """Where the models are joined, once for all tests."""
    return Settings().home


@pytest.fixture(scope="module")
def on_the_cpu() -> Iterator[None]:
    """Whatever accelerator there is stays unseen by what loads models of torch, as numbers differ on it."""
    import torch

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(torch.cuda, "is_available", lambda: False)
        patched.setattr(torch.backends.mps, "is_available", lambda: False)
        yield


@pytest.fixture(scope="session")
def ocr() -> Ocr:
    return Ocr(threads=2)


@pytest.fixture(scope="session")
def bundled() -> LanguageModel:
    return create_language_model(Settings())


@pytest.fixture
async def litellm_closed() -> AsyncIterator[None]:
    """litellm keeps a client for each event loop until the program ends, and pytest ends a loop with each test."""
    yield
    import litellm

    await litellm.close_litellm_async_clients()


@pytest.fixture(scope="session")
def demo_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the demo's collection."""
    folder = tmp_path_factory.mktemp("demo") / "media"
    shutil.copytree(HERE / "collection", folder)
    return folder


@pytest.fixture(scope="session")
def demo_kept(demo_folder: Path) -> Path:
    """A knowledge base of it that nobody has open, to be copied."""
    path = demo_folder.parent / "kept"
    with KnowledgeBase.open(path) as base:
        report = base.ingest(demo_folder)
        assert report.counts == {"indexed": 12}, report
    return path


@pytest.fixture(scope="session")
def demo_base(demo_kept: Path) -> Iterator[KnowledgeBase]:
    """A knowledge base of the demo's collection."""
    with KnowledgeBase.open(shutil.copytree(demo_kept, demo_kept.with_name("base"))) as base:
        yield base


@pytest.fixture(scope="session")
def demo_answer(demo_base: KnowledgeBase) -> tuple[list[str], Answer]:
    """The answer to the demo's first question, in pieces and whole."""
    *chunks, last = demo_base.ask_stream(questions()[0]["question"])
    assert last.answer is not None
    return [chunk.text for chunk in chunks], last.answer
