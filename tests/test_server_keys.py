"""Keys, links and the gate: who may see what, for how long, and how many at once."""

import asyncio
import json
import os
import shutil
import socket
import time

import openai
import pytest

from rag import KnowledgeBase
from rag.config import Settings
from rag.errors import SettingsError
from rag.server.app import create_app
from rag.server.gate import Busy, Gate
from rag.server.keys import Keys
from rag.server.launch import Address, serve
from rag.server.signed_links import Expired, Forged, LinkTarget, SignedLinks
from rag.server.state import ServerOptions
from rag.types import Box, PageBox, TimeSpan
from tests.fakes.command import run_exhibit
from tests.fakes.uvicorn_server import running

PLACE = LinkTarget("museum", "2a391d2e-5f40-5d80-983c-fb8b4639d37f", PageBox(3, Box(0.1, 0.2, 0.3, 0.4)))


@pytest.fixture
def keys(tmp_path):
    keys = Keys(tmp_path / "keys.db")
    yield keys
    keys.close()


def test_a_key_is_known_by_its_secret_alone(keys, tmp_path):
    key, secret = keys.make("website", ["museum"])
    assert keys.check(secret) == key
    assert keys.check(secret[:-1]) is None
    assert keys.check(f"exhibit-{key.id}-") is None
    assert keys.check("") is None
    assert secret.encode() not in (tmp_path / "keys.db").read_bytes()
    assert (tmp_path / "keys.db").stat().st_mode & 0o077 == 0


def test_a_revoked_key_is_known_no_more(keys):
    key, secret = keys.make("website")
    assert keys.revoke(key.id)
    assert keys.check(secret) is None
    assert not keys.revoke(key.id)


def test_a_link_holds_its_target_and_key():
    links = SignedLinks("secret")
    token = links.path(PLACE, "crop", "k1").split("/")[2]
    assert links.verify(token).target == PLACE
    assert links.verify(token).key_id == "k1"
    with pytest.raises(Forged):
        SignedLinks("another").verify(token)
    with pytest.raises(Forged):
        links.verify(token[:-2])


def test_a_link_expires():
    links = SignedLinks("secret", lasts_s=-1)
    with pytest.raises(Expired):
        links.verify(links.path(LinkTarget("museum", "a", TimeSpan(1, 2)), "clip", "").split("/")[2])


async def test_the_gate_refuses_requests_when_the_queue_is_full():
    gate, order = Gate(running=1, waiting=1), []

    async def enter(name: str, seconds: float) -> None:
        async with gate.turn():
            order.append(name)
            await asyncio.sleep(seconds)

    first = asyncio.create_task(enter("first", 0.1))
    await asyncio.sleep(0)
    second = asyncio.create_task(enter("second", 0))
    await asyncio.sleep(0)
    with pytest.raises(Busy) as refused:
        await enter("third", 0)
    assert refused.value.retry_after_s >= 1
    await asyncio.gather(first, second)
    await enter("fourth", 0)
    assert order == ["first", "second", "fourth"]


async def test_retry_after_is_at_most_a_minute():
    gate = Gate(running=1, waiting=20)
    waiting = [asyncio.create_task(gate.turn().__aenter__()) for _ in range(21)]
    await asyncio.sleep(0)
    with pytest.raises(Busy) as refused:
        async with gate.turn():
            pass
    assert refused.value.retry_after_s == 60
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)


async def test_a_cancelled_waiter_frees_its_place():
    gate = Gate(running=1, waiting=1)
    async with gate.turn():
        waiting = asyncio.create_task(gate.turn().__aenter__())
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        another = asyncio.create_task(gate.turn().__aenter__())
        await asyncio.sleep(0)
        assert not another.done()
    await another


def test_keys_are_added_listed_and_revoked_on_the_command_line(tmp_path):
    state = ("--state", str(tmp_path))
    made = run_exhibit("keys", "add", "website", "--only", "museum", *state)
    assert made.stdout.strip() not in made.stderr
    listed = json.loads(run_exhibit("keys", "list", "--json", *state).stdout)
    assert [(key["name"], key["bases"], key["may_write"]) for key in listed] == [("website", ["museum"], False)]
    kept = Keys(tmp_path / "keys.db")
    assert kept.check(made.stdout.strip()).id == listed[0]["id"]
    kept.close()
    assert run_exhibit("keys", "revoke", listed[0]["id"], *state).returncode == 0
    assert run_exhibit("keys", "revoke", listed[0]["id"], *state).returncode == 2
    assert json.loads(run_exhibit("keys", "list", "--json", *state).stdout) == []


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--kb", "nowhere"], "nowhere"),
        (["--kb", ".", "--host", "0.0.0.0"], "exhibit keys add"),
        (["--kb", ".", "--workers", "2"], "EXHIBIT_QDRANT_URL"),
    ],
)
def test_wrong_usage_is_named_at_once(tmp_path, arguments, expected):
    done = run_exhibit("serve", "--state", str(tmp_path), *arguments)
    assert done.returncode in (1, 2)
    assert expected in " ".join(done.stderr.split())


