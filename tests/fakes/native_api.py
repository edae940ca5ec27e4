"""A scripted server for the web page: chat, search, library and jobs over the demo's files, with real renderings.

The real history stores the turns. A word of the question selects the reply, see `_SCRIPT`; the JSON is that of
`rag.server`.
"""

from __future__ import annotations

import asyncio
import json
import threading
import time
import uuid
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any, cast

from fastapi import APIRouter, FastAPI, Request, UploadFile
from fastapi.responses import FileResponse, JSONResponse, Response, StreamingResponse
from PIL.Image import Image

from rag import media
from rag.segments import from_fragment
from rag.server import access, problems, web_page
from rag.server.history import History, StoredTurn
from rag.server.openai import answer_request, conversations
from rag.server.signed_links import SignedLinks
from rag.types import TimeSpan

WORDS = [
    ["Goodall", 13.4, 13.8],
    ["came.", 13.8, 14.4],
    ["David", 15.0, 15.4],
    ["was", 15.6, 15.8],
    ["near.", 16.4, 16.8],
]


def place(kind: str, modality: str, name: str, fragment: str, where: str, views: str, **more: Any) -> dict[str, Any]:
    """Return a segment of one of the demo's files, as search returns it."""
    return {
        "id": f"{name}-{fragment}",
        "asset_id": name,
        "modality": modality,
        "kind": kind,
        "name": name,
        "place": where,
        "locator": f"#{fragment}",
        "title": name,
        "text": "",
        "caption": "",
        "tags": [],
        "meta": {},
        "words": [],
        "score": 0.8,
        "is_believed": True,
        "relevance": None,
        "why": {"lanes": [{"name": "image", "rank": 1, "score": 0.3, "belief": 0.7}], "matched": [], "against": 0.0},
        "views": {view: f"/evidence/{name}:{fragment}/{view}" for view in views.split()},
    } | more


SEEN = "marked crop thumbnail"
ORANGUTAN = place("picture", "image", "photo-04.jpg", "", "", SEEN, tags=["orangutan", "guenon"])
BOX = "page=3&xywh=percent:10.00,20.00,60.00,10.00"
PAGE = place(
    "passage",
    "text",
    "catalogue.pdf",
    BOX,
    "page 3",
    SEEN,
    text="Sticks are used as spears.",
    meta={"heading": "Tools"},
)
SPEECH = place(
    "speech", "audio", "audio-guide.m4a", "t=13.000,19.000", "0:13–0:19", "clip waveform", words=WORDS, text="Jane"
)
FRAMES = [
    place("frame", "video", "film.mp4", f"t={at_s:.3f}", f"frame at 0:{at_s}", f"{SEEN} clip") for at_s in (32, 35, 38)
]
BUZZ = [["A", 32.5, 32.7], ["bee.", 32.8, 33.2], ["Look", 34.0, 34.4]]
BEE = place("moment", "video", "film.mp4", "t=32.000,41.000", "0:32–0:41", "clip", tags=["bee"], words=BUZZ)
BEE["views"] |= FRAMES[0]["views"] | {"clip": BEE["views"]["clip"]}
NOTE = place("passage", "text", "notes.md", "char=0,40", "characters 0–40", "text", text="Primates grasp.")
HITS = [ORANGUTAN, PAGE, SPEECH, BEE, NOTE | {"is_believed": False}]

