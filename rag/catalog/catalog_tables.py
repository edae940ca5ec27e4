"""The catalog's tables, and the steps that bring an older catalog to this schema."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from sqlalchemy import MetaData, Table

    from rag.catalog.migrations import Step

# From version 1 to 2, from 2 to 3, and so on. There has been one version; its first catalogs lack `exhibit_identity`,
# which is made when it is missing.
STEPS: tuple[Step, ...] = ()


class CatalogTables(NamedTuple):
    """The tables: assets by id, files by path, and the one row with the catalog's own id."""

    metadata: MetaData
    assets: Table
    files: Table
    identity: Table


def define_tables() -> CatalogTables:
    """Return the tables in the newest schema."""
    import sqlalchemy as sa

    metadata = sa.MetaData()
    assets = sa.Table(
        "assets",
        metadata,
        sa.Column("id", sa.String(36), primary_key=True),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("media_type", sa.String, nullable=False),
        sa.Column("medium", sa.String, nullable=False),
        sa.Column("state", sa.String, nullable=False),
        sa.Column("segments", sa.Integer, nullable=False, default=0),
        sa.Column("recipe", sa.String, nullable=False),
        sa.Column("captions", sa.JSON, nullable=False),
    )
    files = sa.Table(
        "files",
        metadata,
        sa.Column("path", sa.String, primary_key=True),
        sa.Column("asset_id", sa.String(36), index=True),
        sa.Column("size", sa.BigInteger),
        sa.Column("mtime_ns", sa.BigInteger),
        sa.Column("reason", sa.String, nullable=False, default=""),
    )
    identity = sa.Table("exhibit_identity", metadata, sa.Column("id", sa.String(36), primary_key=True))
    return CatalogTables(metadata, assets, files, identity)
