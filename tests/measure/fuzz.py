"""Whether anything that is sent makes the server fail: `python -m tests.measure.fuzz --kb FOLDER --requests 5000`.

Schemathesis (`pip install "schemathesis>=4.32,<5"`, which the tests do without) generates requests to every operation
of the OpenAPI description, well-formed ones and others, until so many were sent. They go to a server of its own, on a
port of this machine, that serves a copy of the knowledge base: everything may be deleted. Names that a client would
know, such as those of assets, jobs and links, are written into the description beforehand, for random ones would be
unknown to all. The language model is a scripted one. Counted is what the server's own log says; an answer of status 500
and above makes the run fail, and so does each answer that the description does not foresee.
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
from tests.measure.serving import serving

_BASE = "museum"  # as the examples of the description call it
_CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"
_UNLIMITED = ("--requests-per-minute", "0", "--questions-per-minute", "0")
_AT_ONCE = 2
_MOST_ROUNDS = 20
_SAID = "Chimpanzees hunt with spears [E1]."


class Model(Handler):
    """A language model behind OpenAI's API that says one thing, and gives no probabilities."""

    def answer(self, request: Any) -> None:
        if request.get("logprobs"):
            self.send_json(400, {"error": {"message": "logprobs are not supported by this model"}})
        elif request.get("stream"):
            pieces = [{"delta": {"content": _SAID}, "finish_reason": None}, {"delta": {}, "finish_reason": "stop"}]
            events = [json.dumps(_formed("chat.completion.chunk", piece)) for piece in pieces]
            body = "".join(f"data: {event}\n\n" for event in (*events, "[DONE]"))
            self.send(200, body.encode(), {"Content-Type": "text/event-stream"})
        else:
            message = {"role": "assistant", "content": _SAID}
            self.send_json(200, _formed("chat.completion", {"message": message, "finish_reason": "stop"}))


def _formed(form: str, choice: dict[str, Any]) -> dict[str, Any]:
    return {"id": "1", "object": form, "created": 1, "model": "scripted", "choices": [{"index": 0, **choice}]}


def known(url: str) -> dict[str, list[str]]:
    """What a client would know, by the name of the parameter that it is sent as."""
    with httpx.Client(base_url=url, timeout=600) as client:
        assets = client.get(f"/api/bases/{_BASE}/assets").json()["assets"]
        hits = client.post(f"/api/bases/{_BASE}/search", json={"query": "a chimpanzee", "top_k": 50}).json()["hits"]
        note = {"files": ("note.md", b"# A note")}
        job = client.post(f"/api/bases/{_BASE}/files", files=note).json()["job"]
        asked = {"model": _BASE, "messages": [{"role": "user", "content": "Who hunts?"}], "store": True}
        completion = client.post("/v1/chat/completions", json=asked).json()["id"]
        begun = [client.post("/v1/conversations", json={}).json()["id"] for _ in range(3)]
        told = {"model": _BASE, "input": "Who hunts?", "conversation": begun[0]}
        response = client.post("/v1/responses", json=told).json()["id"]
        items = client.get(f"/v1/conversations/{begun[0]}/items").json()["data"]
    return {
        "base": [_BASE],
        "name": [_BASE],
        "model": [_BASE, f"{_BASE}/text", f"{_BASE}/joint"],
        "id": [*(one["id"] for one in assets), job],
        "token": [view.split("/")[4] for hit in hits for view in hit["views"].values()],
        "completion_id": [completion],
        "conversation_id": begun,
        "response_id": [response],
        "item_id": [item["id"] for item in items],
    }


def told(description: dict[str, Any], names: dict[str, list[str]]) -> dict[str, Any]:
    """The description with the names that a client would know, beside any others."""
    for operations in description["paths"].values():
        for operation in operations.values():
            for parameter in operation.get("parameters", []):
                if parameter["in"] == "path" and parameter["name"] in names:
                    parameter["schema"] = _among(parameter["schema"], names[parameter["name"]])
    for name in ("ChatRequest", "ResponseRequest", "EmbeddingRequest"):
        fields = description["components"]["schemas"][name]["properties"]
        fields["model"] = _among(fields["model"], names["model"])
    return description


