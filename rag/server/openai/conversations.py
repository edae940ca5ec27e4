"""``/v1/conversations``: what was said, kept for the next question, to be read again and to be deleted.

A conversation holds turns, of which the stock client sees the items: a question in words, and its answer. OpenAI has no
list of conversations; here there is one, for pages on which people find theirs again.
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
from rag.server.openai.responses import message, only_messages, question
from rag.server.signed_links import SignedLinks

router = APIRouter(prefix="/v1/conversations", tags=["OpenAI"])

_MOST_ITEMS = 20  # at once, as OpenAI has it
_TITLE_CHARS = 80

Items = Annotated[list[dict[str, Any]], Field(max_length=_MOST_ITEMS)]


_SAID = [{"type": "message", "role": "user", "content": "Who let Jane Goodall come near?"}]


class NewConversation(BaseModel):
    """What a conversation begins with."""

    items: Items | None = Field(default=None, description="Messages of user and assistant.", examples=[_SAID])
    metadata: Metadata | None = Field(default=None, examples=[{"topic": "apes"}])


class NewItems(BaseModel):
    """What is put into a conversation."""

    items: Annotated[Items, Field(min_length=1, examples=[_SAID])]


def found(
    history: CurrentHistory, caller: CurrentCaller, conversation_id: Annotated[str, Path(max_length=80)]
) -> Conversation:
    """The conversation of a path, which must be the caller's."""
    return history.conversation(conversation_id, caller.who)


Wanted = Annotated[PageRequest, Depends(newest_first)]
Found = Annotated[Conversation, Depends(found)]


@router.post("", summary="Begin a conversation")
def begin(history: CurrentHistory, caller: CurrentCaller, new: NewConversation) -> dict[str, Any]:
    """Begin a conversation, for responses to be part of, with what was said before elsewhere if you like."""
    conversation = Conversation(f"conv_{uuid.uuid4().hex}", caller.who, int(time.time()), new.metadata or {})
    turns = list(_turns(new.items or (), conversation))
    history.begin(conversation)
    _put(history, conversation, turns)
    return _shown(conversation)


@router.get("", summary="The conversations that were kept")
def conversations(history: CurrentHistory, caller: CurrentCaller, wanted: Wanted) -> dict[str, Any]:
    """The caller's conversations, each with its first question, its knowledge base and how many turns it has."""
    kept, has_more = history.conversations(caller.who, wanted)
    told = history.summaries(kept)
    return list_page([_shown(each) | {"exhibit": _summed(told[each.id])} for each in kept], has_more)


@router.get("/{conversation_id}", summary="A conversation")
def retrieve(conversation: Found) -> dict[str, Any]:
    """When it was begun, and its metadata."""
    return _shown(conversation)


@router.post("/{conversation_id}", summary="Describe a conversation")
def describe(history: CurrentHistory, conversation: Found, told: Description) -> dict[str, Any]:
    """Replace its metadata."""
    changed = replace(conversation, metadata=told.metadata or {})
    history.describe(conversation, changed.metadata)
    return _shown(changed)


@router.delete("/{conversation_id}", summary="Forget a conversation")
def end(history: CurrentHistory, conversation: Found) -> dict[str, Any]:
    """Forget it with all its questions and answers."""
    history.end(conversation)
    return {"id": conversation.id, "object": "conversation.deleted", "deleted": True}


@router.get("/{conversation_id}/items", summary="What was said in a conversation")
def items(history: CurrentHistory, caller: CurrentCaller, conversation: Found, wanted: Wanted) -> dict[str, Any]:
    """Its questions and answers, as messages."""
    links = caller.access.links
    begun: list[dict[str, Any]] = []
    if wanted.after:
        turn = _turn_of(history, caller, conversation, wanted.after)
        here = _ordered(turn, links, wanted)
        begun = here[[each["id"] for each in here].index(wanted.after) + 1 :]
        wanted = replace(wanted, after=turn.id)
    turns, has_more = history.said(conversation, wanted)
    data = begun + [each for turn in turns for each in _ordered(turn, links, wanted)]
    return list_page(data[: wanted.limit], has_more or len(data) > wanted.limit)


