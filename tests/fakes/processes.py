"""Processes that start soon, because they fork from one that has imported the modules."""

import multiprocessing
import multiprocessing.process

FORKED = multiprocessing.get_context("forkserver")
FORKED.set_forkserver_preload(
    ["ingest.pipeline", "rag.catalog.catalog", "rag.encoders.lite", "rag.index.edge", "rag.retrieval.retriever"]
)
