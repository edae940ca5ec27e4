"""Links to evidence: signed, with an end, and with the name of the one who may look.

A link holds all that it admits to, so nothing is kept for it, and no path of a file is ever in one.
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
    """A link that admits to nothing."""


class Forged(LinkError):
    """Nobody who holds the secret made this link."""


class Expired(LinkError):
    """The link was good once."""


@dataclass(frozen=True, slots=True)
class LinkTarget:
    """What a link admits to: a place in an asset of a knowledge base, in every view that it has."""

    base: str
    asset_id: str
    locator: Locator


@dataclass(frozen=True, slots=True)
class LinkClaims:
    """What a link says.

    Attributes:
        place: where to look.
        who: id of the API key that it was made for; empty where there are no keys.
        until: seconds since 1970 at which it ends.
    """

    place: LinkTarget
    who: str
    until: int


class SignedLinks:
    """Makes links and reads them.

    Args:
        secret: whoever has it can make links.
        lasts_s: how long a link lasts.
    """

    def __init__(self, secret: str, *, lasts_s: int = LASTS_S) -> None:
        from itsdangerous import URLSafeSerializer

        self._serializer = URLSafeSerializer(secret, salt="evidence")
        self._lasts_s = lasts_s

    def path(self, place: LinkTarget, view: ViewName, who: str) -> str:
        """The path of a URL under which a place is seen, played or read."""
        return f"/evidence/{self._token(place, who)}/{view}"

    def renewed(self, text: str, who: str) -> str:
        """A text in which links that were made for somebody last as long as new ones; others stay as they are."""

        def again(found: re.Match[str]) -> str:
            try:
                said = self._read(found[0])
            except Forged:
                return found[0]
            return self._token(said.place, who) if said.who == who else found[0]

        return _TOKEN.sub(again, text)

    def opened(self, token: str) -> LinkClaims:
        """What a link's token says.

        Raises:
            Forged: it was not made with this secret.
            Expired: it has come to its end.
        """
        said = self._read(token)
        if time.time() > said.until:
            raise Expired("This link has expired; ask again for a new one.")
        return said

    def _token(self, place: LinkTarget, who: str) -> str:
        until = int(time.time()) + self._lasts_s
        token: str = self._serializer.dumps([place.base, place.asset_id, to_fragment(place.locator), who, until])
        return token

    def _read(self, token: str) -> LinkClaims:
        from itsdangerous import BadData

        try:
            base, asset_id, fragment, who, until = self._serializer.loads(token)
        except (BadData, ValueError, TypeError) as error:
            raise Forged("This link was not made by this server, or was cut short.") from error
        return LinkClaims(LinkTarget(base, asset_id, from_fragment(fragment)), who, until)
