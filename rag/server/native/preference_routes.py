"""Visual preferences of an app's users, stored with their consent. Each key has its own users."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from typing import Annotated

from fastapi import APIRouter, Body, Path, Response

from rag.knowledge_base import KnowledgeBase
from rag.personalization.preference import Preference
from rag.server.access import ReadableBase
from rag.server.native import schemas
from rag.server.problems import HTTPProblem

router = APIRouter(prefix="/api/bases/{base}/tastes/{user}", tags=["tastes"])

ConsentBody = Annotated[schemas.Consent, Body(openapi_examples={"agreed": {"value": {"consent": True}}})]
User = Annotated[str, Path(min_length=1, max_length=120, description="Your app's id of the user.", examples=["u-4711"])]
_PREFIX = "key:"  # before the ids of users whose preference was stored with a key
_LIKED = {"one": {"value": {"segments": ["0b0e6d5c-6a0e-5a5e-9d9f-0a3f2f6f1c11"]}}}
Chosen = Annotated[schemas.Liked, Body(openapi_examples=_LIKED)]


@router.put("", summary="Store a user's preference from now on")
async def keep_taste(linker: ReadableBase, user: User, sent: ConsentBody) -> schemas.Taste:
    """Records that the user has agreed. Before that, nothing is stored about them."""
    return _preference_json(
        await asyncio.to_thread(linker.base.preferences.consent, stored_user(linker.key_id, user)), user
    )


@router.get("", summary="Get what is stored about a user")
async def get_taste(linker: ReadableBase, user: User) -> schemas.Taste:
    """When they agreed, and how many pictures they have liked since. Which ones is not stored."""
    found = await asyncio.to_thread(linker.base.preferences.get, stored_user(linker.key_id, user))
    if found is None:
        raise _not_found(user)
    return _preference_json(found, user)


@router.post("/likes", summary="Learn from a user's choice")
async def learn_taste(linker: ReadableBase, user: User, sent: Chosen) -> schemas.Taste:
    """Ids of hits, or of parts of moments. Segments without a picture teach nothing."""
    await get_taste(linker, user)
    learned = await asyncio.to_thread(
        linker.base.preferences.like, stored_user(linker.key_id, user), [str(one) for one in sent.segments]
    )
    return _preference_json(learned, user)


@router.delete("", status_code=204, summary="Erase a user's preference and consent")
async def erase_taste(linker: ReadableBase, user: User) -> Response:
    """Erases everything that is stored about the user."""
    if not await asyncio.to_thread(linker.base.preferences.erase, stored_user(linker.key_id, user)):
        raise _not_found(user)
    return Response(status_code=204)


def stored_user(key_id: str, user: str) -> str:
    """Return the id under which the knowledge base stores a key's user."""
    return f"{_PREFIX}{key_id}:{user}"


def keep_only(base: KnowledgeBase, key_ids: Collection[str]) -> None:
    """Erase the preferences that were stored with other keys."""
    for user in base.preferences.users():
        if user.startswith(_PREFIX) and user.removeprefix(_PREFIX).partition(":")[0] not in key_ids:
            base.preferences.erase(user)


def _preference_json(taste: Preference, user: str) -> schemas.Taste:
    return schemas.Taste(user=user, since=taste.since, likes=taste.likes)


def _not_found(user: str) -> HTTPProblem:
    detail = f"Nothing is stored about `{user[:80]}`. Send a PUT once the user has agreed."
    return HTTPProblem(404, detail, code="taste_not_found", param="user")
