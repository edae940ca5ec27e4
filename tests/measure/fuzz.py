"""Check that no request makes the server fail: `python -m tests.measure.fuzz --kb FOLDER --requests 5000`.

Schemathesis (`pip install "schemathesis>=4.32,<5"`, which the tests do not need) generates well-formed and malformed
requests to every operation of the OpenAPI description, until enough were sent. They go to a server that the run starts
on this machine, over a copy of the knowledge base, so everything may be deleted. Names that a client would know, such
as those of assets, jobs and links, are written into the description first, because the server would know no random
name. The language model is scripted. The counts come from the server's log. A status of 500 or above makes the run
fail, and so does a response that the description does not allow.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import httpx

from tests.fakes.server import Handler, running
from tests.measure.serving import run_server

_BASE = "museum"  # as the examples of the description call it
_CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"
_UNLIMITED = ("--requests-per-minute", "0", "--questions-per-minute", "0")
_AT_ONCE = 2
_MOST_ROUNDS = 20
_REPLY = "Chimpanzees hunt with spears [E1]."


class Model(Handler):
    """A language model behind OpenAI's API that always gives the same reply, without probabilities."""

    def answer(self, request: Any) -> None:
        if request.get("logprobs"):
            self.send_json(400, {"error": {"message": "logprobs are not supported by this model"}})
        elif request.get("stream"):
            pieces = [{"delta": {"content": _REPLY}, "finish_reason": None}, {"delta": {}, "finish_reason": "stop"}]
            events = [json.dumps(_choice_json("chat.completion.chunk", piece)) for piece in pieces]
            body = "".join(f"data: {event}\n\n" for event in (*events, "[DONE]"))
            self.send(200, body.encode(), {"Content-Type": "text/event-stream"})
        else:
            message = {"role": "assistant", "content": _REPLY}
            self.send_json(200, _choice_json("chat.completion", {"message": message, "finish_reason": "stop"}))


def _choice_json(form: str, choice: dict[str, Any]) -> dict[str, Any]:
    return {"id": "1", "object": form, "created": 1, "model": "scripted", "choices": [{"index": 0, **choice}]}


def known_names(url: str) -> dict[str, list[str]]:
    """Return the names that a client would know, by the parameter that takes them."""
    with httpx.Client(base_url=url, timeout=600) as client:
        assets = client.get(f"/api/bases/{_BASE}/assets").json()["assets"]
        hits = client.post(f"/api/bases/{_BASE}/search", json={"query": "a chimpanzee", "top_k": 50}).json()["hits"]
        note = {"files": ("note.md", b"# A note")}
        job = client.post(f"/api/bases/{_BASE}/files", files=note).json()["job"]
        chat = {"model": _BASE, "messages": [{"role": "user", "content": "Who hunts?"}], "store": True}
        completion = client.post("/v1/chat/completions", json=chat).json()["id"]
        conversations = [client.post("/v1/conversations", json={}).json()["id"] for _ in range(3)]
        turn = {"model": _BASE, "input": "Who hunts?", "conversation": conversations[0]}
        response = client.post("/v1/responses", json=turn).json()["id"]
        items = client.get(f"/v1/conversations/{conversations[0]}/items").json()["data"]
    return {
        "base": [_BASE],
        "name": [_BASE],
        "model": [_BASE, f"{_BASE}/text", f"{_BASE}/joint"],
        "id": [*(one["id"] for one in assets), job],
        "token": [view.split("/")[4] for hit in hits for view in hit["views"].values()],
        "completion_id": [completion],
        "conversation_id": conversations,
        "response_id": [response],
        "item_id": [item["id"] for item in items],
    }


def add_names(description: dict[str, Any], names: dict[str, list[str]]) -> dict[str, Any]:
    """Add the names that a client would know to the description, which still allows any others."""
    for operations in description["paths"].values():
        for operation in operations.values():
            for parameter in operation.get("parameters", []):
                if parameter["in"] == "path" and parameter["name"] in names:
                    parameter["schema"] = _one_of(parameter["schema"], names[parameter["name"]])
    for name in ("ChatRequest", "ResponseRequest", "EmbeddingRequest"):
        fields = description["components"]["schemas"][name]["properties"]
        fields["model"] = _one_of(fields["model"], names["model"])
    return description