def _among(schema: dict[str, Any], names: list[str]) -> dict[str, Any]:
    return {"anyOf": [{"enum": names}, schema]}


def answered(log: Path) -> Counter[tuple[str, int]]:
    """How many requests were answered, by operation and status."""
    lines = (json.loads(line) for line in log.read_text("utf-8").splitlines() if line.startswith("{"))
    return Counter((f"{one['method']} {one['route']}", one["status"]) for one in lines if "route" in one)


def fuzzed(url: str, description: Path, examples: int, seed: int, *options: str) -> bool:
    """Send generated requests, from several processes at once; whether every answer was foreseen."""
    command = [sys.executable, "-m", "schemathesis.cli", "run", str(description), "--url", url, "--checks", _CHECKS]
    command += ["--max-examples", str(-(-examples // _AT_ONCE)), "--request-timeout", "120", "--no-color"]
    command += ["--generation-database", "none", "--suppress-health-check", "all", "--continue-on-failure", *options]
    sending = []
    for number in range(_AT_ONCE):
        said = description.with_name(f"said-{number}")
        with said.open("wb") as file:
            process = subprocess.Popen(
                [*command, "--seed", str(seed + number)], cwd=description.parent, stdout=file, stderr=subprocess.STDOUT
            )
        sending.append((process, said))
    failed = [said for process, said in sending if process.wait()]
    for said in failed:
        print(said.read_text("utf-8"))
    return not failed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kb", type=Path, required=True, help="a knowledge base, such as the demo's; it is copied")
    parser.add_argument("--requests", type=int, default=5000, help="how many to send at least")
    parser.add_argument("--seed", type=int, default=1, help="other seeds make other requests")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, running(Model) as model:
        kb, log, description = (Path(folder) / name for name in (_BASE, "log", "openapi.json"))
        shutil.copytree(given.kb, kb)
        scripted = {"EXHIBIT_LLM": "openai/scripted", "OPENAI_API_KEY": "none", "OPENAI_API_BASE": f"{model.url}/v1"}
        with log.open("wb") as lines, serving(kb, _UNLIMITED, log=lines, settings=scripted) as (url, _):
            names, described = known(url), httpx.get(f"{url}/openapi.json").json()
            description.write_text(json.dumps(told(described, names)))
            operations = sum(map(len, described["paths"].values()))
            before, examples = answered(log), -(-given.requests // operations // 2)
            # First without what deletes the files, for later there is nothing to be found, shown and asked.
            foreseen = fuzzed(url, description, examples, given.seed, "--exclude-operation-id", "delete_asset")
            for number in range(1, _MOST_ROUNDS):
                foreseen &= fuzzed(url, description, examples, given.seed + number * _AT_ONCE)
                if (answered(log) - before).total() >= given.requests:
                    break
        counts = answered(log) - before
        print(*(line for line in log.read_text("utf-8").splitlines() if '"level": "error"' in line), sep="\n")
    sys.exit(report(counts, operations, given.requests) or not foreseen)


def report(counts: Counter[tuple[str, int]], operations: int, wanted: int) -> bool:
    """Print what was sent and answered; whether that is a failure."""
    for kind, status in sorted(counts):
        print(f"{counts[kind, status]:6}  {status}  {kind}")
    failed = sum(count for (_, status), count in counts.items() if status >= 500 or not status)
    reached = len({kind for kind, _ in counts if kind.partition(" ")[2]})
    print(f"{counts.total()} requests to {operations} operations ({reached} kinds reached); {failed} answers of 5xx")
    return failed > 0 or counts.total() < wanted


if __name__ == "__main__":
    main()
