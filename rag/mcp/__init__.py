"""A knowledge base as tools of the Model Context Protocol, for assistants on this machine or elsewhere.

::

    tools.py            the tools, and the instructions that tell a model when to use which
    tool_results.py     what the tools return as data: hits, cited answers, assets, ingest results
    evidence_blocks.py  what `get_evidence` shows: pictures, sound, words
    allowed_paths.py    which paths `ingest` accepts
    ondemand.py         opens the knowledge base for a call and closes it when idle
    transports.py       standard input and output, or HTTP with keys

Everything that a tool returns fits in a message of a megabyte, which is as much as common clients take.
"""