_PICTURE = (
    "The fourth photo shows an orangutan [1].\n\n"
    '![photo-04.jpg](http://x/evidence/x/crop)\n\n[1]: http://x/evidence/x/marked "photo-04.jpg"'
)
_FOREIGN = (
    'Look: ![x](https://evil.example/a.png) <img src=x onerror="window.broken=1"> '
    "[here](javascript:window.broken=1) **bold** 1 < 2 & 3"
)
SUPPORTED = {"name": "supported", "reason": "", "support": 0.9, "locator": None, "quote": ""}
HOSTILE = '"><img src=x onerror="window.broken=1"> **no** words'
UNCHECKED = SUPPORTED | {"name": "unchecked", "reason": HOSTILE, "support": None}
_LONG = "They climb trees. " * 40 + "Primates  grasp." + " They sleep." * 40
_JUDGED = [
    PAGE | {"verdicts": [SUPPORTED, UNCHECKED]},
    NOTE | {"text": _LONG, "verdicts": [SUPPORTED | {"quote": "Primates grasp."}]},
    SPEECH | {"verdicts": [SUPPORTED | {"locator": "#t=15.550,16.900"}]},
    ORANGUTAN | {"verdicts": [SUPPORTED | {"name": "contradicted", "reason": "It is a gibbon."}]},
]
_JUDGED_TEXT = (
    "They use sticks [1], and grasp [2]. It was near [3], and is an ape [4].\n\n- They hunt [1].\n\n"
    "? [1] Not checked: no words  \n≠ [4] The evidence says otherwise"
)
_SCRIPT: dict[str, tuple[str, list[dict[str, Any]]]] = {
    "orangutan": (_PICTURE, [ORANGUTAN]),
    "goodall": ("She named him David Greybeard [1].", [SPEECH]),
    "bee": ("A bee is on screen [1].", [BEE]),
    "spears": ("They use sticks [1], and grasp [2].", [PAGE, NOTE]),
    "judged": (_JUDGED_TEXT, _JUDGED),
    "before verdicts": ("They use sticks [1].", [PAGE | {"verdicts": [None]}]),
    "foreign": (_FOREIGN, []),
}
_DECLINED = "The collection does not say how much an adult gorilla weighs."
_MEDIA_TYPES = {".jpg": ("image/jpeg", "image"), ".m4a": ("audio/mp4", "audio"), ".mp4": ("video/mp4", "video")}
_DOCUMENT = ("application/pdf", "document")


