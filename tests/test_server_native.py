"""The API below /api: what there is, searching, asking and deleting, as an app uses it."""

import base64
import json
import shutil

import pytest

from rag.server.app import create_app
from rag.server.keys import Keys
from rag.server.state import ServerOptions
from tests.fakes.uvicorn_server import running

pytestmark = pytest.mark.language_model

MUSEUM = "/api/bases/museum"
PROBLEM = "application/problem+json"
SCHEMA = "#/components/schemas/"
QUESTION = "What name did Jane Goodall give to the first chimpanzee that let her come near?"


@pytest.fixture(scope="module")
def museum(demo_template, tmp_path_factory):
    return shutil.copytree(demo_template, tmp_path_factory.mktemp("native") / "museum")


@pytest.fixture(scope="module")
def server(museum):
    with running(create_app([museum], ServerOptions(museum.parent / "state", is_open=True)), museum.parent) as server:
        yield server


@pytest.fixture(scope="module")
def http(server):
    return server.http()


def asset(http, name):
    (found,) = http.get(f"{MUSEUM}/assets", params={"q": name}).json()["assets"]
    return found


def events(text):
    """Names and data of server-sent events."""
    blocks = [dict(line.split(": ", 1) for line in block.splitlines()) for block in text.strip().split("\n\n")]
    return [(block["event"], json.loads(block["data"])) for block in blocks]


def test_the_knowledge_bases_are_counted(http):
    (base,) = http.get("/api/bases").json()["bases"]
    assert base["name"] == "museum"
    assert base["assets"] == {"indexed": 12, "empty": 0, "failed": 0}
    assert set(base["segments"]) == {"text", "image", "audio", "video"}
    assert base["may_write"] is True
    details = http.get(MUSEUM).json()
    assert details["failed"] == []
    assert details["encoders"] == {"text": "minilm", "joint": "lite", "sound": "lite"}
    assert details["disk_bytes"] > 100_000


def test_assets_come_page_by_page_each_once(http):
    found, after = [], None
    while after or not found:
        page = http.get(f"{MUSEUM}/assets", params={"limit": 5} | ({"after": after} if after else {})).json()
        found += page["assets"]
        after = page["next"]
    names = [one["name"] for one in found]
    assert len(names) == 12
    assert names == sorted(set(names))
    assert names[0] == "audio-guide.m4a"


def test_assets_can_be_filtered_by_name_and_medium(http):
    pictures = http.get(f"{MUSEUM}/assets", params={"medium": "image"}).json()["assets"]
    assert {one["media_type"] for one in pictures} == {"image/jpeg"}
    assert len(pictures) == 8
    assert asset(http, "PHOTO-04")["name"] == "photo-04.jpg"
    assert http.get(f"{MUSEUM}/assets", params={"q": "nothing is called so"}).json() == {"assets": [], "next": None}
    assert asset(http, "film")["state"] == "indexed"


def test_visible_media_have_a_thumbnail(http):
    for one in http.get(f"{MUSEUM}/assets").json()["assets"]:
        if one["medium"] == "audio" or one["media_type"] == "text/markdown":
            assert one["thumbnail"] is None
        else:
            assert http.get(one["thumbnail"]).headers["Content-Type"] == "image/jpeg"


def test_an_asset_has_its_segments_in_order(http):
    film = asset(http, "film")
    assert http.get(f"{MUSEUM}/assets/{film['id']}").json()["name"] == "film.mp4"
    segments = http.get(f"{MUSEUM}/assets/{film['id']}/segments").json()["segments"]
    assert len(segments) == film["segments"]
    assert {one["modality"] for one in segments} == {"video"}
    spoken = next(one for one in segments if one["kind"] == "speech")
    assert spoken["words"][0][0]
    assert spoken["views"]["clip"].startswith("http://localhost/evidence/")


def test_an_unchanged_rendering_is_not_sent_again(http):
    hit = http.post(f"{MUSEUM}/search", json={"query": "Jane Goodall", "to": ["audio"]}).json()["hits"][0]
    for view in ("waveform", "text"):
        sent = http.get(hit["views"][view])
        known = {"If-None-Match": f'"other", W/{sent.headers["ETag"]}'}
        again = http.get(hit["views"][view], headers=known)
        assert (again.status_code, again.content) == (304, b"")
        assert again.headers["ETag"] == sent.headers["ETag"]
        assert http.get(hit["views"][view], headers={"If-None-Match": '"other"'}).status_code == 200
        head = http.head(hit["views"][view])
        assert (head.headers["Content-Length"], head.content) == (str(len(sent.content)), b"")


