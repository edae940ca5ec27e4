"""The server with real models, asked by the stock clients of OpenAI over a real connection."""

import base64
import re
import shutil

import openai
import pytest
from PIL import Image

from rag.server.app import create_app
from rag.server.state import ServerOptions
from tests.fakes.media import JFK
from tests.fakes.readme import example
from tests.fakes.uvicorn_server import running

pytestmark = pytest.mark.language_model

PHOTO = "Which photo shows an orangutan?"
SPOKEN = "What name did Jane Goodall give to the first chimpanzee that let her come near?"
IMAGES = re.compile(r"!\[[^\]]*\]\((\S+)\)")


@pytest.fixture(scope="module")
def server(demo_template, tmp_path_factory):
    folder = tmp_path_factory.mktemp("served")
    museum = shutil.copytree(demo_template, folder / "museum")
    with running(create_app([museum], ServerOptions(folder / "state", is_open=True)), folder) as server:
        yield server


@pytest.fixture(scope="module")
def photo(server):
    """The answer to a question that a photo answers."""
    asked = [{"role": "user", "content": PHOTO}]
    return server.openai().chat.completions.create(model="museum", messages=asked)


def test_the_knowledge_bases_are_models(server):
    assert [model.id for model in server.openai().models.list()] == ["museum"]
    assert server.openai().models.retrieve("museum").owned_by == "exhibit"


@pytest.mark.asks_anew
def test_the_stock_client_gets_an_answer_with_the_picture_itself(server, photo):
    message = photo.choices[0].message
    assert "photo-04" in message.content
    assert "[E" not in message.content
    (url,) = IMAGES.findall(message.content)
    shown = server.http().get(url)
    assert shown.headers["Content-Type"] == "image/jpeg"
    (cited,) = message.annotations
    statement = message.content[cited.url_citation.start_index : cited.url_citation.end_index]
    assert statement == "photo-04.jpg shows an orangutan"
    assert cited.url_citation.title == "photo-04.jpg"
    assert cited.exhibit["modality"] == "image"


def test_the_example_of_the_readme_runs(server, capsys):
    _, _, rest = example("client.chat.completions").partition("client = OpenAI(")
    exec(rest.partition("\n")[2], {"client": server.openai()})
    printed = capsys.readouterr().out
    assert "photo-04.jpg shows an orangutan [1]." in printed
    assert "'marked': 'http://localhost/evidence/" in printed


def test_every_view_of_a_citation_opens(server, photo):
    views = photo.choices[0].message.annotations[0].exhibit["views"]
    assert set(views) == {"marked", "crop", "thumbnail"}
    for url in views.values():
        answer = server.http().get(url)
        assert answer.status_code == 200
        assert "immutable" in answer.headers["Cache-Control"]
        assert "/" not in answer.headers.get("Content-Disposition", "")


async def test_the_async_client_streams_the_same_answer(server, photo):
    asked = [{"role": "user", "content": PHOTO}]
    pieces, last = [], None
    async with server.async_openai() as client:
        async for chunk in await client.chat.completions.create(model="museum", messages=asked, stream=True):
            pieces.append(chunk.choices[0].delta.content or "")
            last = chunk
    assert len(pieces) > 5
    streamed = "".join(pieces)
    assert (
        IMAGES.sub("", streamed).partition("\n\n[1]:")[0]
        == IMAGES.sub("", photo.choices[0].message.content).partition("\n\n[1]:")[0]
    )
    assert last.choices[0].finish_reason == "stop"
    assert last.choices[0].delta.annotations[0]["exhibit"]["title"] == "photo-04.jpg"


def test_a_recording_is_cited_with_its_seconds_and_plays_by_ranges(server):
    asked = [{"role": "user", "content": SPOKEN}]
    message = server.openai().chat.completions.create(model="museum", messages=asked).choices[0].message
    assert "David Greybeard" in message.content
    exhibit = message.annotations[0].exhibit
    assert exhibit["locator"].startswith("#t=")
    part = server.http().get(exhibit["views"]["clip"], headers={"Range": "bytes=4-11"})
    assert part.status_code == 206
    assert part.content[:4] == b"ftyp"
    assert "David Greybeard" in server.http().get(exhibit["views"]["text"]).text
    assert server.http().get(exhibit["views"]["waveform"]).headers["Content-Type"] == "image/png"


def test_a_picture_is_a_question(server, demo_folder):
    picture = base64.b64encode((demo_folder / "photo-04.jpg").read_bytes()).decode()
    content = [
        {"type": "text", "text": "Which photo shows the same animal?"},
        {"type": "image_url", "image_url": {"url": f"data:image/jpeg;base64,{picture}"}},
    ]
    made = server.openai().chat.completions.create(model="museum", messages=[{"role": "user", "content": content}])
    assert "photo-04" in made.choices[0].message.content
    assert "orangutan" in made.exhibit["question"]


def test_a_recording_is_a_question(server):
    sound = base64.b64encode(JFK.read_bytes()).decode()
    content = [{"type": "input_audio", "input_audio": {"data": sound, "format": "mp3"}}]
    made = server.openai().chat.completions.create(model="museum", messages=[{"role": "user", "content": content}])
    assert "what your country can do for you" in made.exhibit["question"]
    assert made.exhibit["declined"]


