"""``/v1/conversations``: stored questions and answers, which later questions build on.

A conversation holds turns. OpenAI's client sees them as items: a question in words, and its answer. OpenAI has no list
of conversations. This server has one, so that a page can show people theirs.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path
from pydantic import BaseModel, Field

from rag.server.access import Caller, CurrentCaller
from rag.server.history import Conversation, ConversationSummary, EntryNotFound, History, PageRequest, StoredTurn
from rag.server.openai import messages
from rag.server.openai.answer_request import CurrentHistory, Description, Metadata, stored_body
from rag.server.openai.pagination import list_page, newest_first
from rag.server.openai.responses import answer_item, question_item, require_messages
from rag.server.signed_links import SignedLinks

router = APIRouter(prefix="/v1/conversations", tags=["OpenAI"])

_MOST_ITEMS = 20  # in one request, as in OpenAI's API
_TITLE_CHARS = 80

Items = Annotated[list[dict[str, Any]], Field(max_length=_MOST_ITEMS)]


_EXAMPLE = [{"type": "message", "role": "user", "content": "Who let Jane Goodall come near?"}]


class NewConversation(BaseModel):
    """The beginning of a conversation."""

    items: Items | None = Field(default=None, description="Messages of user and assistant.", examples=[_EXAMPLE])
    metadata: Metadata | None = Field(default=None, examples=[{"topic": "apes"}])


class NewItems(BaseModel):
    """Messages to add to a conversation."""

    items: Annotated[Items, Field(min_length=1, examples=[_EXAMPLE])]


def find_conversation(
    history: CurrentHistory, caller: CurrentCaller, conversation_id: Annotated[str, Path(max_length=80)]
) -> Conversation:
    """Return the conversation in the path. It must be the caller's."""
    return history.conversation(conversation_id, caller.key_id)


NewestFirst = Annotated[PageRequest, Depends(newest_first)]
PathConversation = Annotated[Conversation, Depends(find_conversation)]


@router.post("", summary="Begin a conversation", name="begin")
def create_conversation(history: CurrentHistory, caller: CurrentCaller, new: NewConversation) -> dict[str, Any]:
    """Begins a conversation that responses can be part of. It may start with messages from elsewhere."""
    conversation = Conversation(f"conv_{uuid.uuid4().hex}", caller.key_id, int(time.time()), new.metadata or {})
    turns = list(_read_turns(new.items or (), conversation))
    history.add_conversation(conversation)
    _add_turns(history, conversation, turns)
    return _conversation_json(conversation)


@router.get("", summary="List the stored conversations", name="conversations")
def list_conversations(history: CurrentHistory, caller: CurrentCaller, page: NewestFirst) -> dict[str, Any]:
    """The caller's conversations, each with its first question, its knowledge base and its number of turns."""
    stored, has_more = history.conversations(caller.key_id, page)
    summaries = history.summaries(stored)
    return list_page(
        [_conversation_json(each) | {"exhibit": _summary_json(summaries[each.id])} for each in stored], has_more
    )


@router.get("/{conversation_id}", summary="Get a conversation", name="retrieve")
def get_conversation(conversation: PathConversation) -> dict[str, Any]:
    """When it began, and its metadata."""
    return _conversation_json(conversation)


@router.post("/{conversation_id}", summary="Describe a conversation", name="describe")
def describe_conversation(
    history: CurrentHistory, conversation: PathConversation, description: Description
) -> dict[str, Any]:
    """Replaces its metadata."""
    changed = replace(conversation, metadata=description.metadata or {})
    history.describe(conversation, changed.metadata)
    return _conversation_json(changed)


@router.delete("/{conversation_id}", summary="Delete a conversation", name="end")
def delete_conversation(history: CurrentHistory, conversation: PathConversation) -> dict[str, Any]:
    """Deletes it with all its questions and answers."""
    history.delete_conversation(conversation)
    return {"id": conversation.id, "object": "conversation.deleted", "deleted": True}


@router.get("/{conversation_id}/items", summary="List the messages of a conversation", name="items")
def list_items(
    history: CurrentHistory, caller: CurrentCaller, conversation: PathConversation, page: NewestFirst
) -> dict[str, Any]:
    """Its questions and answers, as messages."""
    links = caller.access.links
    rest_of_turn: list[dict[str, Any]] = []
    if page.after:
        turn = _find_turn(history, caller, conversation, page.after)
        ordered = _ordered_items(turn, links, page)
        rest_of_turn = ordered[[each["id"] for each in ordered].index(page.after) + 1 :]
        page = replace(page, after=turn.id)
    turns, has_more = history.turns_of(conversation, page)
    data = rest_of_turn + [each for turn in turns for each in _ordered_items(turn, links, page)]
    return list_page(data[: page.limit], has_more or len(data) > page.limit)


