"""The server's log: lines of JSON under the ids of requests, in which nothing stands that was asked."""

import io
import json
import logging
import subprocess
import sys

import pytest
import sqlalchemy as sa
from fastapi import Request

from rag.config import Settings
from rag.server import log
from rag.server.app import create_app
from rag.server.state import ServerOptions
from tests.fakes.uvicorn_server import running
from tests.fakes.waiting import wait_until

ASKED = "Where is the treasure?"


@pytest.fixture
def lines():
    """What is logged of so many requests, as it would be written; a request is logged once it was answered."""
    stream, ours = io.StringIO(), logging.getLogger("exhibit")
    handler = logging.StreamHandler(stream)
    handler.setFormatter(log.JsonFormatter())
    ours.addHandler(handler)
    before, _ = ours.level, ours.setLevel(logging.INFO)

    def written(requests):
        return wait_until(
            lambda: [json.loads(line) for line in stream.getvalue().splitlines()],
            lambda found: sum(line["logger"] == "exhibit.requests" for line in found) == requests,
        )

    yield written
    ours.setLevel(before)
    ours.removeHandler(handler)


@pytest.fixture
def server(tmp_path):
    app = create_app(
        [tmp_path / "museum"], ServerOptions(tmp_path / "state", is_open=True), settings=Settings(llm="openai/none")
    )

    @app.post("/api/broken")
    @app.post("/v1/broken")
    async def broken(request: Request) -> None:
        """Fails as a database does, which says what it was to keep."""
        with sa.create_engine("sqlite://").connect() as connection:
            connection.execute(
                sa.text("INSERT INTO nowhere VALUES (:asked)"), {"asked": (await request.json())["asked"]}
            )

    with running(app, tmp_path) as server:
        yield server


@pytest.mark.parametrize("path", ["/api/broken", "/v1/broken"])
def test_an_unexpected_failure_is_logged_under_the_id_of_the_request(server, lines, path):
    answer = server.http().post(path, json={"asked": ASKED})
    assert answer.status_code == 500
    said = answer.json()["detail"] if path[:4] == "/api" else answer.json()["error"]["message"]
    assert said
    assert "nowhere" not in said
    told = lines(1)
    found = [line for line in told if line.get("request") == answer.headers["X-Request-Id"]]
    (failed,) = [line for line in found if line["level"] == "error"]
    assert failed["error"]["kind"] == "sqlalchemy.exc.OperationalError"
    assert failed["error"]["cause"]["kind"] == "sqlite3.OperationalError"
    assert any("test_server_log.py" in frame for frame in failed["error"]["at"])
    (answered,) = [line for line in found if line["logger"] == "exhibit.requests"]
    assert (answered["route"], answered["status"]) == (path, 500)
    assert ASKED not in json.dumps(told)
    assert server.http().get("/healthz").status_code == 200  # the connection goes on


def test_a_line_has_the_route_and_nothing_of_the_question(server, lines):
    server.http().post("/api/bases/museum/search", json={"query": ASKED})
    server.http().get("/evidence/a-token/marked")
    told = lines(2)
    routes = {line["route"]: line for line in told if line["logger"] == "exhibit.requests"}
    assert routes["/api/bases/{base}/search"]["status"] == 200
    assert routes["/evidence/{token}/{view}"]["status"] == 403
    written = json.dumps(told)
    assert ASKED not in written
    assert "a-token" not in written


def test_messages_of_other_libraries_are_logged_without_their_text():
    record = logging.LogRecord("litellm", logging.WARNING, "/x/main.py", 7, f"cannot answer {ASKED}", (), None)
    line = json.loads(log.JsonFormatter().format(record))
    assert (line["logger"], line["at"]) == ("litellm", "main:7")
    assert ASKED not in json.dumps(line)


def test_warnings_are_logged_without_their_text():
    script = (
        "import warnings; from rag.errors import ExhibitWarning; from rag.server import log;"
        "warnings.formatwarning = lambda message, *_, **__: f'exhibit: {message}\\n';"  # as the command has it
        f"log.configure(); warnings.warn({ASKED!r}, ExhibitWarning)"
    )
    told = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stderr
    assert json.loads(told)["at"] == "<string>:1: ExhibitWarning"
    assert ASKED not in told
