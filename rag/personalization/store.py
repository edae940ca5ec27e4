"""The tastes of people who agreed that theirs is kept, and nothing of anybody else."""

from __future__ import annotations

import time
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rag.catalog import database
from rag.catalog.migrations import upgrade
from rag.errors import QueryError
from rag.index import SegmentIndex
from rag.personalization.preference import Preference, rank_by_preference
from rag.segments import segment_id
from rag.types import PIXELS, Hit

_MOST_CHARS = 200  # of a user's name
_MOST_CHOSEN = 1000  # at once


class PreferenceStore:
    """Tastes by user; threads may share it.

    A user is whatever the app calls them; an opaque id is best. A taste is kept from `consent` until `erase`.

    Args:
        url: of a database.
        index: holds the pictures that are chosen.
        revision: of the encoder that made their vectors; what was learned from those of another one has no effect.

    Raises:
        IndexUnavailable: from any method, when the database or the index cannot be used.
    """

    def __init__(self, url: str, index: SegmentIndex, revision: str) -> None:
        import sqlalchemy as sa

        self._index, self._revision = index, revision
        with database.map_errors():
            self._engine = database.open_engine(url)
            metadata = sa.MetaData()
            self._tastes = sa.Table(
                "tastes",
                metadata,
                sa.Column("user", sa.String(_MOST_CHARS), primary_key=True),
                sa.Column("since", sa.Float(53), nullable=False),
                sa.Column("likes", sa.Integer, nullable=False),
                sa.Column("mean", sa.LargeBinary, nullable=False),
                sa.Column("revision", sa.String, nullable=False),
            )
            upgrade(self._engine, metadata, name="tastes")

    def close(self) -> None:
        """Let go of the database."""
        self._engine.dispose()

    def consent(self, user: str) -> Preference:
        """Keep a user's taste from now on, as they agreed to; what is kept already stays.

        Raises:
            QueryError: that is no name of a user.
        """
        if not user.strip() or len(user) > _MOST_CHARS or "\0" in user or not _is_text(user):
            raise QueryError(f"A user is called by 1 to {_MOST_CHARS} characters of text.")
        none = {"since": time.time(), "likes": 0, "mean": b"", "revision": self._revision}
        with database.map_errors(), self._engine.begin() as connection:
            row = self._row(connection, user)
            if row is None:
                connection.execute(self._tastes.insert().values(user=user, **none))
        return self._taste(row or none, user)

    def get(self, user: str) -> Preference | None:
        """What is kept of a user; None where they have not consented, or it was erased."""
        with database.map_errors(), self._engine.begin() as connection:
            row = self._row(connection, user)
        return self._taste(row, user) if row else None

    def users(self) -> list[str]:
        """The users whose taste is kept, sorted."""
        with database.map_errors(), self._engine.begin() as connection:
            return sorted(connection.scalars(self._tastes.select()))

    def like(self, user: str, chosen: Sequence[Hit | str]) -> Preference:
        """Learn from what a user chose.

        Args:
            user: who has consented.
            chosen: hits, or ids of segments; of those without pixels nothing is learned.

        Raises:
            QueryError: the user has not consented, has chosen more than a thousand at once, or an id is none.
        """
        if len(chosen) > _MOST_CHOSEN:
            raise QueryError(f"At most {_MOST_CHOSEN} can be liked at once.")
        ids = [_id(one) for one in chosen]
        pictures = [segment_id(one) for one in self._index.read([one for one in ids if one]) if one.kind in PIXELS]
        vectors = self._index.vectors(pictures, "joint")
        with database.map_errors(), self._engine.begin() as connection:
            row = self._row(connection, user)
            if row is None:
                raise QueryError(f"`{user[:80]}` has not agreed that a taste is kept; `consent` says that they have.")
            taste = self._taste(row, user)
            if vectors:
                taste = taste.with_likes(np.stack([vectors[key] for key in pictures if key in vectors]))
                learned = {"likes": taste.likes, "mean": taste.mean.tobytes(), "revision": self._revision}
                connection.execute(self._tastes.update().where(self._tastes.c.user == user).values(**learned))
        return taste

    def erase(self, user: str) -> bool:
        """Forget a user's taste and consent; False where there is none."""
        with database.map_errors():
            with self._engine.begin() as connection:
                erased = connection.execute(self._tastes.delete().where(self._tastes.c.user == user)).rowcount
            database.scrub(self._engine)
        return bool(erased)

    def rank(self, hits: Sequence[Hit], user: str) -> list[Hit]:
        """Hits in the order in which a user may like them; as they are where nothing of the user is known."""
        taste = self.get(user)
        if taste is None or not taste.likes:
            return list(hits)
        keys = [segment_id(hit.seen) for hit in hits if hit.seen]
        return rank_by_preference(hits, taste, self._index.vectors(keys, "joint"))

    def _row(self, connection: Any, user: str) -> Any:
        query = self._tastes.select().where(self._tastes.c.user == user).with_for_update()
        return connection.execute(query).mappings().first()

    def _taste(self, row: Any, user: str) -> Preference:
        is_known = row["revision"] == self._revision
        mean = np.frombuffer(row["mean"] if is_known else b"", np.float32)
        return Preference(user, row["since"], row["likes"] if is_known else 0, mean)


def preferences_url(folder: Path) -> str:
    """The URL of a file in a folder that its owner alone may read."""
    file = folder / "tastes.db"
    file.touch(mode=0o600)
    return f"sqlite:///{file}"


def _id(chosen: Hit | str) -> str:
    if isinstance(chosen, str):
        try:
            return str(uuid.UUID(chosen))
        except ValueError as error:
            raise QueryError(f"`{chosen[:80]}` is no id of a segment.") from error
    return segment_id(chosen.seen) if chosen.seen else ""


def _is_text(user: str) -> bool:
    try:
        user.encode()
    except UnicodeEncodeError:  # half a letter, which no database takes
        return False
    return True
