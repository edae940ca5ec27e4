"""Questions and answers, stored in a SQLite file for the key that asked: words and citations, never media.

A key sees only its own turns. The number of its turns is limited; new ones replace the oldest.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import sqlalchemy as sa

from rag.query.options import Turn
from rag.server.sqlite_file import open_database

MOST = 5000  # turns of a key, and its conversations
_MOST_CHARS = 20_000  # of a question, and of an answer
_TURNS_BEFORE = 8  # number of earlier turns that help to understand a question

Kind = Literal["response", "chat.completion", "item"]


class EntryNotFound(Exception):
    """No entry has this id, or it belongs to another key."""

    def __init__(self, what: str, name: str) -> None:
        super().__init__(
            f"There is no {what} `{name[:80]}` here. It was never stored, was deleted, or belongs to another key."
        )


@dataclass(frozen=True, slots=True)
class StoredTurn:
    """A question and its answer, with the names of the database columns.

    Attributes:
        id: its id in the API.
        kind: how it was made; the client added an item to a conversation itself.
        who: id of the key that asked; empty where there are no keys.
        made: seconds since 1970.
        base: name of the knowledge base.
        asked: the question's own words.
        meant: the question as a sentence that stands alone.
        answered: the answer's text.
        body: the response that was sent, as JSON.
        metadata: what the client attached.
        conversation: id of its conversation; empty for none.
        previous: id of the turn that it follows; empty for none.
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
    """A conversation. `id`, `who`, `made` and `metadata` mean the same as in a turn."""

    id: str
    who: str
    made: int
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ConversationSummary:
    """The entry of a conversation in a list: first question, knowledge base, number of turns, time of the last one."""

    title: str = ""
    base: str = ""
    turns: int = 0
    latest: int = 0


@dataclass(frozen=True, slots=True)
class PageRequest:
    """A request for a page of a list: `limit` entries after the one with the id `after`, oldest or newest first."""

    limit: int = 20
    after: str = ""
    is_newest_first: bool = False


