"""A knowledge base as tools of the Model Context Protocol, for assistants on this machine or elsewhere.

::

    server.py      the tools, and what tells a model when to use which
    values.py      what they return as data: hits, cited answers, assets, what became of files
    evidence.py    what `get_evidence` shows: pictures, sound, words
    below.py       which paths may be taken in
    ondemand.py    opens the knowledge base when it is needed, and lets go of it when it is not
    run.py         over standard input and output, or over HTTP for those with a key

Everything that a tool returns fits in a message of a megabyte, which is as much as common clients take.
"""