@router.post("/{conversation_id}/items", summary="Add messages to a conversation", name="put")
def add_items(
    history: CurrentHistory, caller: CurrentCaller, conversation: PathConversation, new: NewItems
) -> dict[str, Any]:
    """Adds messages from elsewhere. They help to understand later questions."""
    turns = list(_read_turns(new.items, conversation))
    _add_turns(history, conversation, turns)
    return list_page([each for turn in turns for each in _items(turn, caller.access.links)])


@router.get("/{conversation_id}/items/{item_id}", summary="Get a message of a conversation", name="item")
def get_item(
    history: CurrentHistory, caller: CurrentCaller, conversation: PathConversation, item_id: str
) -> dict[str, Any]:
    """A question or an answer."""
    turn = _find_turn(history, caller, conversation, item_id)
    return next(each for each in _items(turn, caller.access.links) if each["id"] == item_id)


def _read_turns(sent: Sequence[Mapping[str, Any]], conversation: Conversation) -> Iterator[StoredTurn]:
    """Yield messages as turns: a question and the answer that follows it; either may be missing."""
    question = ""
    for message in require_messages(sent, "items"):
        words = messages.words(message)
        if message.get("role") == "assistant" and words:
            yield _make_turn(conversation, question, words)
            question = ""
        elif message.get("role") == "user" and words:
            if question:
                yield _make_turn(conversation, question, "")
            question = words
    if question:
        yield _make_turn(conversation, question, "")


def _make_turn(conversation: Conversation, question: str, answer: str) -> StoredTurn:
    return StoredTurn(
        id=f"item_{uuid.uuid4().hex}",
        kind="item",
        who=conversation.who,
        made=int(time.time()),
        asked=question,
        meant=question,
        answered=answer,
        conversation=conversation.id,
    )


def _add_turns(history: History, conversation: Conversation, turns: Sequence[StoredTurn]) -> None:
    previous = history.newest_id(conversation)
    for turn in turns:
        history.add(replace(turn, previous=previous))
        previous = turn.id


def _find_turn(history: History, caller: Caller, conversation: Conversation, item_id: str) -> StoredTurn:
    """Return the turn that a message belongs to.

    Raises:
        EntryNotFound: the conversation has no such message.
    """
    name = item_id.removeprefix("msg_").removesuffix("_asked")
    for turn_id in (f"resp_{name}", f"item_{name}"):
        try:
            turn = history.turn(turn_id, caller.key_id, "response", "item")
        except EntryNotFound:
            continue
        if turn.conversation == conversation.id and item_id in _item_ids(turn):
            return turn
    raise EntryNotFound("item", item_id)


def _ordered_items(turn: StoredTurn, links: SignedLinks, page: PageRequest) -> list[dict[str, Any]]:
    return _items(turn, links)[:: -1 if page.is_newest_first else 1]


def _item_ids(turn: StoredTurn) -> list[str]:
    name = turn.id.partition("_")[2]
    return [f"msg_{name}_asked"] * bool(turn.asked) + [f"msg_{name}"] * bool(turn.answered)


def _items(turn: StoredTurn, links: SignedLinks) -> list[dict[str, Any]]:
    """Return a turn as messages, with renewed links."""
    questions = [question_item(turn)] if turn.asked else []
    if turn.kind == "response":
        body = stored_body(turn, links)
        return [*questions, *({**item, "exhibit": body["exhibit"]} for item in body["output"])]
    name = turn.id.partition("_")[2]
    return [*questions, *([answer_item(name, turn.answered, ())] if turn.answered else [])]


def _conversation_json(conversation: Conversation) -> dict[str, Any]:
    fields = {"id": conversation.id, "object": "conversation", "created_at": conversation.made}
    return fields | {"metadata": dict(conversation.metadata)}


def _summary_json(summary: ConversationSummary) -> dict[str, Any]:
    title = summary.title if len(summary.title) <= _TITLE_CHARS else f"{summary.title[: _TITLE_CHARS - 1]}…"
    return {"title": title, "model": summary.base, "turns": summary.turns, "updated_at": summary.latest}