class History:
    """The turns and conversations of a server. Processes and threads may share it.

    Args:
        file: the SQLite file, readable only by its owner.
        most: number of turns, and of conversations, kept for each key.
    """

    def __init__(self, file: Path, *, most: int = MOST) -> None:
        self._most = most
        metadata = sa.MetaData()
        self._turns = sa.Table(
            "turns",
            metadata,
            *_common_columns(),
            sa.Column("kind", sa.String(16), nullable=False),
            *(sa.Column(name, sa.Text, nullable=False) for name in ("base", "asked", "meant", "answered", "body")),
            *(sa.Column(name, sa.String(64), nullable=False, index=True) for name in ("conversation", "previous")),
        )
        self._conversations = sa.Table("conversations", metadata, *_common_columns())
        self._engine = open_database(file, metadata)

    def close(self) -> None:
        """Close the file."""
        self._engine.dispose()

    def keep_only(self, key_ids: Collection[str]) -> None:
        """Delete the entries of all other keys."""
        with self._engine.begin() as connection:
            for table in (self._turns, self._conversations):
                connection.execute(table.delete().where(table.c.who.not_in(key_ids)))

    def add(self, turn: StoredTurn) -> None:
        """Store a turn, and delete the key's oldest turns beyond the limit."""
        words = {name: getattr(turn, name)[:_MOST_CHARS] for name in ("asked", "meant", "answered")}
        with self._engine.begin() as connection:
            connection.execute(self._turns.insert().values(**asdict(replace(turn, **words))))
            connection.execute(self._turns.delete().where(self._too_old(self._turns, turn.who)))

    def turn(self, turn_id: str, who: str, *kinds: Kind) -> StoredTurn:
        """Return a turn of this key.

        Raises:
            EntryNotFound: the key has no turn with this id and one of these kinds.
        """
        turns = self._turns
        return StoredTurn(**self._one(turns, turn_id, (turns.c.who == who) & turns.c.kind.in_(kinds), kinds[0]))

    def delete(self, turn: StoredTurn) -> None:
        """Delete a turn. The turn after it then follows the one before it."""
        turns = self._turns
        with self._engine.begin() as connection:
            connection.execute(turns.update().where(turns.c.previous == turn.id).values(previous=turn.previous))
            connection.execute(turns.delete().where(turns.c.id == turn.id))

    def turns_up_to(self, turn_id: str, who: str) -> list[Turn]:
        """Return the turns up to this one, oldest first: questions that stand alone, and their answers.

        Raises:
            EntryNotFound: this key has no such turn.
        """
        turns = [self.turn(turn_id, who, "response", "item")]
        while turns[-1].previous and len(turns) < _TURNS_BEFORE:
            try:
                turns.append(self.turn(turns[-1].previous, who, "response", "item"))
            except EntryNotFound:  # newer turns replaced it
                break
        return [(turn.meant, turn.answered) for turn in reversed(turns)]

    def completions(
        self, who: str, page: PageRequest, base: str = "", metadata: Mapping[str, str] | None = None
    ) -> tuple[list[StoredTurn], bool]:
        """Return a page of this key's chat completions, and whether more follow.

        Args:
            who: id of the key.
            page: the page.
            base: only those of this knowledge base.
            metadata: only those with all this metadata.

        Raises:
            EntryNotFound: the entry that the page follows does not exist.
        """
        turns = self._turns
        admitted = (turns.c.who == who) & (turns.c.kind == "chat.completion")
        if base:
            admitted &= turns.c.base == base
        for name, value in (metadata or {}).items():
            attached = sa.func.json_each(turns.c.metadata).table_valued("key", "value")
            admitted &= sa.exists().select_from(attached).where((attached.c.key == name) & (attached.c.value == value))
        rows, has_more = self._page(turns, admitted, page)
        return [StoredTurn(**row) for row in rows], has_more

    def add_conversation(self, conversation: Conversation) -> None:
        """Store a conversation, and delete the key's oldest ones beyond the limit with their turns."""
        table = self._conversations
        too_old = self._too_old(table, conversation.who)
        with self._engine.begin() as connection:
            connection.execute(table.insert().values(**asdict(conversation)))
            gone = sa.select(table.c.id).where(too_old)
            connection.execute(self._turns.delete().where(self._turns.c.conversation.in_(gone)))
            connection.execute(table.delete().where(too_old))

    def conversation(self, conversation_id: str, who: str) -> Conversation:
        """Return a conversation of this key.

        Raises:
            EntryNotFound: the key has none with this id.
        """
        table = self._conversations
        return Conversation(**self._one(table, conversation_id, table.c.who == who, "conversation"))

    def conversations(self, who: str, page: PageRequest) -> tuple[list[Conversation], bool]:
        """Return a page of this key's conversations, and whether more follow.

        Raises:
            EntryNotFound: the entry that the page follows does not exist.
        """
        table = self._conversations
        rows, has_more = self._page(table, table.c.who == who, page)
        return [Conversation(**row) for row in rows], has_more

    def summaries(self, conversations: Sequence[Conversation]) -> dict[str, ConversationSummary]:
        """Return the summaries of conversations, by id."""
        turns, of = self._turns, self._turns.c.conversation
        ours = of.in_([conversation.id for conversation in conversations])
        counts = sa.select(of, sa.func.count(), sa.func.max(turns.c.made)).where(ours).group_by(of)
        earliest = sa.select(sa.func.min(turns.c.number)).where(ours).group_by(of)
        with self._engine.begin() as connection:
            rows = connection.execute(turns.select().where(turns.c.number.in_(earliest)))
            first = {row.conversation: row for row in rows}
            counted = connection.execute(counts).all()
        summaries = {
            name: ConversationSummary(first[name].asked, first[name].base, n, latest) for name, n, latest in counted
        }
        return {each.id: summaries.get(each.id, ConversationSummary(latest=each.made)) for each in conversations}

    def describe(self, entry: StoredTurn | Conversation, metadata: Mapping[str, str]) -> None:
        """Replace the metadata of a turn or a conversation."""
        table = self._turns if isinstance(entry, StoredTurn) else self._conversations
        with self._engine.begin() as connection:
            connection.execute(table.update().where(table.c.id == entry.id).values(metadata=dict(metadata)))

    def delete_conversation(self, conversation: Conversation) -> None:
        """Delete a conversation with all its turns."""
        table = self._conversations
        with self._engine.begin() as connection:
            connection.execute(self._turns.delete().where(self._turns.c.conversation == conversation.id))
            connection.execute(table.delete().where(table.c.id == conversation.id))

    def turns_of(self, conversation: Conversation, page: PageRequest) -> tuple[list[StoredTurn], bool]:
        """Return a page of a conversation's turns, and whether more follow.

        Raises:
            EntryNotFound: the entry that the page follows does not exist.
        """
        rows, has_more = self._page(self._turns, self._turns.c.conversation == conversation.id, page)
        return [StoredTurn(**row) for row in rows], has_more

    def newest_id(self, conversation: Conversation) -> str:
        """Return the id of a conversation's newest turn; empty if it has none."""
        turns, _ = self.turns_of(conversation, PageRequest(1, is_newest_first=True))
        return turns[0].id if turns else ""

    def _too_old(self, table: sa.Table, who: str) -> sa.ColumnElement[bool]:
        """Return the condition that a row of this key is beyond the limit."""
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


def _common_columns() -> tuple[sa.Column[Any], ...]:
    """Return the columns of everything that belongs to a key. `number` gives the order in which rows were made."""
    return (
        sa.Column("number", sa.Integer, primary_key=True),
        sa.Column("id", sa.String(64), nullable=False, unique=True),
        sa.Column("who", sa.String(16), nullable=False, index=True),
        sa.Column("made", sa.BigInteger, nullable=False),
        sa.Column("metadata", sa.JSON, nullable=False),
    )


def _fields(row: Any) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name != "number"}
