"""How the server does with several users at once: `python -m tests.measure.serving --kb FOLDER`.

A server of its own is started on a port of this machine, and the stock OpenAI client asks it, streaming, the demo's
questions: each user one after another, all users at the same time. Whoever is refused (429) waits as long as
`Retry-After` says and asks again. Whatever is neither answered nor refused is lost, and makes the run fail.

With ``--soak 2000`` so many requests of all kinds are sent one after another instead, one in fifty of them a chat, and
the server's memory is printed as it goes.
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
from tests.measure.metrics import percentile

_USERS = (1, 4, 16)
_ASKED = 16  # questions of each round, whatever the number of users
_MOST_TRIES = 100
_CHATS = 50  # one in so many requests of a soak is a chat


@dataclass
class Round:
    """What came of one number of users."""

    users: int
    first_s: list[float] = field(default_factory=list)
    whole_s: list[float] = field(default_factory=list)
    refused: int = 0
    lost: list[str] = field(default_factory=list)

    def line(self) -> str:
        first, whole = (f"{statistics.median(s):5.1f} {percentile(s, 95):5.1f}" for s in (self.first_s, self.whole_s))
        return f"{self.users:5}  {len(self.whole_s):8}  {self.refused:7}  {len(self.lost):4}  {first:>13}  {whole:>13}"


async def asked(client: openai.AsyncOpenAI, model: str, question: str, told: Round) -> None:
    """Ask until it is answered; seconds count from the try that was let in."""
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
            told.refused += 1
            await asyncio.sleep(float(refusal.response.headers["Retry-After"]))
            continue
        except openai.OpenAIError as error:
            told.lost.append(f"{type(error).__name__}: {error}")
            return
        if finished:
            told.first_s.append(first)
            told.whole_s.append(time.monotonic() - started)
        else:
            told.lost.append("a stream ended before its answer")
        return
    told.lost.append(f"refused {_MOST_TRIES} times")


async def measured(url: str, users: int) -> Round:
    """One round: the questions are dealt out to the users."""
    told, asking = Round(users), [question["question"] for question in questions()]
    dealt = [asking[n % len(asking)] for n in range(_ASKED)]
    async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0, timeout=600) as client:
        model = (await client.models.list()).data[0].id

        async def user(number: int) -> None:
            for question in dealt[number::users]:
                await asked(client, model, question, told)

        await asyncio.gather(*(user(number) for number in range(users)))
    return told


@contextmanager
def serving(
    kb: Path, options: Sequence[str], *, log: IO[bytes] | None = None, settings: Mapping[str, str] | None = None
) -> Iterator[tuple[str, int]]:
    """`exhibit serve` until the end of the block: its address and process."""
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


def soaked(url: str, pid: int, requests: int) -> list[str]:
    """Send requests of all kinds, print the server's memory, and return what went wrong."""
    lost, asking = [], [question["question"] for question in questions()]
    with httpx.Client(base_url=url, timeout=600) as client:
        base = client.get("/v1/models").json()["data"][0]["id"]
        for number in range(requests):
            words = asking[number % len(asking)]
            if number % _CHATS == 0:
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
    """Memory of a process now (Linux)."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * 4096 / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--kb", type=Path, required=True, help="a knowledge base of the demo: exhibit-demo/knowledge-base"
    )
    parser.add_argument("--waiting", type=int, default=8, help="questions that may wait; more are refused")
    parser.add_argument("--soak", type=int, metavar="N", help="send N requests instead, and watch the memory")
    parser.add_argument("--out", type=Path, help="where to write the figures as JSON")
    given = parser.parse_args()
    if given.soak:
        with serving(given.kb, ["--requests-per-minute", "0", "--questions-per-minute", "0"]) as (url, pid):
            lost = soaked(url, pid, given.soak)
        print(*lost[:20], sep="\n", file=sys.stderr)
        sys.exit(1 if lost else 0)
    print("users  answered  refused  lost  first p50 p95  whole p50 p95   (seconds)")
    rounds = []
    with serving(given.kb, ["--waiting", str(given.waiting)]) as (url, pid):
        asyncio.run(measured(url, 1))  # the first questions load the model
        for users in _USERS:
            rounds.append(asyncio.run(measured(url, users)))
            print(rounds[-1].line(), f"  {resident_mb(pid):.0f} MB", flush=True)
    if given.out:
        given.out.write_text(json.dumps([vars(one) for one in rounds], indent=2))
    for problem in (problem for one in rounds for problem in one.lost):
        print(problem, file=sys.stderr)
    sys.exit(1 if any(one.lost for one in rounds) else 0)


if __name__ == "__main__":
    main()
