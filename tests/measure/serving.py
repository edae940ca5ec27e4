"""Measure the server with several users at once: `python -m tests.measure.serving --kb FOLDER`.

The run starts a server on this machine. The stock OpenAI client streams answers to the demo's questions: each user asks
one question after another, and all users ask at the same time. A refused user (429) waits as long as `Retry-After` says
and asks again. A question that is neither answered nor refused is lost, and makes the run fail.

``--soak 2000`` sends that many requests of all kinds one after another instead, one in fifty of them a chat, and prints
the server's memory as it goes.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import httpx
import openai

from rag.demo import questions
from rag.evaluation.answer_metrics import percentile

_USERS = (1, 4, 16)
_QUESTIONS = 16  # of each round, for any number of users
_MOST_TRIES = 100
_CHAT_EVERY = 50  # requests of a soak


@dataclass
class Round:
    """The results for one number of users."""

    users: int
    first_s: list[float] = field(default_factory=list)
    whole_s: list[float] = field(default_factory=list)
    refused: int = 0
    lost: list[str] = field(default_factory=list)

    def line(self) -> str:
        """Return a row of the table."""
        first, whole = (f"{statistics.median(s):5.1f} {percentile(s, 95):5.1f}" for s in (self.first_s, self.whole_s))
        return f"{self.users:5}  {len(self.whole_s):8}  {self.refused:7}  {len(self.lost):4}  {first:>13}  {whole:>13}"


async def ask(client: openai.AsyncOpenAI, model: str, question: str, result: Round) -> None:
    """Ask until there is an answer; seconds count from the attempt that the server accepted."""
    for _ in range(_MOST_TRIES):
        started, first = time.monotonic(), 0.0
        try:
            stream = await client.chat.completions.create(
                model=model, messages=[{"role": "user", "content": question}], stream=True
            )
            finished = False
            async for chunk in stream:
                first = first or time.monotonic() - started
                finished = finished or chunk.choices[0].finish_reason == "stop"
        except openai.RateLimitError as refusal:
            result.refused += 1
            await asyncio.sleep(float(refusal.response.headers["Retry-After"]))
            continue
        except openai.OpenAIError as error:
            result.lost.append(f"{type(error).__name__}: {error}")
            return
        if finished:
            result.first_s.append(first)
            result.whole_s.append(time.monotonic() - started)
        else:
            result.lost.append("a stream ended before its answer")
        return
    result.lost.append(f"refused {_MOST_TRIES} times")


async def run_round(url: str, users: int) -> Round:
    """Run one round; the users share the questions."""
    result, demo_questions = Round(users), [question["question"] for question in questions()]
    shared = [demo_questions[n % len(demo_questions)] for n in range(_QUESTIONS)]
    async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0, timeout=600) as client:
        model = (await client.models.list()).data[0].id

        async def user(number: int) -> None:
            for question in shared[number::users]:
                await ask(client, model, question, result)

        await asyncio.gather(*(user(number) for number in range(users)))
    return result


@contextmanager
def run_server(
    kb: Path, options: Sequence[str], *, log: IO[bytes] | None = None, settings: Mapping[str, str] | None = None
) -> Iterator[tuple[str, int]]:
    """Run `exhibit serve` until the block ends; yield its address and process id."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "rag.cli.main", "serve", "--kb", str(kb), "--port", str(port), *options]
    environment = os.environ | dict(settings or {})
    with subprocess.Popen(command, stderr=log or subprocess.DEVNULL, env=environment) as server:
        url = f"http://127.0.0.1:{port}"
        try:
            for _ in range(600):
                try:
                    if httpx.get(f"{url}/readyz").status_code == 200:
                        break
                except httpx.TransportError:
                    time.sleep(0.1)
            yield url, server.pid
        finally:
            server.terminate()


def soak(url: str, pid: int, requests: int) -> list[str]:
    """Send requests of all kinds, print the server's memory, and return what went wrong."""
    lost, demo_questions = [], [question["question"] for question in questions()]
    with httpx.Client(base_url=url, timeout=600) as client:
        base = client.get("/v1/models").json()["data"][0]["id"]
        for number in range(requests):
            words = demo_questions[number % len(demo_questions)]
            if number % _CHAT_EVERY == 0:
                chat = {"model": base, "messages": [{"role": "user", "content": words}], "store": number % 2 == 0}
                answer = client.post("/v1/chat/completions", json=chat)
            elif number % 10 == 1:
                answer = client.get(f"/api/bases/{base}/assets")
            else:
                answer = client.post(f"/api/bases/{base}/search", json={"query": words, "top_k": 5})
                hits = answer.json().get("hits", [])
                seen = [view for hit in hits for view in hit["views"].values()]
                answer = client.get(seen[number % len(seen)]) if seen else answer
            if answer.status_code != 200:
                lost.append(f"{answer.request.url.path[:40]}: {answer.status_code} {answer.text[:200]}")
            if number % (requests // 10 or 1) == 0:
                print(f"{number:6} requests  {resident_mb(pid):7.0f} MB  {len(lost)} failed", flush=True)
    print(f"{requests:6} requests  {resident_mb(pid):7.0f} MB  {len(lost)} failed")
    return lost


def resident_mb(pid: int) -> float:
    """Return the resident memory of a process (Linux)."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * 4096 / 1e6


def main() -> None:
    """Measure rounds or a soak, and exit with 1 if a request was lost."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--kb", type=Path, required=True, help="a knowledge base of the demo: exhibit-demo/knowledge-base"
    )
    parser.add_argument("--waiting", type=int, default=8, help="questions that may wait; others are refused")
    parser.add_argument("--soak", type=int, metavar="N", help="send N requests instead, and print the memory")
    parser.add_argument("--out", type=Path, help="where to write the figures as JSON")
    arguments = parser.parse_args()
    if arguments.soak:
        with run_server(arguments.kb, ["--requests-per-minute", "0", "--questions-per-minute", "0"]) as (url, pid):
            lost = soak(url, pid, arguments.soak)
        print(*lost[:20], sep="\n", file=sys.stderr)
        sys.exit(1 if lost else 0)
    print("users  answered  refused  lost  first p50 p95  whole p50 p95   (seconds)")
    rounds = []
    with run_server(arguments.kb, ["--waiting", str(arguments.waiting)]) as (url, pid):
        asyncio.run(run_round(url, 1))  # the first questions load the model
        for users in _USERS:
            rounds.append(asyncio.run(run_round(url, users)))
            print(rounds[-1].line(), f"  {resident_mb(pid):.0f} MB", flush=True)
    if arguments.out:
        arguments.out.write_text(json.dumps([vars(one) for one in rounds], indent=2))
    for problem in (problem for one in rounds for problem in one.lost):
        print(problem, file=sys.stderr)
    sys.exit(1 if any(one.lost for one in rounds) else 0)


if __name__ == "__main__":
    main()