@pytest.mark.parametrize(
    ("wanted", "status", "of"),
    [
        ("bytes=0-9", 206, slice(0, 10)),
        ("bytes=10-", 206, slice(10, None)),
        ("bytes=-5", 206, slice(-5, None)),
        ("bytes=5-2", 200, slice(None)),
        ("bytes=five", 200, slice(None)),
        ("pages=1-2", 200, slice(None)),
        ("bytes=99999999-", 416, None),
        ("bytes=-0", 416, None),
    ],
)
def test_byte_ranges_are_served_where_they_are_valid(http, wanted, status, of):
    hit = http.post(f"{MUSEUM}/search", json={"query": "Jane Goodall", "to": ["audio"]}).json()["hits"][0]
    whole = http.get(hit["views"]["waveform"]).content
    part = http.get(hit["views"]["waveform"], headers={"Range": wanted})
    assert part.status_code == status
    if of is None:
        assert part.headers["Content-Range"] == f"bytes */{len(whole)}"
        assert part.headers["Content-Type"] == PROBLEM
    else:
        assert part.content == whole[of]


def test_a_search_returns_hits_and_explanations(http):
    sent = {"query": "an orangutan", "to": ["image"], "top_k": 3}
    hits = http.post(f"{MUSEUM}/search", json=sent).json()["hits"]
    assert len(hits) == 3
    first = hits[0]
    assert first["name"] == "photo-04.jpg"
    assert first["is_believed"]
    assert first["why"]["lanes"][0]["name"] == "image"
    assert first["relevance"] is None
    assert {"thumbnail", "crop", "marked"} <= set(first["views"])
    assert http.get(first["views"]["crop"]).status_code == 200


def test_a_search_takes_parts_in_any_medium(http, demo_folder):
    picture = base64.b64encode((demo_folder / "photo-04.jpg").read_bytes()).decode()
    query = [
        {"type": "image_url", "image_url": {"url": f"data:image/jpeg;base64,{picture}"}, "weight": 2},
        {"type": "text", "text": "an orangutan", "weight": 0.5},
        {"type": "not", "part": {"type": "text", "text": "a bee"}},
    ]
    sent = {"query": query, "where": {"kind": "picture"}, "quotas": {"image": 2}}
    hits = http.post(f"{MUSEUM}/search", json=sent).json()["hits"]
    assert [hit["kind"] for hit in hits] == ["picture"] * 2
    assert "photo-04.jpg" in [hit["name"] for hit in hits]


@pytest.mark.asks_anew
def test_an_answer_has_markers_citations_and_evidence(http):
    answer = http.post(f"{MUSEUM}/ask", json={"question": QUESTION}).json()
    assert not answer["declined"]
    cited = answer["citations"][0]
    assert "David Greybeard" in answer["text"][cited["start"] : cited["end"]]
    assert f"[E{cited['exhibit']}]" in answer["text"]
    exhibit = next(one for one in answer["exhibits"] if one["number"] == cited["exhibit"])
    assert exhibit["locator"].startswith("#t=")
    assert exhibit["words"]
    assert http.get(exhibit["views"]["text"]).status_code == 200
    assert {step["name"] for step in answer["trace"]} >= {"retrieve", "answer", "total"}


def test_an_answer_comes_in_pieces(http):
    sent = {"question": "What colour was his beard?", "turns": [[QUESTION, "David Greybeard [E1]."]], "stream": True}
    with http.stream("POST", f"{MUSEUM}/ask", json=sent) as response:
        assert response.headers["Content-Type"].startswith("text/event-stream")
        told = events(response.read().decode())
    assert {name for name, _ in told[:-1]} == {"piece"}
    assert len(told) > 2
    name, answer = told[-1]
    assert name == "answer"
    assert "Greybeard" in answer["question"] or "Goodall" in answer["question"]
    assert answer["exhibits"]


