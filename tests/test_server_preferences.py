"""Preferences over the native API: consent first, no app sees the users of another, and erasing erases."""

import shutil

import pytest

from rag.config import Settings
from rag.server.app import create_app
from rag.server.keys import Keys
from rag.server.state import ServerOptions
from tests.fakes.uvicorn_server import running

ANNA = "/api/bases/museum/tastes/anna"
SEARCH = "/api/bases/museum/search"
SETTINGS = Settings(llm="openai/none", rerank_top_n=0)
MONKEYS = {"query": "a monkey", "to": ["image"]}


@pytest.fixture(scope="module")
def folder(demo_template, tmp_path_factory):
    return shutil.copytree(demo_template, tmp_path_factory.mktemp("tastes") / "museum")


@pytest.fixture
def keys(folder):
    kept = Keys(_state(folder) / "keys.db")
    made = [kept.make(name) for name in ("shop", "other")]
    yield kept, made
    kept.close()


def _state(folder):
    state = folder.parent / "state"
    state.mkdir(exist_ok=True)
    return state


def bearer(made):
    return {"Authorization": f"Bearer {made[1]}"}


def names(http, made, **options):
    hits = http.post(SEARCH, json=MONKEYS | options, headers=bearer(made)).json()["hits"]
    return [hit["name"] for hit in hits]


def test_a_preference_lives_from_consent_to_the_end_of_its_key(folder, keys):
    kept, (shop, other) = keys
    with (
        running(create_app([folder], ServerOptions(_state(folder)), settings=SETTINGS), folder.parent) as server,
        server.http() as http,
    ):
        before = names(http, shop)
        (orangutan,) = http.post(
            SEARCH, json={"query": "an orangutan", "where": {"kind": "picture"}, "top_k": 1}, headers=bearer(shop)
        ).json()["hits"]
        liked = {"segments": [orangutan["id"]]}

        refused = http.post(f"{ANNA}/likes", json=liked, headers=bearer(shop))
        assert (refused.status_code, refused.json()["code"]) == (404, "taste_not_found")
        assert http.put(ANNA, json={"consent": False}, headers=bearer(shop)).status_code == 400
        assert http.put(ANNA, headers=bearer(shop)).status_code == 400
        assert http.get(ANNA, headers=bearer(shop)).status_code == 404

        agreed = http.put(ANNA, json={"consent": True}, headers=bearer(shop)).json()
        assert (agreed["user"], agreed["likes"]) == ("anna", 0)
        for n in range(1, 11):
            assert http.post(f"{ANNA}/likes", json=liked, headers=bearer(shop)).json()["likes"] == n
        assert http.post(f"{ANNA}/likes", json={"segments": ["x"]}, headers=bearer(shop)).status_code == 400

        after = names(http, shop, taste="anna")
        assert after.index("photo-04.jpg") < before.index("photo-04.jpg")
        assert names(http, shop) == before
        assert names(http, other, taste="anna") == before
        assert http.get(ANNA, headers=bearer(other)).status_code == 404
        assert http.delete(ANNA, headers=bearer(other)).status_code == 404
        assert http.get(ANNA, headers=bearer(shop)).json() == agreed | {"likes": 10}

        assert http.delete(ANNA, headers=bearer(shop)).status_code == 204
        assert http.get(ANNA, headers=bearer(shop)).status_code == 404
        assert names(http, shop, taste="anna") == before
        for made in (shop, other):
            http.put(ANNA, json={"consent": True}, headers=bearer(made))

    assert kept.revoke(shop[0].id)
    app = create_app([folder], ServerOptions(_state(folder)), settings=SETTINGS)
    with running(app, folder.parent) as server, server.http() as http:
        assert http.get(ANNA, headers=bearer(other)).status_code == 200
        assert app.state.exhibit.access.bases["museum"].preferences.users() == [f"key:{other[0].id}:anna"]
