"""The tools over standard input and output, or over HTTP with keys."""

from __future__ import annotations

from contextlib import closing
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
    """Serve the program that started this process until it closes standard input."""
    create_server(OnDemand(lambda: KnowledgeBase.open(folder)), options).run("stdio")


def serve_http(folder: Path, options: ToolOptions, address: Address, state: Path) -> None:
    """Serve at ``http://HOST:PORT/mcp`` until the process is stopped.

    Args:
        folder: of the knowledge base.
        options: what the server offers.
        address: where to listen.
        state: folder with the keys, `exhibit keys`.

    Raises:
        SettingsError: other machines could use it without a key.
    """
    import uvicorn

    state.mkdir(parents=True, exist_ok=True)
    with closing(Keys(state / "keys.db")) as keys:
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


def http_app(folder: Path, options: ToolOptions, address: Address, keys: Keys) -> ASGIApp:
    """Return the tools as an ASGI app; once a key exists, requests need one.

    Raises:
        SettingsError: no key exists, but other machines can reach the address; or `ingest` would be open to any file.
    """
    if options.may_write and not options.below:
        raise SettingsError("Over HTTP, --write needs --below FOLDER; or callers could index any file here.")
    is_open = not keys.all()
    if is_open and not address.is_loopback:
        raise SettingsError(
            f"Other machines can reach {address.host}, so the tools need a key. Make one with `exhibit keys add NAME`, "
            "or serve on 127.0.0.1."
        )
    # A caller with a key may be on any machine: behind a proxy on this one, all callers look local.
    server = create_server(OnDemand(lambda: KnowledgeBase.open(folder)), replace(options, is_local=is_open))
    # On loopback the app only accepts local host names; otherwise any web page could reach it by DNS rebinding.
    app = server.streamable_http_app(host="127.0.0.1" if is_open else address.host)
    (name,) = name_folders([folder])
    return app if is_open else KeyCheck(app, keys, name)


@dataclass(frozen=True)
class KeyCheck:
    """Middleware that requires a key for the knowledge base and passes it on to the tools.

    Attributes:
        app: the guarded app.
        keys: the valid keys.
        base: name of the knowledge base.
    """

    app: ASGIApp
    keys: Keys
    base: str

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or respond with 401."""
        if scope["type"] == "http":
            key = self.keys.check_header(Headers(scope=scope).get("authorization", ""))
            if key is None or not key.allows(self.base):
                message = "This knowledge base needs a key: `Authorization: Bearer KEY`, from `exhibit keys add`."
                refused = JSONResponse({"error": message}, 401, headers={"WWW-Authenticate": "Bearer"})
                await refused(scope, receive, send)
                return
            scope["exhibit.key"] = key
        await self.app(scope, receive, send)
