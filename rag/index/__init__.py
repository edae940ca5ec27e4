"""The vector store: segments with their vectors, embedded or on a server, behind one contract."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from rag.config import Settings
from rag.encoders.base import ModelCard
from rag.index.base import ChannelQuery, Dense, IndexedSegment, SegmentIndex

__all__ = ["ChannelQuery", "IndexedSegment", "SegmentIndex", "open_index"]


def open_index(path: Path, settings: Settings, cards: Mapping[Dense, ModelCard], owner: str = "") -> SegmentIndex:
    """Open the vector store that the settings name, or make it where there is none.

    Args:
        path: folder of the embedded store; not used where `settings.qdrant_url` names a server.
        settings: see `rag.config.Settings`.
        owner: identity of the catalog that a collection on a server belongs to.
        cards: cards of the encoders that make the vectors ``joint``, ``text`` and, where there is one, ``sound``.

    Raises:
        EncoderMismatch: the collection was built with other encoders.
        KnowledgeBaseBusy: another process holds the embedded store.
        IndexUnavailable: the store cannot be reached or is damaged, or belongs to another catalog.
    """
    if settings.qdrant_url:
        from rag.index.server import ServerIndex, connect

        client, collection = connect(settings.qdrant_url, settings.qdrant_api_key)
        return ServerIndex(client, collection, cards, owner)
    from rag.index.edge import EdgeIndex

    return EdgeIndex(path, cards)
