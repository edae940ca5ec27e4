"""The web page at ``/``: built files that need nothing from elsewhere; `ui/source` is what they are built from."""

from __future__ import annotations

from pathlib import Path

from fastapi import FastAPI, Response
from fastapi.responses import FileResponse
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

_BUILT = Path(__file__).parent / "ui" / "built"
_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' blob: data:",  # blob: what the user asks with; data: the marks of the style sheet
        "media-src 'self' blob:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    )
)
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "Permissions-Policy": "microphone=(self), camera=(), geolocation=()",
    "Referrer-Policy": "no-referrer",  # an address may hold the token of a link
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}


class _ImmutableFiles(StaticFiles):
    """Files whose names hold a hash of their content, so that a copy never has to be asked for again."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        response.headers["Cache-Control"] = "public, max-age=31536000, immutable"
        response.headers["X-Content-Type-Options"] = "nosniff"
        return response


def install(app: FastAPI) -> None:
    """Serve the page and its files."""
    app.add_api_route("/", _page, methods=["GET", "HEAD"], include_in_schema=False)
    app.mount("/assets", _ImmutableFiles(directory=_BUILT / "assets"))


async def _page() -> Response:
    """The page, anew each time: it names the present files."""
    return FileResponse(_BUILT / "index.html", headers=_HEADERS)
