"""The web page at ``/``. Its files are built from `ui/source` and load nothing from other sites."""

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
        "img-src 'self' blob: data:",  # blob: pictures of a question; data: icons of the style sheet
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
    "Referrer-Policy": "no-referrer",  # a URL may contain the token of a link
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}


class _ImmutableFiles(StaticFiles):
    """Files whose names contain a hash of their content, so that browsers may keep them for good."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        response.headers["Cache-Control"] = "public, max-age=31536000, immutable"
        response.headers["X-Content-Type-Options"] = "nosniff"
        return response


def install(app: FastAPI) -> None:
    """Serve the page and its files."""
    app.add_api_route("/", _send_page, methods=["GET", "HEAD"], include_in_schema=False)
    app.mount("/assets", _ImmutableFiles(directory=_BUILT / "assets"))


async def _send_page() -> Response:
    """Return the page. It is never cached, because it names the current files."""
    return FileResponse(_BUILT / "index.html", headers=_HEADERS)
