"""Signed links to evidence, which expire and are made for one key.

A link contains everything it gives access to, so the server stores nothing for it. It never contains a file path.
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from typing import Literal

from rag.media import View
from rag.segments import from_fragment, to_fragment
from rag.types import Locator

LASTS_S = 24 * 3600
ViewName = View | Literal["text"]
_TOKEN = re.compile(r"(?<=/evidence/)[\w.-]+(?=/)")


class LinkError(Exception):
    """A link that gives no access."""


class Forged(LinkError):
    """The link was not signed with the server's secret, or its key is no longer valid."""


class Expired(LinkError):
    """The link has expired."""


@dataclass(frozen=True, slots=True)
class LinkTarget:
    """What a link gives access to: a place in an asset of a knowledge base, in all its views."""

    base: str
    asset_id: str
    locator: Locator


@dataclass(frozen=True, slots=True)
class LinkClaims:
    """The content of a link's token.

    Attributes:
        target: the place that it shows.
        key_id: id of the API key that it was made for; empty where there are no keys.
        until: when it expires, in seconds since 1970.
    """

    target: LinkTarget
    key_id: str
    until: int


class SignedLinks:
    """Makes links and verifies them.

    Args:
        secret: signs the links.
        lasts_s: lifetime of a link.
    """

    def __init__(self, secret: str, *, lasts_s: int = LASTS_S) -> None:
        from itsdangerous import URLSafeSerializer

        self._serializer = URLSafeSerializer(secret, salt="evidence")
        self._lasts_s = lasts_s

    def path(self, target: LinkTarget, view: ViewName, key_id: str) -> str:
        """Return the URL path of a view of a place."""
        return f"/evidence/{self._token(target, key_id)}/{view}"

    def renew(self, text: str, key_id: str) -> str:
        """Return a text in which the links of a key have their full lifetime again. Other links stay as they are."""

        def renew_token(match: re.Match[str]) -> str:
            try:
                claims = self._read(match[0])
            except Forged:
                return match[0]
            return self._token(claims.target, key_id) if claims.key_id == key_id else match[0]

        return _TOKEN.sub(renew_token, text)

    def verify(self, token: str) -> LinkClaims:
        """Return the content of a link's token.

        Raises:
            Forged: it was not signed with this secret.
            Expired: it has expired.
        """
        claims = self._read(token)
        if time.time() > claims.until:
            raise Expired("This link has expired; ask again for a new one.")
        return claims

    def _token(self, target: LinkTarget, key_id: str) -> str:
        until = int(time.time()) + self._lasts_s
        token: str = self._serializer.dumps([target.base, target.asset_id, to_fragment(target.locator), key_id, until])
        return token

    def _read(self, token: str) -> LinkClaims:
        from itsdangerous import BadData

        try:
            base, asset_id, fragment, key_id, until = self._serializer.loads(token)
        except (BadData, ValueError, TypeError) as error:
            raise Forged("This link was not made by this server, or was cut short.") from error
        return LinkClaims(LinkTarget(base, asset_id, from_fragment(fragment)), key_id, until)
