"""The API below ``/api``, for apps that want more than a chat: what there is, searching, asking, taking in, deleting.

::

    models.py       what is sent and answered, as pydantic models: the OpenAPI description is made of them
    questions.py    a question as JSON to one in the language of `rag.query.language`
    bases.py        knowledge bases, their assets and segments
    asking.py       search and ask
    tastes.py       what users of an app like the look of, kept where they agreed to it
    taking_in.py    uploads and addresses, which become jobs
    jobs.py         jobs, and their events
    operation.py    figures about the server

Errors are problem details (RFC 9457). Ids are opaque, and no answer says where on the disk anything lies.
"""

from fastapi import APIRouter

from rag.server.native import asking, bases, jobs, operation, taking_in, tastes

router = APIRouter()
for part in (bases, asking, tastes, taking_in, jobs, operation):
    router.include_router(part.router)
