"""API keys: kept as hashes, each for some knowledge bases, to read or also to write."""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rag.server.sqlite_file import open_database

_PREFIX = "exhibit"


@dataclass(frozen=True, slots=True)
class Key:
    """What is known of a key; the key itself is shown once, when it is made.

    Attributes:
        id: the part of the key that is no secret.
        name: for people.
        bases: names of the knowledge bases that it is for; empty for all.
        may_write: whether it may take in and delete.
        made: seconds since 1970.
    """

    id: str
    name: str
    bases: tuple[str, ...]
    may_write: bool
    made: int

    def opens(self, base: str) -> bool:
        """Whether it is for this knowledge base."""
        return not self.bases or base in self.bases


class Keys:
    """The keys of a server, in a SQLite file beside what it serves; several processes may share it."""

    def __init__(self, file: Path) -> None:
        import sqlalchemy as sa

        metadata = sa.MetaData()
        self._keys = sa.Table(
            "keys",
            metadata,
            sa.Column("id", sa.String(16), primary_key=True),
            sa.Column("sha256", sa.String(64), nullable=False),
            sa.Column("name", sa.String, nullable=False),
            sa.Column("bases", sa.JSON, nullable=False),
            sa.Column("may_write", sa.Boolean, nullable=False),
            sa.Column("made", sa.BigInteger, nullable=False),
        )
        self._engine = open_database(file, metadata)

    def close(self) -> None:
        """Let go of the file."""
        self._engine.dispose()

    def make(self, name: str, bases: Sequence[str] = (), *, may_write: bool = False) -> tuple[Key, str]:
        """A new key, and the secret that is its bearer's."""
        key = Key(secrets.token_hex(6), name, tuple(bases), may_write, int(time.time()))
        secret = f"{_PREFIX}-{key.id}-{secrets.token_urlsafe(32)}"
        row = {"id": key.id, "sha256": _hash(secret), "name": name, "bases": list(bases)}
        with self._engine.begin() as connection:
            connection.execute(self._keys.insert().values(**row, may_write=may_write, made=key.made))
        return key, secret

    def check(self, secret: str) -> Key | None:
        """The key that somebody shows; None where there is none like it."""
        row = self._row(secret.removeprefix(f"{_PREFIX}-").partition("-")[0])
        return _key(row) if row and secrets.compare_digest(row["sha256"], _hash(secret)) else None

    def get(self, key_id: str) -> Key | None:
        """The key with this id; None where it was revoked."""
        row = self._row(key_id)
        return _key(row) if row else None

    def revoke(self, key_id: str) -> bool:
        """Take a key back, and with it the links that were made for it; False where there is none."""
        with self._engine.begin() as connection:
            return bool(connection.execute(self._keys.delete().where(self._keys.c.id == key_id)).rowcount)

    def all(self) -> list[Key]:
        """All keys, oldest first."""
        with self._engine.begin() as connection:
            rows = connection.execute(self._keys.select().order_by(self._keys.c.made)).mappings()
            return [_key(row) for row in rows]

    def _row(self, key_id: str) -> Any:
        with self._engine.begin() as connection:
            return connection.execute(self._keys.select().where(self._keys.c.id == key_id)).mappings().first()


def _hash(secret: str) -> str:
    """Of 256 random bits, so that nothing slower than SHA-256 is called for."""
    return hashlib.sha256(secret.encode()).hexdigest()


def _key(row: Any) -> Key:
    return Key(row["id"], row["name"], tuple(row["bases"]), row["may_write"], row["made"])
