"""What users of an app like the look of, kept where they agreed to it; each key has users of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from typing import Annotated

from fastapi import APIRouter, Body, Path, Response

from rag.knowledge_base import KnowledgeBase
from rag.personalization.preference import Preference
from rag.server.access import ReadableBase
from rag.server.native import schemas
from rag.server.problems import Problem

router = APIRouter(prefix="/api/bases/{base}/tastes/{user}", tags=["tastes"])

Agreed = Annotated[schemas.Consent, Body(openapi_examples={"agreed": {"value": {"consent": True}}})]
User = Annotated[str, Path(min_length=1, max_length=120, description="As your app calls them.", examples=["u-4711"])]
_PREFIX = "key:"  # before the names of users whose taste a key's bearer keeps
_LIKED = {"one": {"value": {"segments": ["0b0e6d5c-6a0e-5a5e-9d9f-0a3f2f6f1c11"]}}}
Chosen = Annotated[schemas.Liked, Body(openapi_examples=_LIKED)]


@router.put("", summary="Keep a user's taste from now on")
async def keep_taste(viewer: ReadableBase, user: User, sent: Agreed) -> schemas.Taste:
    """Say that a user has agreed to it; before that nothing is kept of anybody."""
    return _told(await asyncio.to_thread(viewer.base.preferences.consent, name(viewer.who, user)), user)


@router.get("", summary="What is kept of a user")
async def get_taste(viewer: ReadableBase, user: User) -> schemas.Taste:
    """When they agreed, and how much they have liked since; which pictures that were is not kept."""
    found = await asyncio.to_thread(viewer.base.preferences.get, name(viewer.who, user))
    if found is None:
        raise _unknown(user)
    return _told(found, user)


@router.post("/likes", summary="Learn from what a user chose")
async def learn_taste(
    viewer: ReadableBase, user: User, sent: Annotated[schemas.Liked, Body(openapi_examples=_LIKED)]
) -> schemas.Taste:
    """Ids of hits, or of parts of moments; of those without pixels nothing is learned."""
    await get_taste(viewer, user)
    learned = await asyncio.to_thread(
        viewer.base.preferences.like, name(viewer.who, user), [str(one) for one in sent.segments]
    )
    return _told(learned, user)


@router.delete("", status_code=204, summary="Erase a user's taste and consent")
async def erase_taste(viewer: ReadableBase, user: User) -> Response:
    """Nothing of it is left."""
    if not await asyncio.to_thread(viewer.base.preferences.erase, name(viewer.who, user)):
        raise _unknown(user)
    return Response(status_code=204)


def name(who: str, user: str) -> str:
    """What a user of a key's bearer is called in the knowledge base."""
    return f"{_PREFIX}{who}:{user}"


def keep_only(base: KnowledgeBase, whose: Collection[str]) -> None:
    """Erase what was kept with any other key."""
    for user in base.preferences.users():
        if user.startswith(_PREFIX) and user.removeprefix(_PREFIX).partition(":")[0] not in whose:
            base.preferences.erase(user)


def _told(taste: Preference, user: str) -> schemas.Taste:
    return schemas.Taste(user=user, since=taste.since, likes=taste.likes)


def _unknown(user: str) -> Problem:
    said = f"Nothing is kept of `{user[:80]}`: a PUT says that they have agreed to it."
    return Problem(404, said, code="taste_not_found", param="user")
