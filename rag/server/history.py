"""What was asked and answered, kept in a SQLite file for the key that asked: words and citations, never media.

A key sees what it made alone, and has room for so many turns; the oldest make way for new ones.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import sqlalchemy as sa

from rag.query.options import Turn
from rag.server.sqlite_file import open_database

MOST = 5000  # turns of a key, and conversations
_MOST_CHARS = 20_000  # of a question, and of an answer
_REMEMBERED = 8  # turns from which a question is understood; of them the newest count

Kind = Literal["response", "chat.completion", "item"]


class EntryNotFound(Exception):
    """There is nothing of this id, or it is somebody else's."""

    def __init__(self, what: str, name: str) -> None:
        super().__init__(f"There is no {what} `{name[:80]}` here: never kept, deleted, or made with another key.")


@dataclass(frozen=True, slots=True)
class StoredTurn:
    """A question and its answer.

    Attributes:
        id: what clients call it.
        kind: what it was made as; an item was put into a conversation by its client.
        who: id of the key that asked; empty where there are no keys.
        made: seconds since 1970.
        base: name of the knowledge base that was asked.
        asked: the question's own words.
        meant: the question as it was understood, which stands alone.
        answered: the answer's text.
        body: the response that was sent, as JSON.
        metadata: what the client attached.
        conversation: id of the conversation that it is part of.
        previous: id of the turn that it followed.
    """

    id: str
    kind: Kind
    who: str
    made: int
    base: str = ""
    asked: str = ""
    meant: str = ""
    answered: str = ""
    body: str = "{}"
    metadata: Mapping[str, str] = field(default_factory=dict)
    conversation: str = ""
    previous: str = ""


@dataclass(frozen=True, slots=True)
class Conversation:
    """A conversation; `id`, `who`, `made` and `metadata` are those of a turn."""

    id: str
    who: str
    made: int
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ConversationSummary:
    """What a list says of a conversation: its first question, the knowledge base, its turns, and when the last was."""

    title: str = ""
    base: str = ""
    turns: int = 0
    latest: int = 0


@dataclass(frozen=True, slots=True)
class PageRequest:
    """Which part of a list is wanted: so many, after the one with an id, oldest or newest first."""

    limit: int = 20
    after: str = ""
    is_newest_first: bool = False


