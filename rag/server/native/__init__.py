"""The API below ``/api``, for apps that need more than a chat: list, search, ask, add and delete.

::

    schemas.py            requests and responses, from which the OpenAPI description is made
    query_parts.py        turns a question in JSON into parts of `rag.query.language`
    base_routes.py        knowledge bases, their assets and segments
    question_routes.py    search and ask
    preference_routes.py  visual preferences of an app's users
    ingestion_routes.py   uploads and addresses, which become jobs
    job_routes.py         jobs and their events
    operation_routes.py   figures of the server

Errors are problem details (RFC 9457). Ids are opaque, and no response contains a path on disk.
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
