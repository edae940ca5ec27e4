"""Print a session of the stock OpenAI client with the demo: `python -m tests.measure.transcript --kb FOLDER`.

The run starts a server on this machine. The client asks in words, follows up, asks with a picture, and asks something
that the collection does not answer; some chats are streamed, and a conversation of responses repeats the first two
questions. Each answer is printed with shortened links and its annotations. The run fails if a picture, a link or a view
of the evidence does not open, if an annotation marks no text of the answer, or if the answer holds a raw marker.
"""

from __future__ import annotations

import argparse
import base64
import re
import sys
import textwrap
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx
import openai

from rag.demo import HERE
from tests.measure.serving import run_server

_FIRST = "What name did Jane Goodall give to the first chimpanzee that let her come near?"
_FOLLOW_UP = "What colour was his beard?"
_PICTURE = HERE / "collection" / "photo-04.jpg"
_LIKE_IT = "Which photo shows the same animal?"
_NOWHERE = "What does a ticket to the museum cost?"
_IMAGE = re.compile(r"!\[[^\]]*\]\((\S+)\)")
_TOKEN = re.compile(r"(?<=/evidence/)[\w.-]+(?=/)")
_MARKER = re.compile(r"\[\s*E\s*\d")


class Session:
    """A session that asks, prints, and checks what it prints.

    Args:
        client: the stock client.
        model: name of the knowledge base.
    """

    def __init__(self, client: openai.OpenAI, model: str) -> None:
        self._client, self._model = client, model
        self.problems: list[str] = []

    def chat(self, messages: Sequence[Any], *, stream: bool = False) -> str:
        """Request a chat completion; return its text."""
        print(f"\n$ client.chat.completions.create(model={self._model!r}, messages={_short(messages)}, {stream=})")
        started = time.monotonic()
        create = self._client.chat.completions.create
        if not stream:
            made = create(model=self._model, messages=list(messages))
            message = made.choices[0].message
            self._report(message.content or "", _flatten(message.to_dict().get("annotations")), made, started)
            return message.content or ""
        text, cited, first_s = "", [], 0.0
        usage = {"include_usage": True}
        for chunk in create(model=self._model, messages=list(messages), stream=True, stream_options=usage):
            for choice in chunk.choices:
                first_s = first_s or time.monotonic() - started
                text += choice.delta.content or ""
                cited += _flatten(choice.delta.to_dict().get("annotations"))
                last = chunk
        last.usage = chunk.usage
        self._report(text, cited, last, started, f"first piece after {first_s:.1f} s, ")
        return text

    def respond(self, asked: str, conversation: str) -> None:
        """Request a response in a conversation, with the client's own helper for streams."""
        print(f"\n$ client.responses.stream(model={self._model!r}, input={asked!r}, conversation=…)")
        started = time.monotonic()
        with self._client.responses.stream(model=self._model, input=asked, conversation=conversation) as events:
            kinds = [event.type for event in events]
            made = events.get_final_response()
        counts = ", ".join(f"{kind} x {kinds.count(kind)}" for kind in dict.fromkeys(kinds))
        print(textwrap.indent(textwrap.fill(counts, 110), "  "))
        cited = made.output[0].to_dict()["content"][0]["annotations"]
        self._report(made.output_text, cited, made, started)

    def talk(self) -> None:
        """Hold a conversation of two questions, list its items, and delete it."""
        talk = self._client.conversations.create()
        self.respond(_FIRST, talk.id)
        self.respond(_FOLLOW_UP, talk.id)
        kept = list(self._client.conversations.items.list(talk.id, order="asc"))
        print(f"\n$ client.conversations.items.list(…): {', '.join(item.role for item in kept)}")
        print(f"$ client.conversations.delete(…): deleted={self._client.conversations.delete(talk.id).deleted}")

    def _report(self, text: str, cited: Sequence[Mapping[str, Any]], made: Any, started: float, note: str = "") -> None:
        usage = made.usage.to_dict() if made.usage else {}
        tokens = f"{usage.get('total_tokens', 'an unknown number of')} tokens"
        print(textwrap.indent(_TOKEN.sub("…", text), "  > "))
        print(f"  ({note}{time.monotonic() - started:.1f} s, {tokens}; understood as: {made.exhibit['question']!r})")
        if _MARKER.search(text):
            self.problems.append(f"a raw marker in {text!r}")
        for url in _IMAGE.findall(text):
            self._open(url, "image/")
        for citation in cited:
            said = text[citation["start_index"] : citation["end_index"]]
            exhibit = citation["exhibit"]
            if not said.strip():
                self.problems.append(f"a citation of nothing: {citation}")
            print(f"  {exhibit['number']}. {said!r} rests on {citation['title']!r}, {exhibit['modality']}")
            print(f"     {exhibit['locator']}   {_TOKEN.sub('…', citation['url'])}")
            print("     " + ", ".join(f"{view}: {self._open(url)}" for view, url in exhibit["views"].items()))

    def _open(self, url: str, kind: str = "") -> str:
        """Open an address as a browser would, without a key; return the type and size of the content."""
        answer = httpx.get(url, timeout=60)
        found = answer.headers.get("Content-Type", "").partition(";")[0]
        if answer.status_code != 200 or not found.startswith(kind):
            self.problems.append(f"{answer.status_code} {found} at {url}")
        return f"{found} {len(answer.content) / 1000:.0f} kB"


def _flatten(annotations: Any) -> Iterator[dict[str, Any]]:
    """Yield annotations of a chat in the form of those of a response."""
    for annotation in annotations or ():
        yield {**annotation["url_citation"], "exhibit": annotation["exhibit"]}


def _short(messages: Sequence[Any]) -> str:
    return _TOKEN.sub("…", re.sub(r"(base64,.{8})[^']*", r"\1…", repr(list(messages))))


def session(url: str) -> list[str]:
    """Run the whole session; return its problems."""
    with openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as client:
        model = client.models.list().data[0].id
        print(f"openai {openai.__version__}; models: {model}")
        asking = Session(client, model)
        asked = {"role": "user", "content": _FIRST}
        answered = asking.chat([asked])
        asking.chat([asked, {"role": "assistant", "content": answered}, {"role": "user", "content": _FOLLOW_UP}])
        picture = f"data:image/jpeg;base64,{base64.b64encode(_PICTURE.read_bytes()).decode()}"
        parts = [{"type": "text", "text": _LIKE_IT}, {"type": "image_url", "image_url": {"url": picture}}]
        asking.chat([{"role": "user", "content": parts}], stream=True)
        asking.chat([{"role": "user", "content": _NOWHERE}], stream=True)
        asking.talk()
    return asking.problems


def main() -> None:
    """Run the session, and exit with 1 if it had problems."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--kb", type=Path, required=True, help="a knowledge base of the demo that no other process has open"
    )
    arguments = parser.parse_args()
    with run_server(arguments.kb, []) as (url, _):
        problems = session(url)
    print(*problems or ["\nEvery picture, link and view opened; no raw marker."], sep="\n")
    sys.exit(1 if problems else 0)


if __name__ == "__main__":
    main()
