"""The server: knowledge bases behind the OpenAI API, so that any chat assistant can answer from them with evidence.

::

    run.py        starts it, if nobody gets in who should not     workers.py  several processes that serve the same
    app.py        puts the parts together
    page.py       the web page: ui/built, which is made of ui/source
    guard.py      what stands before every route: sizes, other web pages, what fails     log.py  lines without content
    access.py     who calls, and what they may use
    keys.py       API keys     store.py  the SQLite files of these, of jobs and of history
    bases.py      the knowledge bases by name
    chat.py       /v1/chat/completions, and /v1/models
    responses.py  /v1/responses
    conversations.py  /v1/conversations
    embeddings.py transcriptions.py  /v1/embeddings, /v1/audio/transcriptions
    history.py    what was asked and answered, kept for the next question
    asking.py     a question on its way from any of OpenAI's forms to an answer with linked evidence
    messages.py   messages of a chat to a question with its media and what was said before
    markdown.py   an answer as Markdown for chat clients
    native/       the API below /api
    jobs.py       files on their way into a knowledge base, kept
    runner.py     does the jobs, and all other writing
    uploads.py    files that are uploaded
    addresses.py  files that are fetched from the public internet
    limits.py     how often somebody may ask, and figures of that
    paths.py      texts without the paths of this machine
    evidence.py   what a signed link shows: page, crop, thumbnail, clip, waveform, words
    links.py      the signed links     delivery.py  files and texts, in parts and only where they have changed
    streams.py    server-sent events, and work that ends with the one who asked for it
    gate.py       how many questions are answered at once, and who must come back later
    pages.py      lists page by page
    problems.py   errors as OpenAI's clients and as RFC 9457 have them     description.py  the OpenAPI description

One process serves an embedded knowledge base; several are for a Qdrant server. They share keys, jobs and history; each
has its own models, limits and figures.
"""
