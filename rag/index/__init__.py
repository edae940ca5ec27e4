"""The vector store: segments with their vectors, embedded or on a server, behind one protocol.

    base.py        the protocol `SegmentIndex`, and what both stores share
    edge.py        the embedded store, a folder that one process holds
    server.py      the same on a Qdrant server
    bm25.py        words to sparse vectors
    lock.py        the lock on a folder
    write_lock.py  one writer at a time for a knowledge base, on any machine

Segments go in with their vectors (`IndexedSegment`); a search sends one `ChannelQuery` per ranking and gets segments
with scores.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from rag.config import Settings
from rag.encoders.base import ModelCard
from rag.index.base import ChannelQuery, Dense, IndexedSegment, SegmentIndex

__all__ = ["ChannelQuery", "IndexedSegment", "SegmentIndex", "open_index"]


def open_index(path: Path, settings: Settings, cards: Mapping[Dense, ModelCard], owner: str = "") -> SegmentIndex:
    """Open the vector store that the settings name, or create it.

    Args:
        path: folder of the embedded store; unused if `settings.qdrant_url` names a server.
        settings: see `rag.config.Settings`.
        cards: cards of the encoders of the vectors ``joint``, ``text`` and, if there is one, ``sound``.
        owner: id of the catalog that a collection on a server belongs to.

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
