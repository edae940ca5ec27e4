"""Who calls, and what they may use."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Path, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from rag.knowledge_base import KnowledgeBase
from rag.server.evidence_views import EvidenceLinker
from rag.server.keys import Key, Keys
from rag.server.problems import Problem
from rag.server.served_bases import ServedBases
from rag.server.signed_links import Forged, SignedLinks
from rag.server.state import server_state

_Name = Annotated[str, Path(alias="base", description="Name of a knowledge base.", examples=["museum"])]
_bearer = HTTPBearer(auto_error=False, description="A key made by `exhibit keys add`; none is needed on loopback.")


@dataclass(frozen=True)
class Access:
    """What a server serves, and to whom.

    Attributes:
        bases: the knowledge bases.
        keys: who may use them.
        is_open: whether everybody may, without a key, as long as none was made.
        links: signs links to evidence.
        public_url: what links begin with; where it is empty, the address that the caller used.
    """

    bases: ServedBases
    keys: Keys
    is_open: bool
    links: SignedLinks
    public_url: str = ""

    def needs_key(self) -> bool:
        """Whether nobody gets in without a key: from the moment on at which one was made."""
        return not self.is_open or bool(self.keys.all())

    def shown(self, name: str, who: str) -> KnowledgeBase:
        """The knowledge base of a link, if the one it was made for may still see it.

        Raises:
            Forged: the key was revoked, or the knowledge base is gone.
        """
        key = self.keys.get(who) if who else None
        if name not in self.bases or not (key.opens(name) if key else not who and not self.needs_key()):
            raise Forged("The key that this link was made for is not valid any more.")
        return self.bases[name]


@dataclass(frozen=True)
class Caller:
    """Who calls.

    Attributes:
        access: what the server serves.
        key: the caller's; None where none is needed.
        origin: the address that the caller used.
    """

    access: Access
    key: Key | None
    origin: str

    @property
    def names(self) -> list[str]:
        """The knowledge bases that the caller may use."""
        return [name for name in self.access.bases if self.key is None or self.key.opens(name)]

    @property
    def who(self) -> str:
        """Id of the caller's key; empty where none is needed."""
        return self.key.id if self.key else ""

    def may_write(self, name: str) -> bool:
        """Whether the caller may take in and delete."""
        return name in self.names and (self.key is None or self.key.may_write)

    def viewer(self, name: str, *, noun: str = "model") -> EvidenceLinker:
        """A knowledge base with the caller's links to it; `noun` is what the caller takes it for.

        Raises:
            Problem: 404, there is none of this name for this caller.
        """
        if name not in self.names:
            known = ", ".join(f"`{known}`" for known in self.names) or "none"
            param = noun.split()[-1]
            said = f"There is no {noun} `{name[:80]}` here; there is {known}."
            raise Problem(404, said, code=f"{param}_not_found", param=param)
        origin = self.access.public_url or self.origin
        return EvidenceLinker(name, self.access.bases[name], self.access.links, origin, self.who)


def caller(request: Request, shown: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]) -> Caller:
    """Whoever sent the request.

    Raises:
        Problem: 401, the key is missing or unknown.
    """
    access = server_state(request.app).access
    origin = str(request.base_url).rstrip("/")
    key = access.keys.check(shown.credentials) if shown else None
    if key is None and access.needs_key():
        said = "This key is not known here" if shown else "A key is needed"
        hint = f"{said}; send one that `exhibit keys add` made as `Authorization: Bearer KEY`."
        raise Problem(401, hint, code="invalid_api_key", headers={"WWW-Authenticate": "Bearer"})
    return Caller(access, key, origin)


def _read(caller: Annotated[Caller, Depends(caller)], base: _Name) -> EvidenceLinker:
    return caller.viewer(base, noun="knowledge base")


def _written(caller: Annotated[Caller, Depends(caller)], base: _Name) -> EvidenceLinker:
    viewer = caller.viewer(base, noun="knowledge base")
    if not caller.may_write(base):
        raise Problem(
            403, "This key may only read; one that `exhibit keys add NAME --write` made may write.", code="read_only"
        )
    return viewer


CurrentCaller = Annotated[Caller, Depends(caller)]
# The knowledge base that a path names, for one who may read it, and for one who may also write to it.
ReadableBase = Annotated[EvidenceLinker, Depends(_read)]
WritableBase = Annotated[EvidenceLinker, Depends(_written)]