@dataclass
class Site:
    """A server of the page, and the requests it received.

    Attributes:
        files: folder of the demo's media.
        renderings: folder for their renderings.
        key: the key that a request needs; empty for none.
        requests: bodies of the chats and searches, oldest first.
        failing: status that the next chat or search gets.
        going_on: lets jobs, and answers to questions with "slowly", come to their end.
    """

    files: Path
    renderings: Path
    key: str = ""
    requests: list[dict[str, Any]] = field(default_factory=list)
    failing: int = 0
    jobs: dict[str, dict[str, Any]] = field(default_factory=dict)
    going_on: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        names = ["photo-04.jpg", "photo-05.jpg", "catalogue.pdf", "audio-guide.m4a", "film.mp4"]
        self.assets = {"museum": [_asset(name) for name in names], "empty": []}
        self.history = History(self.renderings / "history.db")
        self.failed = [{"id": "f1", "name": "locked.pdf", "reason": "It is encrypted; save it without a password."}]

    def app(self) -> FastAPI:
        """Return an app with the page and the API that it calls."""
        app, router = FastAPI(), APIRouter()
        problems.install(app)
        known = access.Access(cast(Any, {}), cast(Any, None), True, SignedLinks("secret"))
        app.dependency_overrides[answer_request.get_history] = lambda: self.history
        app.dependency_overrides[access.identify_caller] = lambda: access.Caller(known, None, "")
        app.include_router(conversations.router)
        routes: list[tuple[str, str, Callable[..., Any]]] = [
            ("POST", "/v1/responses", self.respond),
            ("GET", "/api/bases", self.bases),
            ("GET", "/api/bases/{base}", self.base),
            ("GET", "/api/bases/{base}/assets", self.listed),
            ("DELETE", "/api/bases/{base}/assets/{asset_id}", self.delete),
            ("GET", "/api/bases/{base}/assets/{asset_id}/segments", self.segments),
            ("POST", "/api/bases/{base}/search", self.search),
            ("POST", "/api/bases/{base}/files", self.upload),
            ("GET", "/api/bases/{base}/jobs", self.under_way),
            ("GET", "/api/jobs/{job}/events", self.events),
            ("DELETE", "/api/jobs/{job}", self.cancel),
            ("GET", "/evidence/{token}/{view}", self.evidence),
        ]
        for method, path, serve in routes:
            router.add_api_route(path, serve, methods=[method], response_model=None)
        app.include_router(router)
        web_page.install(app)
        return app

    def locked(self, request: Request) -> Response | None:
        """Refuse a request without the key."""
        if self.key and request.headers.get("Authorization") != f"Bearer {self.key}":
            return _problem(401, "A key is needed; `exhibit keys add` makes one.")
        return None

    async def respond(self, request: Request) -> Response:
        if refused := self.locked(request):
            return refused
        body = await request.json()
        self.requests.append(body)
        if self.failing:
            status, self.failing = self.failing, 0
            headers = {"Retry-After": "1"} if status == 429 else {}
            return JSONResponse({"error": {"message": "Too many questions at once."}}, status, headers)
        return StreamingResponse(self._stream(body), media_type="text/event-stream")

    async def _stream(self, body: dict[str, Any]) -> AsyncIterator[str]:
        content = body["input"] if isinstance(body["input"], str) else body["input"][-1]["content"]
        parts = [{"type": "text", "text": content}] if isinstance(content, str) else content
        question = " ".join(part.get("text", part["type"]) for part in parts)
        found = next((reply for word, reply in _SCRIPT.items() if word in question.lower()), None)
        text, hits = found or (_DECLINED, [])
        for at in range(0, len(text), 7):
            yield _event({"type": "response.output_text.delta", "delta": text[at : at + 7]})
            await asyncio.sleep(0.01)
            if "breaks" in question:
                error = {"message": "The language model failed."}
                yield _event({"type": "response.failed", "response": {"output": [], "error": error}})
            if "breaks" in question or "is cut off" in question:
                return
            while "slowly" in question and not self.going_on.is_set():
                await asyncio.sleep(0.05)
        response = _response(question, text, hits, declined=found is None)
        texts = {"asked": question, "meant": question, "answered": text, "body": json.dumps(response)}
        where = {"base": body["model"], "conversation": body["conversation"]}
        self.history.add(StoredTurn(response["id"], "response", "", int(time.time()), **texts, **where))
        yield _event({"type": "response.completed", "response": response})

    async def bases(self, request: Request) -> Any:
        return self.locked(request) or {"bases": [self._base(name) for name in self.assets]}

    async def base(self, base: str) -> Any:
        return self._base(base) | {"failed": self.failed if base == "museum" else [], "disk_bytes": 1}

    def _base(self, name: str) -> dict[str, Any]:
        assets = self.assets[name]
        failed = len(self.failed) if name == "museum" else 0
        segments = dict.fromkeys(("text", "image", "audio", "video"), 3 if assets else 0)
        return {
            "name": name,
            "assets": {"indexed": len(assets), "empty": 0, "failed": failed},
            "segments": segments,
            "may_write": True,
        }

    async def listed(self, base: str, limit: int = 50, q: str = "", medium: str = "", after: str = "") -> Any:
        fitting = [a for a in self.assets[base] if q in a["name"] and medium in ("", a["medium"])]
        first = int(after or 0)
        rest = str(first + limit) if first + limit < len(fitting) else None
        return {"assets": fitting[first : first + limit], "next": rest}

    async def delete(self, base: str, asset_id: str) -> Response:
        if asset_id == "film.mp4":
            return _problem(403, "This key may only read.")
        self.assets[base] = [asset for asset in self.assets[base] if asset["id"] != asset_id]
        self.failed = [failed for failed in self.failed if failed["id"] != asset_id]
        return Response(status_code=204)

    async def segments(self, base: str, asset_id: str) -> Any:
        return {"segments": [hit for hit in (ORANGUTAN, PAGE, SPEECH, *FRAMES) if hit["asset_id"] == asset_id]}

    async def search(self, request: Request) -> Any:
        body = await request.json()
        self.requests.append(body)
        if self.failing:
            status, self.failing = self.failing, 0
            return _problem(status, "The index cannot be reached.")
        if body["query"] == "nothing":
            return {"hits": []}
        return {"hits": [hit for hit in HITS if not body["to"] or hit["modality"] in body["to"]]}

    async def upload(self, base: str, files: list[UploadFile]) -> Any:
        names = [file.filename or "" for file in files]
        if "huge.mp4" in names:
            return _problem(413, "The request is larger than 32 MB.")
        job = {"id": f"j{len(self.jobs)}", "base": base, "state": "running", "done": 0, "total": len(names)}
        self.jobs[job["id"]] = job | {"current": names[0], "results": [], "error": None, "names": names}  # type: ignore[index]
        return JSONResponse({"job": job["id"]}, 202)

    async def under_way(self, base: str) -> Any:
        return {"jobs": [job for job in self.jobs.values() if job["base"] == base]}

    async def events(self, job: str) -> Response:
        return StreamingResponse(self._progress(self.jobs[job]), media_type="text/event-stream")

    async def _progress(self, job: dict[str, Any]) -> AsyncIterator[str]:
        yield _event(job)
        while not self.going_on.is_set() and job["state"] == "running":
            await asyncio.sleep(0.02)
        for name in job["names"] if job["state"] == "running" else ():
            failed = name.startswith("broken")
            reason = "It is no picture that can be read." if failed else ""
            result = {"name": name, "state": "failed" if failed else "indexed", "reason": reason, "segments": 1}
            job |= {"done": job["done"] + 1, "results": [*job["results"], result], "current": name}
            if not failed:
                self.assets[job["base"]].append(_asset(name) | {"thumbnail": None})
            yield _event(job)
        if job["state"] == "running":
            job["state"] = "done"
        yield _event(job)

    async def cancel(self, job: str) -> Response:
        self.jobs[job]["state"] = "cancelled"
        return Response(status_code=204)

    def evidence(self, token: str, view: str) -> Response:
        name, fragment = token.split(":", 1)
        file = self.renderings / f"{view}-{abs(hash(token))}"
        if not file.exists():
            unfinished = file.with_suffix(f".{threading.get_ident()}")
            unfinished.write_bytes(_rendered(self.files / name, fragment, view))
            unfinished.replace(file)
        types = {"clip": "video/mp4", "waveform": "image/png"}
        return FileResponse(file, media_type=types.get(view, "image/jpeg"))


