"""A knowledge base as tools of the Model Context Protocol (MCP), for assistants on this machine or elsewhere.

An assistant calls a tool; the knowledge base is opened if it is not open; the result becomes plain data or content
blocks.

::

    tools.py            the tools, and the instructions that tell a model when to use which
    tool_results.py     what the tools return as data: hits, cited answers, assets, ingest results
    evidence_blocks.py  what `get_evidence` shows: pictures, sound, words
    allowed_paths.py    which paths `ingest` accepts
    ondemand.py         opens the knowledge base for a call and closes it when idle
    transports.py       standard input and output, or HTTP with keys

Each tool result stays below a megabyte, the limit of common clients.
"""
