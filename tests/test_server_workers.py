"""Several processes that serve one knowledge base on a Qdrant server, and that one which dies is replaced."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import ExitStack, closing

import httpx
import pytest

from rag.config import Settings
from rag.errors import ExhibitError
from rag.server.app import create_app
from rag.server.keys import Keys
from rag.server.processes import ServerProcesses
from rag.server.state import ServerOptions
from tests.fakes import qdrant
from tests.fakes.uvicorn_server import running
from tests.fakes.waiting import wait_until

MUSEUM = "/api/bases/museum"


@pytest.fixture
def served(tmp_path):
    """`exhibit serve --workers 2` in a process of its own: the process, and a way to ask it."""
    (tmp_path / "museum").mkdir()
    with closing(Keys(tmp_path / "keys.db")) as keys:
        _, secret = keys.make("app", may_write=True)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "rag.cli.main", "serve", "--kb", str(tmp_path / "museum"), "--port", str(port)]
    command += ["--workers", "2", "--state", str(tmp_path)]
    with qdrant.running() as store, (tmp_path / "log").open("w") as log:
        settings = {
            "EXHIBIT_QDRANT_URL": store,
            "EXHIBIT_LLM": "openai/none",
            "EXHIBIT_OCR": "off",
            "EXHIBIT_AUDIO_ENCODER": "off",
        }
        how = {"stdout": subprocess.PIPE, "stderr": log, "text": True, "env": os.environ | settings}
        with subprocess.Popen(command, **how) as server:
            try:
                url = server.stdout.readline().split(" at ")[1].partition(";")[0]
                # A connection of its own for each request, so that both processes are met.
                headers = {"Authorization": f"Bearer {secret}", "Connection": "close"}
                with httpx.Client(base_url=url, headers=headers, timeout=300) as client:
                    yield server, client
            finally:
                server.terminate()


@pytest.mark.enable_socket
@pytest.mark.filterwarnings("ignore:Payload indexes have no effect in the local Qdrant")
def test_several_processes_serve_one_knowledge_base_and_run_each_job_once(served, tmp_path):
    server, client = served
    files = [{"files": (f"{n}.md", f"# Note {n}\n\nOf lamp {n}.".encode())} for n in range(4)]
    jobs = [client.post(f"{MUSEUM}/files", files=file).json()["job"] for file in files]
    for job in jobs:
        done = wait_until(lambda job=job: client.get(f"/api/jobs/{job}").json(), lambda job: job["finished"])
        assert (done["state"], [one["state"] for one in done["results"]]) == ("done", ["indexed"])
    counts = [client.get(MUSEUM).json()["assets"]["indexed"] for _ in range(8)]
    assert counts == [4] * 8
    hits = client.post(f"{MUSEUM}/search", json={"query": "lamp 3"}).json()["hits"]
    assert "3.md" in [hit["name"] for hit in hits]
    server.send_signal(signal.SIGTERM)
    assert server.wait(120) == 0
    lines = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines() if line.startswith("{")]
    assert {line["status"] for line in lines if "status" in line} <= {200, 202}


@pytest.mark.enable_socket
@pytest.mark.filterwarnings("ignore:Payload indexes have no effect in the local Qdrant")
def test_without_its_store_a_server_lives_and_is_not_ready(tmp_path):
    with ExitStack() as held:
        with qdrant.running() as store:
            options = ServerOptions(tmp_path / "state", is_open=True)
            app = create_app([tmp_path / "museum"], options, settings=Settings(qdrant_url=store, llm="openai/none"))
            http = held.enter_context(running(app, tmp_path)).http()
            assert http.get("/readyz").status_code == 200
        answer = http.get("/readyz")
        assert answer.status_code == 503
        assert answer.headers["Content-Type"] == "application/problem+json"
        assert store.partition("//")[2] not in answer.text  # nobody's business
        assert http.get("/healthz").status_code == 200
        assert http.post(f"{MUSEUM}/search", json={"query": "x"}).status_code == 503


def sleep(folder, is_ready):
    is_ready.set()
    (folder / str(os.getpid())).touch()
    time.sleep(600)


def fail(is_ready):
    raise RuntimeError("never works")


def test_a_process_that_dies_is_replaced(tmp_path):
    def kill_one():
        (first, _) = wait_until(lambda: sorted(file.name for file in tmp_path.iterdir()), lambda found: len(found) == 2)
        os.kill(int(first), signal.SIGKILL)
        wait_until(lambda: list(tmp_path.iterdir()), lambda found: len(found) == 3)
        os.kill(os.getpid(), signal.SIGTERM)  # which ends the run

    killing = threading.Thread(target=kill_one)
    killing.start()
    ServerProcesses(sleep, (tmp_path,), 2).run()
    killing.join()
    for process in tmp_path.iterdir():
        with pytest.raises(ProcessLookupError):
            os.kill(int(process.name), 0)


def test_processes_that_fail_at_once_end_the_run(capfd):
    with pytest.raises(ExhibitError, match="ended at once"):
        ServerProcesses(fail, (), 2).run()
    assert "never works" in capfd.readouterr().err
