"""The HTTP server: knowledge bases behind the OpenAI API and an API of their own, with a web page.

A request passes `guard` (size limits, requests from other web pages, failures) and `rate_limit`, is tied to a key by
`access`, waits for its turn at a `gate`, asks a knowledge base, and returns an answer whose evidence is linked::

    launch.py          checks the options and starts the server     processes.py   several processes for one server
    app.py             puts the parts together                      state.py       what the routes share
    guard.py           limits around every route                    rate_limit.py  requests a minute, and figures
    access.py          who calls, and what they may use             keys.py        API keys
    served_bases.py    the knowledge bases by name
    openai/            the routes below /v1
    native/            the routes below /api
    evidence_views.py  the pictures, clips and texts behind links   signed_links.py  the links
    delivery.py        files with ranges and ETags
    web_page.py        the page: ui/built, made from ui/source
    history.py         questions and answers, kept for the next question
    job_store.py       files waiting to be added, kept on disk      job_runner.py  adds them; does all writing
    uploads.py         files sent by clients                        fetcher.py     files from the public internet
    streams.py         server-sent events; work that stops when the client leaves
    gate.py            how many questions run at once
    problems.py        errors for OpenAI's clients and as RFC 9457  openapi.py     the OpenAPI description
    log.py             log lines without content                    redaction.py   texts without this machine's paths
    sqlite_file.py     opens the SQLite files of keys, jobs and history

One process can serve an embedded knowledge base; several need a Qdrant server. They share keys, jobs and history. Each
has its own models, limits and figures.
"""