def _one_of(schema: dict[str, Any], names: list[str]) -> dict[str, Any]:
    return {"anyOf": [{"enum": names}, schema]}


def count_responses(log: Path) -> Counter[tuple[str, int]]:
    """Count the requests in the server's log, by operation and status."""
    lines = (json.loads(line) for line in log.read_text("utf-8").splitlines() if line.startswith("{"))
    return Counter((f"{one['method']} {one['route']}", one["status"]) for one in lines if "route" in one)


def send_requests(url: str, description: Path, examples: int, seed: int, *options: str) -> bool:
    """Send generated requests from several processes; return whether the description allows every response."""
    command = [sys.executable, "-m", "schemathesis.cli", "run", str(description), "--url", url, "--checks", _CHECKS]
    command += ["--max-examples", str(-(-examples // _AT_ONCE)), "--request-timeout", "120", "--no-color"]
    command += ["--generation-database", "none", "--suppress-health-check", "all", "--continue-on-failure", *options]
    processes = []
    for number in range(_AT_ONCE):
        output = description.with_name(f"output-{number}")
        with output.open("wb") as file:
            process = subprocess.Popen(
                [*command, "--seed", str(seed + number)], cwd=description.parent, stdout=file, stderr=subprocess.STDOUT
            )
        processes.append((process, output))
    failed = [output for process, output in processes if process.wait()]
    for output in failed:
        print(output.read_text("utf-8"))
    return not failed


def main() -> None:
    """Send requests until enough are counted, and exit with 1 if one failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kb", type=Path, required=True, help="a knowledge base, such as the demo's; it is copied")
    parser.add_argument("--requests", type=int, default=5000, help="least number of requests")
    parser.add_argument("--seed", type=int, default=1, help="each seed makes different requests")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, running(Model) as model:
        kb, log, description = (Path(folder) / name for name in (_BASE, "log", "openapi.json"))
        shutil.copytree(arguments.kb, kb)
        scripted = {"EXHIBIT_LLM": "openai/scripted", "OPENAI_API_KEY": "none", "OPENAI_API_BASE": f"{model.url}/v1"}
        with log.open("wb") as lines, run_server(kb, _UNLIMITED, log=lines, settings=scripted) as (url, _):
            names, description_json = known_names(url), httpx.get(f"{url}/openapi.json").json()
            description.write_text(json.dumps(add_names(description_json, names)))
            operations = sum(map(len, description_json["paths"].values()))
            before, examples = count_responses(log), -(-arguments.requests // operations // 2)
            # The first round deletes no files, because after that there is nothing left to find, show or ask about.
            conforms = send_requests(
                url, description, examples, arguments.seed, "--exclude-operation-id", "delete_asset"
            )
            for number in range(1, _MOST_ROUNDS):
                conforms &= send_requests(url, description, examples, arguments.seed + number * _AT_ONCE)
                if (count_responses(log) - before).total() >= arguments.requests:
                    break
        counts = count_responses(log) - before
        print(*(line for line in log.read_text("utf-8").splitlines() if '"level": "error"' in line), sep="\n")
    sys.exit(report(counts, operations, arguments.requests) or not conforms)


def report(counts: Counter[tuple[str, int]], operations: int, wanted: int) -> bool:
    """Print the counts; return whether the run failed."""
    for kind, status in sorted(counts):
        print(f"{counts[kind, status]:6}  {status}  {kind}")
    failed = sum(count for (_, status), count in counts.items() if status >= 500 or not status)
    reached = len({kind for kind, _ in counts if kind.partition(" ")[2]})
    print(f"{counts.total()} requests to {operations} operations ({reached} kinds reached); {failed} answers of 5xx")
    return failed > 0 or counts.total() < wanted


if __name__ == "__main__":
    main()