class History:
    """The turns and conversations of a server; processes and threads may share it.

    Args:
        file: where they are kept, readable by the owner alone.
        most: turns, and conversations, that are kept for each key.
    """

    def __init__(self, file: Path, *, most: int = MOST) -> None:
        self._most = most
        metadata = sa.MetaData()
        self._turns = sa.Table(
            "turns",
            metadata,
            *_owned(),
            sa.Column("kind", sa.String(16), nullable=False),
            *(sa.Column(name, sa.Text, nullable=False) for name in ("base", "asked", "meant", "answered", "body")),
            *(sa.Column(name, sa.String(64), nullable=False, index=True) for name in ("conversation", "previous")),
        )
        self._conversations = sa.Table("conversations", metadata, *_owned())
        self._engine = open_database(file, metadata)

    def close(self) -> None:
        """Let go of the file."""
        self._engine.dispose()

    def keep_only(self, whose: Collection[str]) -> None:
        """Forget what was made with any other key."""
        with self._engine.begin() as connection:
            for table in (self._turns, self._conversations):
                connection.execute(table.delete().where(table.c.who.not_in(whose)))

    def add(self, turn: StoredTurn) -> None:
        """Keep a turn; the key's oldest make way where it has too many."""
        words = {name: getattr(turn, name)[:_MOST_CHARS] for name in ("asked", "meant", "answered")}
        with self._engine.begin() as connection:
            connection.execute(self._turns.insert().values(**asdict(replace(turn, **words))))
            connection.execute(self._turns.delete().where(self._too_old(self._turns, turn.who)))

    def turn(self, turn_id: str, who: str, *kinds: Kind) -> StoredTurn:
        """A turn of this key.

        Raises:
            EntryNotFound: it has none of this id and of these kinds.
        """
        turns = self._turns
        return StoredTurn(**self._one(turns, turn_id, (turns.c.who == who) & turns.c.kind.in_(kinds), kinds[0]))

    def delete(self, turn: StoredTurn) -> None:
        """Forget a turn; what came after it then follows what was before it."""
        turns = self._turns
        with self._engine.begin() as connection:
            connection.execute(turns.update().where(turns.c.previous == turn.id).values(previous=turn.previous))
            connection.execute(turns.delete().where(turns.c.id == turn.id))

    def before(self, turn_id: str, who: str) -> list[Turn]:
        """What was said up to a turn and in it, oldest first: questions that stand alone, and their answers.

        Raises:
            EntryNotFound: this key has no such turn.
        """
        said = [self.turn(turn_id, who, "response", "item")]
        while said[-1].previous and len(said) < _REMEMBERED:
            try:
                said.append(self.turn(said[-1].previous, who, "response", "item"))
            except EntryNotFound:  # it made way for newer ones
                break
        return [(turn.meant, turn.answered) for turn in reversed(said)]

    def completions(
        self, who: str, page: PageRequest, base: str = "", metadata: Mapping[str, str] | None = None
    ) -> tuple[list[StoredTurn], bool]:
        """The chat completions of this key, and whether more follow; of one knowledge base or with metadata if given.

        Raises:
            EntryNotFound: the one after which they are wanted is not there.
        """
        turns = self._turns
        admitted = (turns.c.who == who) & (turns.c.kind == "chat.completion")
        if base:
            admitted &= turns.c.base == base
        for name, value in (metadata or {}).items():
            told = sa.func.json_each(turns.c.metadata).table_valued("key", "value")
            admitted &= sa.exists().select_from(told).where((told.c.key == name) & (told.c.value == value))
        rows, has_more = self._page(turns, admitted, page)
        return [StoredTurn(**row) for row in rows], has_more

    def begin(self, conversation: Conversation) -> None:
        """Keep a conversation; the key's oldest make way, with their turns, where it has too many."""
        table = self._conversations
        too_old = self._too_old(table, conversation.who)
        with self._engine.begin() as connection:
            connection.execute(table.insert().values(**asdict(conversation)))
            gone = sa.select(table.c.id).where(too_old)
            connection.execute(self._turns.delete().where(self._turns.c.conversation.in_(gone)))
            connection.execute(table.delete().where(too_old))

    def conversation(self, conversation_id: str, who: str) -> Conversation:
        """A conversation of this key.

        Raises:
            EntryNotFound: it has none of this id.
        """
        table = self._conversations
        return Conversation(**self._one(table, conversation_id, table.c.who == who, "conversation"))

    def conversations(self, who: str, page: PageRequest) -> tuple[list[Conversation], bool]:
        """The conversations of this key, and whether more follow.

        Raises:
            EntryNotFound: the one after which they are wanted is not there.
        """
        table = self._conversations
        rows, has_more = self._page(table, table.c.who == who, page)
        return [Conversation(**row) for row in rows], has_more

    def summaries(self, conversations: Sequence[Conversation]) -> dict[str, ConversationSummary]:
        """What is said of conversations in a list, by id."""
        turns, of = self._turns, self._turns.c.conversation
        ours = of.in_([conversation.id for conversation in conversations])
        counts = sa.select(of, sa.func.count(), sa.func.max(turns.c.made)).where(ours).group_by(of)
        earliest = sa.select(sa.func.min(turns.c.number)).where(ours).group_by(of)
        with self._engine.begin() as connection:
            rows = connection.execute(turns.select().where(turns.c.number.in_(earliest)))
            begun = {row.conversation: row for row in rows}
            counted = connection.execute(counts).all()
        found = {
            name: ConversationSummary(begun[name].asked, begun[name].base, n, latest) for name, n, latest in counted
        }
        return {each.id: found.get(each.id, ConversationSummary(latest=each.made)) for each in conversations}

    def describe(self, thing: StoredTurn | Conversation, metadata: Mapping[str, str]) -> None:
        """Attach other metadata to a turn or a conversation."""
        table = self._turns if isinstance(thing, StoredTurn) else self._conversations
        with self._engine.begin() as connection:
            connection.execute(table.update().where(table.c.id == thing.id).values(metadata=dict(metadata)))

    def end(self, conversation: Conversation) -> None:
        """Forget a conversation with all its turns."""
        table = self._conversations
        with self._engine.begin() as connection:
            connection.execute(self._turns.delete().where(self._turns.c.conversation == conversation.id))
            connection.execute(table.delete().where(table.c.id == conversation.id))

    def said(self, conversation: Conversation, page: PageRequest) -> tuple[list[StoredTurn], bool]:
        """The turns of a conversation, and whether more follow.

        Raises:
            EntryNotFound: the one after which they are wanted is not there.
        """
        rows, has_more = self._page(self._turns, self._turns.c.conversation == conversation.id, page)
        return [StoredTurn(**row) for row in rows], has_more

    def _too_old(self, table: sa.Table, who: str) -> sa.ColumnElement[bool]:
        """Whether a row of this key has as many newer ones as may be kept."""
        number = table.c.number
        newest = sa.select(number).where(table.c.who == who).order_by(number.desc())
        return (table.c.who == who) & (number <= newest.limit(1).offset(self._most).scalar_subquery())

    def _one(self, table: sa.Table, row_id: str, admitted: sa.ColumnElement[bool], what: str) -> dict[str, Any]:
        with self._engine.begin() as connection:
            row = connection.execute(table.select().where((table.c.id == row_id) & admitted)).mappings().first()
        if row is None:
            raise EntryNotFound(what, row_id)
        return _fields(row)

    def _page(
        self, table: sa.Table, admitted: sa.ColumnElement[bool], page: PageRequest
    ) -> tuple[list[dict[str, Any]], bool]:
        number = table.c.number
        with self._engine.begin() as connection:
            if page.after:
                at = connection.scalar(sa.select(number).where((table.c.id == page.after) & admitted))
                if at is None:
                    raise EntryNotFound("entry", page.after)
                admitted &= number < at if page.is_newest_first else number > at
            order = number.desc() if page.is_newest_first else number
            query = table.select().where(admitted).order_by(order).limit(page.limit + 1)
            rows = [_fields(row) for row in connection.execute(query).mappings()]
        return rows[: page.limit], len(rows) > page.limit


def _owned() -> tuple[sa.Column[Any], ...]:
    """The columns of what belongs to a key; `number` counts in the order in which things were made."""
    return (
        sa.Column("number", sa.Integer, primary_key=True),
        sa.Column("id", sa.String(64), nullable=False, unique=True),
        sa.Column("who", sa.String(16), nullable=False, index=True),
        sa.Column("made", sa.BigInteger, nullable=False),
        sa.Column("metadata", sa.JSON, nullable=False),
    )


def _fields(row: Any) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name != "number"}