@pytest.mark.parametrize(
    ("path", "sent", "expected"),
    [
        ("search", {"query": "  "}, "question"),
        ("search", {"query": []}, "query"),
        ("search", {"query": "x", "top_k": 0}, "top_k"),
        ("search", {"query": "x", "to": ["smell"]}, "to.0"),
        ("search", {"query": "x", "where": {"page": {"above": 3}}}, "above"),
        ("search", {"query": "x", "colour": "red"}, "colour"),
        (
            "search",
            {"query": [{"type": "image_url", "image_url": {"url": "http://localhost/"}}]},
            "data URLs",
        ),
        ("search", {"query": [{"type": "input_audio", "input_audio": {"data": "*"}}]}, "base64"),
        ("search", {"query": [{"type": "not", "part": {"type": "text", "text": "x"}}]}, "question"),
        ("ask", {"question": ""}, "question"),
        ("ask", {"question": "x", "turns": [["only one"]]}, "turns"),
    ],
)
def test_a_malformed_question_is_refused_by_name(http, path, sent, expected):
    answer = http.post(f"{MUSEUM}/{path}", json=sent)
    assert answer.status_code == 400, answer.text
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert expected in answer.json()["detail"]


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        (b'{"query": "x", "where": {"kind": "\\ud800"}}', "Unicode"),
        (b'{"query": "x", "where": {"\\ud800": 1}}', "Unicode"),
        (b'{"query": "\\ud800"}', "Unicode"),
        (b'{"query": "x", "where": {"page": ' + b"9" * 30_000 + b"}}", "body"),
        (b'{"query": "x", "where": {"title": "' + b"9" * 30_000 + b'"}}', "longer than"),
        (b'{"query": "x", "where": ' + b'{"not":' * 500 + b"{}" + b"}" * 501, "nested"),
        (b"[" * 100_000, "body"),
    ],
)
def test_malformed_text_is_refused(http, sent, expected):
    answer = http.post(f"{MUSEUM}/search", content=sent, headers={"Content-Type": "application/json"})
    assert answer.status_code == 400
    assert expected in answer.json()["detail"]


@pytest.mark.parametrize(
    "path", ["/api/bases/zoo", f"{MUSEUM}/assets/x", f"{MUSEUM}/assets/x%00/segments", "/api/jobs/x", "/api/nothing"]
)
def test_an_unknown_path_is_not_found(http, path):
    answer = http.get(path)
    assert answer.status_code == 404
    assert answer.json()["status"] == 404


def test_a_foreign_cursor_is_refused(http):
    for after in ("x", "WzFd", "bm8="):
        assert http.get(f"{MUSEUM}/assets", params={"after": after}).status_code == 400


def test_no_response_names_a_folder_of_the_server(http, museum, demo_folder):
    film = asset(http, "film")["id"]
    told = [
        http.get("/api/bases"),
        http.get(MUSEUM),
        http.get(f"{MUSEUM}/assets"),
        http.get(f"{MUSEUM}/assets/{film}/segments"),
        http.post(f"{MUSEUM}/search", json={"query": "a chimpanzee"}),
        http.get("/api/stats"),
        http.get("/openapi.json"),
    ]
    for answer in told:
        assert answer.status_code == 200
        assert str(demo_folder) not in answer.text
        assert str(museum.parent) not in answer.text


def test_deleting_an_asset_leaves_a_file_outside_the_uploads(http, demo_folder):
    photo = asset(http, "photo-08")
    assert http.delete(f"{MUSEUM}/assets/{photo['id']}").status_code == 204
    assert http.get(f"{MUSEUM}/assets/{photo['id']}").status_code == 404
    assert http.delete(f"{MUSEUM}/assets/{photo['id']}").status_code == 404
    assert http.get(photo["thumbnail"]).status_code == 404
    assert (demo_folder / "photo-08.jpg").exists()


def test_statistics_count_questions_without_their_words(http):
    before = http.get("/api/stats").json()
    http.post(f"{MUSEUM}/search", json={"query": "a very particular question"})
    after = http.get("/api/stats")
    assert after.json()["questions"] == before["questions"] + 1
    assert 0 < after.json()["seconds"]["p50"] <= after.json()["seconds"]["p95"]
    assert after.json()["jobs"]["running"] == 0
    assert "particular" not in after.text