def _asset(name: str) -> dict[str, Any]:
    media_type, medium = _MEDIA_TYPES.get(Path(name).suffix, _DOCUMENT)
    picture = {"document": "page=1", "image": "", "video": "t=3.000"}.get(medium)
    return {
        "id": name,
        "name": name,
        "media_type": media_type,
        "medium": medium,
        "size": 123_456,
        "segments": 1 if medium == "image" else 3,
        "state": "indexed",
        "thumbnail": None if picture is None else f"/evidence/{name}:{picture}/thumbnail",
    }


def _response(question: str, text: str, hits: list[dict[str, Any]], *, declined: bool) -> dict[str, Any]:
    whole = {"type": "url_citation", "start_index": 0, "end_index": len(text)}
    cited = [
        {**whole, "exhibit": _exhibit(n, hit) | ({"verdict": verdict} if verdict else {})}
        for n, hit in enumerate(hits, 1)
        for verdict in hit.get("verdicts", [SUPPORTED])
    ]
    content = [{"type": "output_text", "text": text, "annotations": cited}]
    name = uuid.uuid4().hex
    message = {"id": f"msg_{name}", "type": "message", "role": "assistant", "content": content}
    details = {"question": question, "declined": declined, "open_parts": [], "warnings": [], "ignored": []}
    return {"id": f"resp_{name}", "output": [message], "exhibit": details, "error": None}


def _exhibit(number: int, hit: dict[str, Any]) -> dict[str, Any]:
    title = f"{hit['place']} of {hit['name']}" if hit["place"] else hit["name"]
    fields = ("modality", "kind", "asset_id", "locator", "caption", "tags", "text", "words", "views")
    return {"number": number, "title": title} | {name: hit[name] for name in fields}


def _rendered(file: Path, fragment: str, view: str) -> bytes:
    locator = from_fragment(fragment)
    if view == "clip":
        span = locator if isinstance(locator, TimeSpan) else TimeSpan(32.0, 41.0)
        return media.clip(file, span)
    buffer = BytesIO()
    picture: Image
    if view == "waveform":
        assert isinstance(locator, TimeSpan)
        picture = media.waveform(file, locator)
    else:
        picture = media.highlight(file, locator) if view == "marked" else media.thumbnail(file, locator, 320)
    picture.save(buffer, "PNG" if view == "waveform" else "JPEG")
    return buffer.getvalue()


def _event(value: Any) -> str:
    return f"data: {json.dumps(value)}\n\n"


def _problem(status: int, detail: str) -> Response:
    return JSONResponse({"title": "Problem", "status": status, "detail": detail}, status)