@router.post("/{conversation_id}/items", summary="Put messages into a conversation")
def put(history: CurrentHistory, caller: CurrentCaller, conversation: Found, new: NewItems) -> dict[str, Any]:
    """Add what was said elsewhere; later questions are understood from it."""
    turns = list(_turns(new.items, conversation))
    _put(history, conversation, turns)
    return list_page([each for turn in turns for each in _items(turn, caller.access.links)])


@router.get("/{conversation_id}/items/{item_id}", summary="One message of a conversation")
def item(history: CurrentHistory, caller: CurrentCaller, conversation: Found, item_id: str) -> dict[str, Any]:
    """A question or an answer."""
    turn = _turn_of(history, caller, conversation, item_id)
    return next(each for each in _items(turn, caller.access.links) if each["id"] == item_id)


def _turns(said: Sequence[Mapping[str, Any]], conversation: Conversation) -> Iterator[StoredTurn]:
    """Messages as turns: a question and the answer that follows it; either may be missing."""
    asked = ""
    for sent in only_messages(said, "items"):
        words = messages.words(sent)
        if sent.get("role") == "assistant" and words:
            yield _turn(conversation, asked, words)
            asked = ""
        elif sent.get("role") == "user" and words:
            if asked:
                yield _turn(conversation, asked, "")
            asked = words
    if asked:
        yield _turn(conversation, asked, "")


def _turn(conversation: Conversation, asked: str, answered: str) -> StoredTurn:
    return StoredTurn(
        id=f"item_{uuid.uuid4().hex}",
        kind="item",
        who=conversation.who,
        made=int(time.time()),
        asked=asked,
        meant=asked,
        answered=answered,
        conversation=conversation.id,
    )


def _put(history: History, conversation: Conversation, turns: Sequence[StoredTurn]) -> None:
    newest, _ = history.said(conversation, PageRequest(1, is_newest_first=True))
    previous = newest[0].id if newest else ""
    for turn in turns:
        history.add(replace(turn, previous=previous))
        previous = turn.id


def _turn_of(history: History, caller: Caller, conversation: Conversation, item_id: str) -> StoredTurn:
    """The turn of which a message is part.

    Raises:
        EntryNotFound: the conversation has no such message.
    """
    name = item_id.removeprefix("msg_").removesuffix("_asked")
    for turn_id in (f"resp_{name}", f"item_{name}"):
        try:
            turn = history.turn(turn_id, caller.who, "response", "item")
        except EntryNotFound:
            continue
        if turn.conversation == conversation.id and item_id in _ids(turn):
            return turn
    raise EntryNotFound("item", item_id)


def _ordered(turn: StoredTurn, links: SignedLinks, wanted: PageRequest) -> list[dict[str, Any]]:
    return _items(turn, links)[:: -1 if wanted.is_newest_first else 1]


def _ids(turn: StoredTurn) -> list[str]:
    name = turn.id.partition("_")[2]
    return [f"msg_{name}_asked"] * bool(turn.asked) + [f"msg_{name}"] * bool(turn.answered)


def _items(turn: StoredTurn, links: SignedLinks) -> list[dict[str, Any]]:
    """A turn as messages, with links that last as long as new ones."""
    asked = [question(turn)] if turn.asked else []
    if turn.kind == "response":
        body = stored_body(turn, links)
        return [*asked, *({**item, "exhibit": body["exhibit"]} for item in body["output"])]
    name = turn.id.partition("_")[2]
    return [*asked, *([message(name, turn.answered, ())] if turn.answered else [])]


def _shown(conversation: Conversation) -> dict[str, Any]:
    known = {"id": conversation.id, "object": "conversation", "created_at": conversation.made}
    return known | {"metadata": dict(conversation.metadata)}


def _summed(summary: ConversationSummary) -> dict[str, Any]:
    title = summary.title if len(summary.title) <= _TITLE_CHARS else f"{summary.title[: _TITLE_CHARS - 1]}…"
    return {"title": title, "model": summary.base, "turns": summary.turns, "updated_at": summary.latest}
