"""Store the preferences of users who consented, and nothing about anyone else."""

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

_MAX_USER_CHARS = 200
_MAX_LIKES = 1000  # in one call


class PreferenceStore:
    """Preferences by user; threads may share it.

    A user is named by an id of the app's own; use an opaque one. A preference is stored from `consent` until `erase`.

    Args:
        url: URL of a database.
        index: the index with the pictures that users choose.
        revision: revision of the encoder of their vectors; a preference learned with another one has no effect.

    Raises:
        IndexUnavailable: by any method, if the database or the index cannot be used.
    """

    def __init__(self, url: str, index: SegmentIndex, revision: str) -> None:
        import sqlalchemy as sa

        self._index, self._revision = index, revision
        with database.map_errors():
            self._engine = database.open_engine(url)
            metadata = sa.MetaData()
            self._table = sa.Table(
                "tastes",
                metadata,
                sa.Column("user", sa.String(_MAX_USER_CHARS), primary_key=True),
                sa.Column("since", sa.Float(53), nullable=False),
                sa.Column("likes", sa.Integer, nullable=False),
                sa.Column("mean", sa.LargeBinary, nullable=False),
                sa.Column("revision", sa.String, nullable=False),
            )
            upgrade(self._engine, metadata, name="tastes")

    def close(self) -> None:
        """Close the database."""
        self._engine.dispose()

    def consent(self, user: str) -> Preference:
        """Record a user's consent, and store their preference from now on; an existing one stays.

        Raises:
            QueryError: the user id is invalid.
        """
        if not user.strip() or len(user) > _MAX_USER_CHARS or "\0" in user or not _is_text(user):
            raise QueryError(f"A user id has 1 to {_MAX_USER_CHARS} characters.")
        new = {"since": time.time(), "likes": 0, "mean": b"", "revision": self._revision}
        with database.map_errors(), self._engine.begin() as connection:
            row = self._row(connection, user)
            if row is None:
                connection.execute(self._table.insert().values(user=user, **new))
        return self._to_preference(row or new, user)

    def get(self, user: str) -> Preference | None:
        """Return the preference of a user; None without consent, or after `erase`."""
        with database.map_errors(), self._engine.begin() as connection:
            row = self._row(connection, user)
        return self._to_preference(row, user) if row else None

    def users(self) -> list[str]:
        """Return the users whose preference is stored, sorted."""
        with database.map_errors(), self._engine.begin() as connection:
            return sorted(connection.scalars(self._table.select()))

    def like(self, user: str, chosen: Sequence[Hit | str]) -> Preference:
        """Learn from the hits that a user chose.

        Args:
            user: a user who has consented.
            chosen: hits, or ids of segments; those without pixels are ignored.

        Raises:
            QueryError: the user has not consented, `chosen` has more than a thousand items, or an id is malformed.
        """
        if len(chosen) > _MAX_LIKES:
            raise QueryError(f"Too many likes at once (limit {_MAX_LIKES}).")
        ids = [_id(one) for one in chosen]
        pictures = [segment_id(one) for one in self._index.read([one for one in ids if one]) if one.kind in PIXELS]
        vectors = self._index.vectors(pictures, "joint")
        with database.map_errors(), self._engine.begin() as connection:
            row = self._row(connection, user)
            if row is None:
                raise QueryError(f"User `{user[:80]}` has not consented. Call `consent` once they have agreed.")
            preference = self._to_preference(row, user)
            if vectors:
                preference = preference.with_likes(np.stack([vectors[key] for key in pictures if key in vectors]))
                learned = {"likes": preference.likes, "mean": preference.mean.tobytes(), "revision": self._revision}
                connection.execute(self._table.update().where(self._table.c.user == user).values(**learned))
        return preference

    def erase(self, user: str) -> bool:
        """Erase a user's preference and consent; return False if there is none."""
        with database.map_errors():
            with self._engine.begin() as connection:
                erased = connection.execute(self._table.delete().where(self._table.c.user == user)).rowcount
            database.scrub(self._engine)
        return bool(erased)

    def rank(self, hits: Sequence[Hit], user: str) -> list[Hit]:
        """Rank the hits by a user's preference; keep their order if nothing is known about the user."""
        preference = self.get(user)
        if preference is None or not preference.likes:
            return list(hits)
        keys = [segment_id(hit.picture_segment) for hit in hits if hit.picture_segment]
        return rank_by_preference(hits, preference, self._index.vectors(keys, "joint"))

    def _row(self, connection: Any, user: str) -> Any:
        query = self._table.select().where(self._table.c.user == user).with_for_update()
        return connection.execute(query).mappings().first()

    def _to_preference(self, row: Any, user: str) -> Preference:
        is_known = row["revision"] == self._revision
        mean = np.frombuffer(row["mean"] if is_known else b"", np.float32)
        return Preference(user, row["since"], row["likes"] if is_known else 0, mean)


def preferences_url(folder: Path) -> str:
    """Return the URL of a database file in the folder, readable by its owner only."""
    file = folder / "tastes.db"
    file.touch(mode=0o600)
    return f"sqlite:///{file}"


def _id(chosen: Hit | str) -> str:
    if isinstance(chosen, str):
        try:
            return str(uuid.UUID(chosen))
        except ValueError as error:
            raise QueryError(f"`{chosen[:80]}` is not the id of a segment.") from error
    return segment_id(chosen.picture_segment) if chosen.picture_segment else ""


def _is_text(user: str) -> bool:
    try:
        user.encode()
    except UnicodeEncodeError:  # a lone surrogate, which no database accepts
        return False
    return True