def test_a_public_host_needs_a_key(tmp_path):
    with pytest.raises(SettingsError, match="exhibit keys add"):
        serve([tmp_path], Address("0.0.0.0"), ServerOptions(tmp_path / "state"))


def test_every_operation_asks_for_a_key_and_keeps_to_what_it_is_for(tmp_path):
    options = ServerOptions(tmp_path / "state", allow_urls=True)
    options.state.mkdir()
    kept = Keys(options.state / "keys.db")
    _, reader = kept.make("reader", ["museum"])
    _, stranger = kept.make("stranger", ["zoo"], may_write=True)
    kept.close()
    app = create_app([tmp_path / "museum"], options, settings=Settings(llm="openai/none"))
    with running(app, tmp_path) as server:
        chat = server.http(reader).post("/v1/conversations", json={}).json()["id"]
        ids = {"base": "museum", "name": "museum", "conversation_id": chat}
        for path, methods in app.openapi()["paths"].items():
            for method, operation in methods.items():
                names = {p["name"] for p in operation.get("parameters", []) if p["in"] == "path"}
                url = path.format(**{name: ids.get(name, "marked" if name == "view" else "x") for name in names})
                statuses = {key: server.http(key).request(method, url).status_code for key in ("", reader, stranger)}
                case = (method, path, statuses)
                if path in ("/healthz", "/readyz"):
                    assert statuses[""] == 200, case
                elif path.startswith("/evidence/"):
                    assert set(statuses.values()) == {403}, case  # a link says for whom it is
                else:
                    assert statuses[""] == 401, case
                    assert statuses[stranger] == 404 or not names & set(ids), case
                    if path.endswith(("/files", "/urls")) or (method, path.count("/assets/")) == ("delete", 1):
                        assert statuses[reader] == 403, case


def test_the_first_key_ends_open_access(tmp_path):
    options = ServerOptions(tmp_path / "state", is_open=True)
    with running(create_app([tmp_path / "museum"], options, settings=Settings(llm="openai/none")), tmp_path) as server:
        assert server.http().get("/api/bases").status_code == 200
        kept = Keys(options.state / "keys.db")
        key, secret = kept.make("website")
        assert server.http().get("/api/bases").status_code == 401
        assert server.http(secret).get("/api/bases").status_code == 200
        kept.revoke(key.id)
        assert server.http().get("/api/bases").status_code == 200
        kept.close()


def test_a_second_server_of_a_knowledge_base_is_refused(tmp_path):
    with KnowledgeBase.open(tmp_path / "museum"):
        done = run_exhibit("serve", "--kb", str(tmp_path / "museum"), "--port", "8009")
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert str(os.getpid()) in line
    assert "EXHIBIT_QDRANT_URL" in line
    assert done.stdout == ""


@pytest.mark.enable_socket
def test_a_port_in_use_is_named(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = run_exhibit("serve", "--kb", str(tmp_path), "--port", str(taken.getsockname()[1]))
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert "--port" in line


@pytest.mark.language_model
def test_a_key_opens_its_own_knowledge_bases_alone(demo_template, tmp_path):
    museum = shutil.copytree(demo_template, tmp_path / "museum")
    options = ServerOptions(tmp_path / "state")
    options.state.mkdir()
    kept = Keys(options.state / "keys.db")
    _, all_of_them = kept.make("all")
    other, elsewhere = kept.make("elsewhere", ["zoo"])
    with running(create_app([museum], options), tmp_path) as server:
        with pytest.raises(openai.AuthenticationError, match="exhibit keys add"):
            server.openai("wrong").models.list()
        assert server.http().get("/v1/models").headers["WWW-Authenticate"] == "Bearer"
        assert [model.id for model in server.openai(all_of_them).models.list()] == ["museum"]
        assert server.openai(elsewhere).models.list().data == []
        asked = [{"role": "user", "content": "Which photo shows an orangutan?"}]
        with pytest.raises(openai.NotFoundError, match="museum"):
            server.openai(elsewhere).chat.completions.create(model="museum", messages=asked)
        made = server.openai(all_of_them).chat.completions.create(model="museum", messages=asked)
        link = made.choices[0].message.annotations[0].url_citation.url
        assert server.http().get(link).status_code == 200  # the link says for whom it is
        kept.revoke(kept.check(all_of_them).id)
        assert server.http().get(link).status_code == 403
    kept.close()
    assert other.may_write is False
    assert time.time() - other.made < 3600