def test_every_operation_is_described(http):
    described = http.get("/openapi.json").json()
    operations = [(path, one) for path, methods in described["paths"].items() for one in methods.values()]
    assert len({one["operationId"] for _, one in operations}) == len(operations) > 40
    for path, operation in operations:
        assert operation["summary"]
        assert operation["tags"]
        assert "422" not in operation["responses"]
        form, kind = ("OpenAIError", "application/json") if path[:4] == "/v1/" else ("Problem", PROBLEM)
        for status in ("4XX", "5XX"):
            assert operation["responses"][status]["content"] == {kind: {"schema": {"$ref": SCHEMA + form}}}
        for kind, body in operation.get("requestBody", {}).get("content", {}).items():
            assert kind == "multipart/form-data" or "examples" in json.dumps(inlined(body, described)), path


def inlined(body, described):
    """The description of a body with its schema in it."""
    name = body["schema"].get("$ref", "").removeprefix(SCHEMA)
    return [body, described["components"]["schemas"].get(name)]


def test_a_key_sees_its_own_knowledge_bases_and_writes_where_it_may(demo_template, tmp_path):
    museum = shutil.copytree(demo_template, tmp_path / "museum")
    options = ServerOptions(tmp_path / "state")
    options.state.mkdir()
    kept = Keys(options.state / "keys.db")
    _, reader = kept.make("reader", ["museum"])
    _, writer = kept.make("writer", ["museum"], may_write=True)
    _, stranger = kept.make("stranger", ["zoo"], may_write=True)
    kept.close()
    with running(create_app([museum], options), tmp_path) as server:
        assert server.http().get("/api/bases").status_code == 401
        assert server.http(stranger).get("/api/bases").json() == {"bases": []}
        assert server.http(stranger).get(MUSEUM).status_code == 404
        assert server.http(reader).get(MUSEUM).json()["may_write"] is False
        photo = f"{MUSEUM}/assets/{asset(server.http(reader), 'photo-01')['id']}"
        refused = server.http(reader).delete(photo)
        assert refused.status_code == 403
        assert "--write" in refused.json()["detail"]
        upload = {"files": ("a.md", b"# A note")}
        assert server.http(reader).post(f"{MUSEUM}/files", files=upload).status_code == 403
        assert server.http(reader).post(f"{MUSEUM}/urls", json={"urls": ["http://x.example/"]}).status_code == 403
        job = server.http(writer).post(f"{MUSEUM}/files", files=upload).json()["job"]
        assert server.http(stranger).get(f"/api/jobs/{job}").status_code == 404
        assert server.http(reader).get(f"/api/jobs/{job}").status_code == 200
        assert server.http(reader).delete(f"/api/jobs/{job}").status_code == 403
        assert server.http(writer).delete(photo).status_code == 204


def test_too_many_requests_are_refused_with_a_wait(demo_template, tmp_path):
    museum = shutil.copytree(demo_template, tmp_path / "museum")
    options = ServerOptions(tmp_path / "state", questions_per_minute=2, requests_per_minute=4)
    options.state.mkdir()
    kept = Keys(options.state / "keys.db")
    (_, one), (_, other) = kept.make("one"), kept.make("other")
    kept.close()
    with running(create_app([museum], options), tmp_path) as server:
        search = {"query": "a chimpanzee"}
        asked = [server.http(one).post(f"{MUSEUM}/search", json=search) for _ in range(3)]
        assert [answer.status_code for answer in asked] == [200, 200, 429]
        assert 1 <= int(asked[-1].headers["Retry-After"]) <= 120
        assert asked[-1].json()["code"] == "rate_limit_exceeded"
        assert server.http(other).post(f"{MUSEUM}/search", json=search).status_code == 200
        # Others are counted apart, and whoever has no key by address; forged keys do not help.
        assert server.http(one).get("/api/bases").status_code == 200
        guesses = [server.http(f"exhibit-guess-{n}").get("/v1/models") for n in range(5)]
        assert [answer.status_code for answer in guesses] == [401] * 4 + [429]
        assert guesses[-1].json()["error"]["type"] == "rate_limit_error"
        assert server.http().get("/healthz").status_code == 200
