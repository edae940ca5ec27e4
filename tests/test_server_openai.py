"""OpenAI's APIs beside chat, asked by the stock clients over a real connection; the language model is scripted."""

from __future__ import annotations

import base64
import json
import re
import shutil
import sqlite3
from dataclasses import replace
from typing import Any

import openai
import pytest

from rag import KnowledgeBase
from rag.config import Settings
from rag.server.app import create_app
from rag.server.keys import Keys
from rag.server.signed_links import SignedLinks
from rag.server.state import ServerOptions
from tests.fakes.server import Handler
from tests.fakes.server import running as serving
from tests.fakes.uvicorn_server import running

pytestmark = [pytest.mark.allow_hosts(["127.0.0.1"])]

WHO = "Which apes use spears at Fongoli?"
FOLLOW_UP = "What do they hunt?"
ALONE = "What do apes at Fongoli hunt?"
BREAKS = "Which ape breaks off?"
TOKEN = re.compile(r"/evidence/[^/]+/")
MARK = re.compile(r' \[\?\]\(\S+ "[^"]*"\)|\n\n\? [^\n]*')  # of what was not checked
IMAGE_BY_ID = {"type": "input_image", "file_id": "file_1"}
GARBLED = {"type": "input_audio", "input_audio": {"data": "aGVsbG8=", "format": "wav"}}
LOCKED = "Which ape is locked up?"
OPENING = ["response.created", "response.in_progress", "response.output_item.added", "response.content_part.added"]
CLOSING = [
    "response.output_text.annotation.added",
    "response.output_text.done",
    "response.content_part.done",
    "response.output_item.done",
    "response.completed",
]


class _Model(Handler):
    """A language model behind OpenAI's API; what it is asked is kept, and it answers by the question."""

    def answer(self, request: Any) -> None:
        said = request["messages"][-1]["content"]
        if request.get("logprobs"):
            self.send_json(400, {"error": {"message": "logprobs are not supported by this model"}})
        elif LOCKED in said:
            self.send_json(401, {"error": {"message": "wrong key"}})
        elif request.get("stream"):
            self._stream(BREAKS in said)
        else:
            text = ALONE if "Last question" in said else "They hunt [E1]."
            choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}
            self.send_json(200, _envelope("chat.completion", choice))

    def _stream(self, breaks: bool) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        for piece in ("Chimpanzees ", "at Fon", "goli hunt [E", "1]."):
            self._event({"delta": {"content": piece}, "finish_reason": None})
            if breaks:
                self.wfile.write(b'data: {"error": {"message": "out of memory", "code": 500}}\n\n')
                return
        self._event({"delta": {}, "finish_reason": "stop"})
        self.wfile.write(b"data: [DONE]\n\n")

    def _event(self, choice: dict[str, Any]) -> None:
        chunk = _envelope("chat.completion.chunk", {"index": 0, **choice})
        self.wfile.write(b"data: " + json.dumps(chunk).encode() + b"\n\n")


def unsigned(text: str) -> str:
    """A text without the tokens of its links, which change by the second, and without marks.

    A stream, whose text has been sent before it is checked, has its marks at the end.
    """
    return MARK.sub("", TOKEN.sub("/evidence/", text))


def _envelope(form: str, choice: dict[str, Any]) -> dict[str, Any]:
    return {"id": "1", "object": form, "created": 1, "model": "scripted", "choices": [choice]}


@pytest.fixture(scope="module")
def model():
    with serving(_Model) as model:
        yield model


@pytest.fixture(scope="module")
def template(demo_folder, tmp_path_factory):
    """A knowledge base of a note and a photo that nobody has open."""
    folder = tmp_path_factory.mktemp("template")
    with KnowledgeBase.open(folder / "museum") as base:
        base.ingest([demo_folder / "curators-notes.md", demo_folder / "photo-04.jpg"])
    return folder / "museum"


