"""Runs the tools over standard input and output, or over HTTP for those with a key."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from rag.errors import SettingsError
from rag.knowledge_base import KnowledgeBase
from rag.mcp.ondemand import OnDemand
from rag.mcp.tools import ToolOptions, create_server
from rag.server.keys import Keys
from rag.server.launch import Address
from rag.server.served_bases import name_folders

_GRACE_S = 10


def serve_stdio(folder: Path, options: ToolOptions) -> None:
    """Serve the program that started this one, until it closes standard input."""
    create_server(OnDemand(lambda: KnowledgeBase.open(folder)), options).run("stdio")


def serve_http(folder: Path, options: ToolOptions, address: Address, state: Path) -> None:
    """Serve at ``http://HOST:PORT/mcp`` until the process is told to stop.

    Args:
        folder: of the knowledge base.
        options: what is offered.
        address: where to listen.
        state: folder with the keys, `exhibit keys`.

    Raises:
        SettingsError: it would be open to others without a key.
    """
    import uvicorn

    state.mkdir(parents=True, exist_ok=True)
    keys = Keys(state / "keys.db")
    try:
        app = http_app(folder, options, address, keys)
        needs = "with a key" if keys.all() else "without a key, from this machine"
        print(f"Exhibit's tools are at http://{address.host}:{address.port}/mcp, {needs}.", flush=True)
        uvicorn.run(
            app,
            host=address.host,
            port=address.port,
            access_log=False,
            log_level="warning",
            server_header=False,
            timeout_graceful_shutdown=_GRACE_S,
        )
    finally:
        keys.close()


def http_app(folder: Path, options: ToolOptions, address: Address, keys: Keys) -> ASGIApp:
    """The tools as an ASGI app; once there are keys, one is needed.

    Raises:
        SettingsError: there are none, and others than this machine reach the address; or whoever reaches it could have
            any file read.
    """
    if options.may_write and not options.below:
        raise SettingsError("Over HTTP, --write needs --below FOLDER: else whoever gets in has any file read.")
    is_open = not keys.all()
    if is_open and not address.is_loopback:
        raise SettingsError(
            f"At {address.host} others reach the tools, so they need a key: make one with `exhibit keys add NAME`, or "
            "serve on 127.0.0.1."
        )
    # Whoever has a key may be anywhere: a proxy on this machine makes callers look local.
    server = create_server(OnDemand(lambda: KnowledgeBase.open(folder)), replace(options, is_local=is_open))
    # On loopback the app answers to names of this machine alone, or a page anywhere could point its own name here.
    app = server.streamable_http_app(host="127.0.0.1" if is_open else address.host)
    (name,) = name_folders([folder])
    return app if is_open else KeyCheck(app, keys, name)


@dataclass(frozen=True)
class KeyCheck:
    """Lets those in who show a key for a knowledge base, and tells the tools which it was.

    Attributes:
        app: what is guarded.
        keys: that are known.
        base: name of the knowledge base.
    """

    app: ASGIApp
    keys: Keys
    base: str

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer that a key is needed."""
        if scope["type"] == "http":
            scheme, _, secret = Headers(scope=scope).get("authorization", "").partition(" ")
            key = self.keys.check(secret.strip()) if scheme.lower() == "bearer" else None
            if key is None or not key.opens(self.base):
                said = "A key for this knowledge base is needed: `Authorization: Bearer KEY`, from `exhibit keys add`."
                refused = JSONResponse({"error": said}, 401, headers={"WWW-Authenticate": "Bearer"})
                await refused(scope, receive, send)
                return
            scope["exhibit.key"] = key
        await self.app(scope, receive, send)