def test_a_follow_up_is_understood_from_earlier_messages(server):
    chat = [
        {"role": "user", "content": SPOKEN},
        {"role": "assistant", "content": 'Jane Goodall gave him the name David Greybeard [1].\n\n[1]: http://x/y "z"'},
        {"role": "user", "content": "What colour was his beard?"},
    ]
    made = server.openai().chat.completions.create(model="museum", messages=chat)
    assert "David Greybeard" in made.exhibit["question"] or "Goodall" in made.exhibit["question"]
    assert "silver" in made.choices[0].message.content.lower()


def test_ignored_options_are_listed(server, photo):
    assert photo.exhibit["ignored"] == []
    chat = [{"role": "system", "content": "Answer as a pirate."}, {"role": "user", "content": PHOTO}]
    made = server.openai().chat.completions.create(model="museum", messages=chat, temperature=1.5, seed=3)
    assert made.exhibit["ignored"] == ["seed", "temperature", "system messages"]


@pytest.mark.parametrize(
    ("changes", "error", "expected"),
    [
        ({"model": "zoo"}, openai.NotFoundError, "`museum`"),
        ({"messages": []}, openai.BadRequestError, "messages"),
        ({"messages": [{"role": "assistant", "content": "Hello"}]}, openai.BadRequestError, "last message"),
        ({"messages": [{"role": "user", "content": "  "}]}, openai.BadRequestError, "last message"),
        ({"tools": [{"type": "function", "function": {"name": "x"}}]}, openai.BadRequestError, "`tools`"),
        ({"n": 2}, openai.BadRequestError, "`n`"),
        ({"response_format": {"type": "json_object"}}, openai.BadRequestError, "response_format"),
        ({"extra_body": {"exhibit": {"were": {}}}}, openai.BadRequestError, "exhibit.were"),
        ({"extra_body": {"exhibit": {"where": {"page": {"above": 3}}}}}, openai.BadRequestError, "above"),
    ],
)
def test_a_malformed_request_is_refused_by_name(server, changes, error, expected):
    request = {"model": "museum", "messages": [{"role": "user", "content": PHOTO}]} | changes
    for stream in (False, True):
        with pytest.raises(error, match=re.escape(expected)):
            server.openai().chat.completions.create(**request, stream=stream)


@pytest.mark.parametrize(
    ("part", "match"),
    [
        ({"type": "image_url", "image_url": {"url": "http://127.0.0.1/secret.png"}}, None),
        ({"type": "image_url", "image_url": {"url": "data:image/png;base64,xx"}}, "base64"),
        ({"type": "image_url", "image_url": {"url": "data:image/png;base64,aGVsbG8="}}, "picture"),
        ({"type": "input_audio", "input_audio": {"data": "aGVsbG8=", "format": "wav"}}, "recording"),
        ({"type": "file", "file": {"file_id": "f"}}, "`file`"),
    ],
)
def test_unusable_media_are_refused(server, part, match):
    chat = [{"role": "user", "content": [part]}]
    with pytest.raises(openai.APIStatusError, match=match) as caught:
        server.openai().chat.completions.create(model="museum", messages=chat)
    assert 400 <= caught.value.status_code < 500


def test_a_picture_larger_than_a_request_may_be_is_refused(server):
    huge = "A" * 33_000_000
    chat = [{"role": "user", "content": [{"type": "input_audio", "input_audio": {"data": huge, "format": "wav"}}]}]
    with pytest.raises(openai.APIStatusError, match="32 MB"):
        server.openai().chat.completions.create(model="museum", messages=chat)


def test_a_large_body_without_a_length_is_refused(server):
    def body():
        for _ in range(40):
            yield b"x" * 1_000_000

    answer = server.http().post("/v1/chat/completions", content=body(), headers={"Content-Type": "application/json"})
    assert answer.status_code == 413


def test_other_host_names_and_cross_site_requests_are_refused(server):
    assert server.http().get("/v1/models", headers={"Host": "evil.example"}).status_code == 403
    asked = {"model": "museum", "messages": [{"role": "user", "content": PHOTO}]}
    refused = server.http().post("/v1/chat/completions", json=asked, headers={"Sec-Fetch-Site": "cross-site"})
    assert refused.status_code == 403


def test_a_forged_link_opens_nothing(server, photo):
    url = photo.choices[0].message.annotations[0].exhibit["views"]["crop"]
    forged = url.replace("/evidence/", "/evidence/x")
    answer = server.http().get(forged)
    assert answer.status_code == 403
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.json()["title"] == "Forbidden"


def test_an_impossible_view_is_refused(server, photo):
    url = photo.choices[0].message.annotations[0].exhibit["views"]["crop"]
    assert server.http().get(url.replace("/crop", "/clip")).status_code == 415
    assert server.http().get(url.replace("/crop", "/secrets")).status_code == 400


def test_health_and_readiness_can_be_queried(server):
    assert server.http().get("/healthz").json() == {"status": "ok"}
    assert server.http().get("/readyz").json() == {"status": "ready"}
    described = server.http().get("/openapi.json").json()
    assert "/v1/chat/completions" in described["paths"]


def test_a_thumbnail_is_320_pixels_wide_or_high(server, photo):
    import io

    url = photo.choices[0].message.annotations[0].exhibit["views"]["thumbnail"]
    with Image.open(io.BytesIO(server.http().get(url).content)) as small:
        assert max(small.size) == 320