@pytest.fixture(scope="module")
def server(template, model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("served")
    museum = shutil.copytree(template, folder / "museum")
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("OPENAI_API_KEY", "none")
        patched.setenv("OPENAI_API_BASE", f"{model.url}/v1")
        options = ServerOptions(folder / "state", is_open=True, questions_per_minute=0)
        app = create_app([museum], options, settings=Settings(llm="openai/scripted", rerank_top_n=0, verify="off"))
        with running(app, folder) as server:
            yield server


@pytest.fixture(scope="module")
def first(server):
    """A response to a first question."""
    return server.openai().responses.create(model="museum", input=WHO, metadata={"page": "start"})


class TestResponses:
    def test_the_stock_client_gets_a_cited_answer(self, server, first):
        assert first.status == "completed"
        assert unsigned(first.output_text).startswith("Chimpanzees at Fongoli hunt [1].")
        (cited,) = first.output[0].content[0].annotations
        assert first.output_text[cited.start_index : cited.end_index] == "Chimpanzees at Fongoli hunt"
        assert cited.title == cited.exhibit["title"]
        assert server.http().get(cited.url).status_code == 200
        assert set(cited.exhibit["verdict"]) == {"name", "reason", "support", "locator", "quote"}
        assert first.exhibit == {"question": WHO, "declined": False, "open_parts": [], "warnings": [], "ignored": []}

    def test_a_stream_has_all_events_in_their_order(self, server, first):
        told = list(server.openai().responses.create(model="museum", input=WHO, stream=True))
        kinds = [event.type for event in told]
        texts = [event.delta for event in told if event.type == "response.output_text.delta"]
        assert kinds == [*OPENING, *["response.output_text.delta"] * len(texts), *CLOSING]
        assert len(texts) > 3
        assert [event.sequence_number for event in told] == list(range(len(told)))
        completed = told[-1].response
        assert "".join(texts) == completed.output_text == told[-4].text
        assert told[-5].to_dict()["annotation"] == completed.output[0].content[0].annotations[0].to_dict()
        assert {event.item_id for event in told if hasattr(event, "item_id")} == {completed.output[0].id}
        assert completed.output[0] == told[-2].item
        assert unsigned(completed.output_text) == unsigned(first.output_text)

    def test_each_event_is_named_on_a_line_of_its_own(self, server):
        answer = server.http().post("/v1/responses", json={"model": "museum", "input": WHO, "stream": True})
        assert answer.headers["Content-Type"].startswith("text/event-stream")
        *blocks, rest = answer.text.split("\n\n")
        assert rest == ""
        for block in blocks:
            name, data = block.split("\n")
            assert name == f"event: {json.loads(data.removeprefix('data: '))['type']}"

    async def test_the_async_client_streams_and_puts_the_response_together(self, server):
        async with server.async_openai() as client:
            async with client.responses.stream(model="museum", input=WHO) as stream:
                kinds = [event.type async for event in stream]
                whole = await stream.get_final_response()
            assert kinds[-1] == "response.completed"
            assert unsigned(whole.output_text) == unsigned((await client.responses.retrieve(whole.id)).output_text)

    def test_a_follow_up_is_understood_from_earlier_messages_and_output(self, server, first):
        said = [
            {"role": "developer", "content": "Answer as a pirate."},
            {"role": "user", "content": [{"type": "input_text", "text": WHO}]},
            *[item.to_dict() for item in first.output],
            {"type": "message", "role": "user", "content": FOLLOW_UP},
        ]
        made = server.openai().responses.create(model="museum", input=said, temperature=0.1)
        assert made.exhibit["question"] == ALONE
        assert made.exhibit["ignored"] == ["temperature", "developer messages"]

    def test_a_picture_is_a_question(self, server, demo_folder):
        picture = base64.b64encode((demo_folder / "photo-04.jpg").read_bytes()).decode()
        part = {"type": "input_image", "image_url": f"data:image/jpeg;base64,{picture}", "detail": "auto"}
        made = server.openai().responses.create(model="museum", input=[{"role": "user", "content": [part]}])
        assert "orangutan" in made.exhibit["question"]
        (asked,) = server.openai().responses.input_items.list(made.id)
        assert asked.content[0].text == made.exhibit["question"]

    @pytest.mark.parametrize(
        ("changes", "error", "expected"),
        [
            ({"model": "zoo"}, openai.NotFoundError, "`museum`"),
            ({"input": ""}, openai.BadRequestError, None),
            ({"input": []}, openai.BadRequestError, None),
            ({"input": [{"role": "user", "content": "x"}] * 1001}, openai.BadRequestError, "1000"),
            ({"input": [{"role": "assistant", "content": "x"}]}, openai.BadRequestError, None),
            ({"input": [{"type": "item_reference", "id": "msg_1"}]}, openai.BadRequestError, "`item_reference`"),
            ({"input": [{"role": "user", "content": [IMAGE_BY_ID]}]}, openai.BadRequestError, None),
            ({"input": [{"role": "user", "content": [GARBLED]}]}, openai.APIStatusError, None),
            ({"tools": [{"type": "web_search"}]}, openai.BadRequestError, "`tools`"),
            ({"background": True}, openai.BadRequestError, "`background`"),
            ({"text": {"format": {"type": "json_object"}}}, openai.BadRequestError, "`text`"),
            ({"metadata": {"x": "y" * 513}}, openai.BadRequestError, "metadata"),
            ({"extra_body": {"exhibit": {"were": {}}}}, openai.BadRequestError, "exhibit.were"),
            ({"previous_response_id": "resp_0"}, openai.NotFoundError, "`resp_0`"),
            ({"conversation": "conv_0"}, openai.NotFoundError, "`conv_0`"),
            ({"conversation": "c", "previous_response_id": "r"}, openai.BadRequestError, "`previous_response_id`"),
            ({"input": LOCKED}, openai.InternalServerError, None),
        ],
    )
    def test_a_failure_before_the_first_piece_has_a_status(self, server, changes, error, expected):
        for stream in (False, True):
            with pytest.raises(error, match=expected and re.escape(expected)) as caught:
                server.openai().responses.create(**({"model": "museum", "input": WHO} | changes), stream=stream)
            assert caught.value.param in (None, *changes, "exhibit.were", "metadata.x")

    @pytest.mark.parametrize(
        "sent",
        [
            {"input": [{"role": "user", "content": "half a letter \ud83d"}]},
            {"input": [{"role": "user", "content": [{"type": "half \ud83d", "text": "x"}]}]},
            {"input": [{"type": "half \ud83d"}]},
            {"input": "half a letter \ud83d"},
            {"input": WHO, "half a letter \ud83d": 1},
            {"input": WHO, "previous_response_id": "\ud83d"},
            {"input": "a whole letter \U0001f98d"},
            {"input": WHO, "conversation": "\0"},
            {"input": [{"role": ["user"], "content": 5}]},
            {"input": [{"role": "user", "content": {"text": 5}}]},
        ],
    )
    def test_malformed_text_never_causes_a_server_error(self, server, sent):
        raw = json.dumps({"model": "museum", **sent})
        for stream in ("", ', "stream": true'):
            body = f"{raw[:-1]}{stream}}}"
            answer = server.http().post("/v1/responses", content=body, headers={"Content-Type": "application/json"})
            assert answer.status_code < 500
            assert "event: response.failed" not in answer.text

    @pytest.mark.parametrize("body", [b"\\ud83d", b"[" * 100_000, b"\xff", b'{"model": "museum", "input": NaN}'])
    def test_malformed_json_is_refused(self, server, body):
        answer = server.http().post("/v1/responses", content=body, headers={"Content-Type": "application/json"})
        assert answer.status_code == 400
        assert answer.json()["error"]["type"] == "invalid_request_error"

    def test_every_path_is_described(self, server):
        paths = server.http().get("/openapi.json").json()["paths"]
        for path in ("/v1/responses", "/v1/conversations/{conversation_id}/items", "/v1/audio/transcriptions"):
            assert path in paths
        assert set(paths["/v1/chat/completions/{completion_id}"]) == {"get", "post", "delete"}

    def test_text_options_and_instructions_are_ignored(self, server):
        plain = {"format": {"type": "text"}, "verbosity": "low"}
        made = server.openai().responses.create(model="museum", input=WHO, text=plain, instructions="Be brief.")
        assert made.exhibit["ignored"] == ["instructions", "text"]

    def test_a_later_failure_is_an_event_of_the_stream(self, server):
        told = list(server.openai().responses.create(model="museum", input=BREAKS, stream=True))
        assert [event.type for event in told[:4]] == OPENING
        assert told[-1].type == "response.failed"
        assert told[-1].sequence_number == len(told) - 1
        assert told[-1].response.status == "failed"
        assert "scripted" in told[-1].response.error.message
        with pytest.raises(openai.NotFoundError, match=told[-1].response.id):
            server.openai().responses.retrieve(told[-1].response.id)


class TestWhatIsKept:
    def test_a_response_can_be_retrieved_with_its_question_and_deleted(self, server):
        client = server.openai()
        made = client.responses.create(model="museum", input=WHO, metadata={"page": "start"})
        again = client.responses.retrieve(made.id)
        assert again.metadata == {"page": "start"}
        assert again.output[0].id == made.output[0].id
        url = again.output[0].content[0].annotations[0].url
        assert url in again.output_text
        assert server.http().get(url).status_code == 200
        (asked,) = client.responses.input_items.list(made.id)
        assert asked.content[0].text == WHO
        client.responses.delete(made.id)
        for call in (client.responses.retrieve, client.responses.delete, client.responses.input_items.list):
            with pytest.raises(openai.NotFoundError, match=made.id) as caught:
                call(made.id)
            assert caught.value.type == "not_found_error"

    def test_a_response_is_not_stored_on_request(self, server):
        made = server.openai().responses.create(model="museum", input=WHO, store=False)
        assert made.store is False
        with pytest.raises(openai.NotFoundError, match=made.id):
            server.openai().responses.retrieve(made.id)

    def test_links_of_a_stored_response_are_renewed(self, server):
        access = server.app.state.exhibit.access
        secret = (server.app.state.exhibit.options.state / "secret").read_text("ascii")
        server.app.state.exhibit.access = replace(access, links=SignedLinks(secret, lasts_s=-9))
        try:
            made = server.openai().responses.create(model="museum", input=WHO)
        finally:
            server.app.state.exhibit.access = access
        (old,) = made.output[0].content[0].annotations
        assert server.http().get(old.url).status_code == 410
        (new,) = server.openai().responses.retrieve(made.id).output[0].content[0].annotations
        assert server.http().get(new.url).status_code == 200
        assert server.http().get(new.exhibit["views"]["thumbnail"]).status_code == 200

    def test_an_unstored_response_is_not_added_to_its_conversation(self, server):
        talk = server.openai().conversations.create(items=[{"role": "user", "content": WHO}])
        made = server.openai().responses.create(model="museum", input=FOLLOW_UP, conversation=talk.id, store=False)
        assert made.exhibit["question"] == ALONE
        assert len(server.openai().conversations.items.list(talk.id).data) == 1

    def test_a_response_is_not_streamed_again(self, server, first):
        with pytest.raises(openai.BadRequestError, match="`stream`"):
            server.openai().responses.retrieve(first.id, stream=True)

    def test_a_follow_up_is_understood_from_the_response_before(self, server, first, model):
        made = server.openai().responses.create(model="museum", input=FOLLOW_UP, previous_response_id=first.id)
        assert made.exhibit["question"] == ALONE
        assert made.previous_response_id == first.id
        model.requests.clear()
        server.openai().responses.create(model="museum", input="And then?", previous_response_id=made.id)
        asked = model.requests[0]["messages"][-1]["content"]
        assert asked.index(WHO) < asked.index(ALONE) < asked.index("Last question: And then?")
        assert "[1]" not in asked

    def test_a_conversation_goes_on_and_can_be_read_and_deleted(self, server):
        client = server.openai()
        talk = client.conversations.create(metadata={"topic": "apes"})
        assert client.conversations.retrieve(talk.id).metadata == {"topic": "apes"}
        assert client.conversations.update(talk.id, metadata={"topic": "spears"}).metadata == {"topic": "spears"}
        assert client.conversations.retrieve(talk.id).metadata == {"topic": "spears"}
        one = client.responses.create(model="museum", input=WHO, conversation=talk.id)
        two = client.responses.create(model="museum", input=FOLLOW_UP, conversation={"id": talk.id}, stream=True)
        two = list(two)[-1].response
        assert two.exhibit["question"] == ALONE
        assert two.conversation.id == talk.id
        said = list(client.conversations.items.list(talk.id, limit=1, order="asc"))
        assert [item.role for item in said] == ["user", "assistant"] * 2
        texts = [WHO, one.output_text, FOLLOW_UP, two.output_text]
        assert [unsigned(item.content[0].text) for item in said] == [unsigned(text) for text in texts]
        assert said[3].exhibit == two.exhibit
        newest = list(client.conversations.items.list(talk.id, limit=3))
        assert [item.id for item in newest] == [item.id for item in said[::-1]]
        assert client.conversations.items.retrieve(said[1].id, conversation_id=talk.id).id == one.output[0].id
        client.responses.delete(one.id)
        assert len(list(client.conversations.items.list(talk.id))) == 2
        assert client.conversations.delete(talk.id).deleted
        with pytest.raises(openai.NotFoundError, match=two.id):
            client.responses.retrieve(two.id)
        with pytest.raises(openai.NotFoundError, match=talk.id):
            client.conversations.items.list(talk.id)

    def test_a_conversation_can_begin_with_items(self, server):
        client = server.openai()
        before = [
            {"role": "system", "content": "x"},
            {"role": "user", "content": WHO},
            {"role": "assistant", "content": "Chimps."},
        ]
        talk = client.conversations.create(items=before)
        put = client.conversations.items.create(talk.id, items=[{"type": "message", "role": "user", "content": "Hm."}])
        assert put.data[0].content[0].text == "Hm."
        said = list(client.conversations.items.list(talk.id, order="asc"))
        assert [item.content[0].text for item in said] == [WHO, "Chimps.", "Hm."]
        made = client.responses.create(model="museum", input=FOLLOW_UP, conversation=talk.id)
        assert made.exhibit["question"] == ALONE
        with pytest.raises(openai.NotFoundError, match="msg_0"):
            client.conversations.items.retrieve("msg_0", conversation_id=talk.id)
        with pytest.raises(openai.NotFoundError, match="msg_0"):
            client.conversations.items.list(talk.id, after="msg_0")
        with pytest.raises(openai.BadRequestError, match="items"):
            client.conversations.create(items=before * 7)
        with pytest.raises(openai.BadRequestError, match="`function_call`"):
            client.conversations.create(items=[{"type": "function_call", "name": "x", "call_id": "1", "arguments": ""}])

    def test_conversations_are_listed_with_their_titles(self, server):
        client, http = server.openai(), server.http()
        old, new = client.conversations.create(), client.conversations.create()
        client.responses.create(model="museum", input=f"{WHO} {'Tell me. ' * 20}", conversation=old.id)
        client.responses.create(model="museum", input=FOLLOW_UP, conversation=old.id)
        found = http.get("/v1/conversations", params={"limit": 1}).json()
        assert [each["id"] for each in found["data"]] == [new.id]
        assert found["data"][0]["exhibit"]["turns"] == 0
        assert found["has_more"]
        (told,) = http.get("/v1/conversations", params={"limit": 1, "after": found["last_id"]}).json()["data"]
        assert told["id"] == old.id
        assert told["exhibit"]["title"].startswith(WHO)
        assert len(told["exhibit"]["title"]) == 80
        assert told["exhibit"]["model"] == "museum"
        assert told["exhibit"]["turns"] == 2
        assert told["exhibit"]["updated_at"] >= told["created_at"]
        assert http.get("/v1/conversations", params={"limit": 101}).status_code == 400

    def test_chat_completions_are_stored_on_request(self, server):
        completions = server.openai().chat.completions
        asked = {"model": "museum", "messages": [{"role": "user", "content": WHO}]}
        unstored = completions.create(**asked)
        with pytest.raises(openai.NotFoundError, match=unstored.id):
            completions.retrieve(unstored.id)
        one = completions.create(**asked, store=True, metadata={"page": "one"})
        *_, two = completions.create(**asked, store=True, metadata={"page": "two"}, stream=True)
        again = completions.retrieve(one.id)
        assert again.choices[0].message.annotations[0].exhibit["title"]
        assert again.metadata == {"page": "one"}
        assert [each.id for each in completions.list(limit=1)] == [one.id, two.id]
        assert [each.id for each in completions.list(order="desc", model="museum")] == [two.id, one.id]
        assert [each.id for each in completions.list(metadata={"page": "two"})] == [two.id]
        assert completions.list(model="zoo").data == []
        assert completions.list(metadata={"page": "three"}).data == []
        assert completions.list(metadata={'"\\': "two"}).data == []
        assert [message.content for message in completions.messages.list(two.id)] == [WHO]
        assert completions.update(one.id, metadata={"page": "three"}).metadata == {"page": "three"}
        assert completions.retrieve(one.id).metadata == {"page": "three"}
        assert completions.delete(one.id).deleted
        assert [each.id for each in completions.list()] == [two.id]
        with pytest.raises(openai.NotFoundError, match=two.id):
            server.openai().responses.retrieve(two.id)

    def test_a_key_sees_only_its_own_responses(self, template, model, tmp_path, monkeypatch):
        monkeypatch.setenv("OPENAI_API_KEY", "none")
        monkeypatch.setenv("OPENAI_API_BASE", f"{model.url}/v1")
        keys = Keys(tmp_path / "keys.db")
        (key, ours), (_, others) = keys.make("ours"), keys.make("others")
        museum = shutil.copytree(template, tmp_path / "museum")
        app = create_app(
            [museum], ServerOptions(tmp_path), settings=Settings(llm="openai/scripted", rerank_top_n=0, verify="off")
        )
        with running(app, tmp_path) as server:
            mine, theirs = server.openai(ours), server.openai(others)
            talk = mine.conversations.create()
            made = mine.responses.create(model="museum", input=WHO, conversation=talk.id)
            chat = mine.chat.completions.create(model="museum", messages=[{"role": "user", "content": WHO}], store=True)
            for call, about in (
                (theirs.responses.retrieve, made.id),
                (theirs.responses.delete, made.id),
                (theirs.responses.input_items.list, made.id),
                (theirs.conversations.retrieve, talk.id),
                (theirs.conversations.delete, talk.id),
                (theirs.conversations.items.list, talk.id),
                (theirs.chat.completions.retrieve, chat.id),
                (theirs.chat.completions.delete, chat.id),
            ):
                with pytest.raises(openai.NotFoundError, match=about):
                    call(about)
            for link in ({"previous_response_id": made.id}, {"conversation": talk.id}):
                with pytest.raises(openai.NotFoundError, match=next(iter(link.values()))):
                    theirs.responses.create(model="museum", input=FOLLOW_UP, **link)
            assert theirs.chat.completions.list().data == []
            assert server.http(others).get("/v1/conversations").json()["data"] == []
            assert mine.responses.retrieve(made.id).id == made.id
            assert server.http().get("/v1/conversations").status_code == 401
        keys.revoke(key.id)
        keys.close()
        with running(create_app([museum], ServerOptions(tmp_path), settings=Settings(llm="openai/scripted")), tmp_path):
            history = sqlite3.connect(tmp_path / "history.db")
            assert history.execute("select count(*) from turns").fetchone() == (0,)
            history.close()
