"""API keys, stored as hashes. Each is valid for some knowledge bases, to read or also to write."""

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
    """A key without its secret, which is shown only once, when the key is made.

    Attributes:
        id: the public part of the key.
        name: name for people.
        bases: names of the knowledge bases that it is valid for; empty for all.
        may_write: whether it may add and delete files.
        made: seconds since 1970.
    """

    id: str
    name: str
    bases: tuple[str, ...]
    may_write: bool
    made: int

    def allows(self, base: str) -> bool:
        """Return whether the key is valid for this knowledge base."""
        return not self.bases or base in self.bases


class Keys:
    """The keys of a server, in a SQLite file. Several processes may share it."""

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
        """Close the file."""
        self._engine.dispose()

    def make(self, name: str, bases: Sequence[str] = (), *, may_write: bool = False) -> tuple[Key, str]:
        """Make a key. Return it with the secret for its bearer."""
        key = Key(secrets.token_hex(6), name, tuple(bases), may_write, int(time.time()))
        secret = f"{_PREFIX}-{key.id}-{secrets.token_urlsafe(32)}"
        row = {"id": key.id, "sha256": _hash(secret), "name": name, "bases": list(bases)}
        with self._engine.begin() as connection:
            connection.execute(self._keys.insert().values(**row, may_write=may_write, made=key.made))
        return key, secret

    def check(self, secret: str) -> Key | None:
        """Return the key that matches this secret, or None."""
        row = self._row(secret.removeprefix(f"{_PREFIX}-").partition("-")[0])
        return _key(row) if row and secrets.compare_digest(row["sha256"], _hash(secret)) else None

    def check_header(self, authorization: str) -> Key | None:
        """Return the key in an Authorization header, or None if it holds no known key."""
        scheme, _, secret = authorization.partition(" ")
        return self.check(secret.strip()) if scheme.lower() == "bearer" else None

    def get(self, key_id: str) -> Key | None:
        """Return the key with this id, or None if it was revoked."""
        row = self._row(key_id)
        return _key(row) if row else None

    def revoke(self, key_id: str) -> bool:
        """Delete a key, which ends its links, too. Return whether it existed."""
        with self._engine.begin() as connection:
            return bool(connection.execute(self._keys.delete().where(self._keys.c.id == key_id)).rowcount)

    def all(self) -> list[Key]:
        """Return all keys, oldest first."""
        with self._engine.begin() as connection:
            rows = connection.execute(self._keys.select().order_by(self._keys.c.made)).mappings()
            return [_key(row) for row in rows]

    def _row(self, key_id: str) -> Any:
        with self._engine.begin() as connection:
            return connection.execute(self._keys.select().where(self._keys.c.id == key_id)).mappings().first()


def _hash(secret: str) -> str:
    """Return the SHA-256 of a secret. It has 256 random bits, so a slower hash is not needed."""
    return hashlib.sha256(secret.encode()).hexdigest()


def _key(row: Any) -> Key:
    return Key(row["id"], row["name"], tuple(row["bases"]), row["may_write"], row["made"])
