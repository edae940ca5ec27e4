"""The API below ``/api``, for apps that want more than a chat: what there is, searching, asking, taking in, deleting.

::

    models.py       what is sent and answered, as pydantic models: the OpenAPI description is made of them
    questions.py    a question as JSON to one in the language of `rag.query.language`
    base_routes.py        knowledge bases, their assets and segments
    question_routes.py       search and ask
    preference_routes.py       what users of an app like the look of, kept where they agreed to it
    ingestion_routes.py    uploads and addresses, which become jobs
    job_routes.py         jobs, and their events
    operation_routes.py    figures about the server

Errors are problem details (RFC 9457). Ids are opaque, and no answer says where on the disk anything lies.
"""

from fastapi import APIRouter

from rag.server.native import (
    base_routes,
    ingestion_routes,
    job_routes,
    operation_routes,
    preference_routes,
    question_routes,
)

router = APIRouter()
for part in (base_routes, question_routes, preference_routes, ingestion_routes, job_routes, operation_routes):
    router.include_router(part.router)
