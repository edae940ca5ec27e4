"""Who calls, and what they may use."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Path, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from rag.knowledge_base import KnowledgeBase
from rag.server.evidence_views import EvidenceLinker
from rag.server.keys import Key, Keys
from rag.server.problems import HTTPProblem
from rag.server.served_bases import ServedBases
from rag.server.signed_links import Forged, SignedLinks
from rag.server.state import server_state

_Name = Annotated[str, Path(alias="base", description="Name of a knowledge base.", examples=["museum"])]
_bearer = HTTPBearer(auto_error=False, description="A key made by `exhibit keys add`; none is needed on loopback.")


@dataclass(frozen=True)
class Access:
    """The knowledge bases of a server, and who may use them.

    Attributes:
        bases: the knowledge bases.
        keys: the API keys.
        is_open: whether no key is needed while none exists.
        links: signs links to evidence.
        public_url: start of links; if empty, the address that the caller used.
    """

    bases: ServedBases
    keys: Keys
    is_open: bool
    links: SignedLinks
    public_url: str = ""

    def needs_key(self) -> bool:
        """Return whether a key is needed. On an open server it is needed once one exists."""
        return not self.is_open or bool(self.keys.all())

    def base_of_link(self, name: str, key_id: str) -> KnowledgeBase:
        """Return the knowledge base of a link, if the key that the link was made for may still use it.

        Raises:
            Forged: the key was revoked, or the knowledge base is gone.
        """
        key = self.keys.get(key_id) if key_id else None
        if name not in self.bases or not (key.allows(name) if key else not key_id and not self.needs_key()):
            raise Forged("The key that this link was made for is no longer valid.")
        return self.bases[name]


@dataclass(frozen=True)
class Caller:
    """The sender of a request.

    Attributes:
        access: what the server serves.
        key: the caller's key; None if none is needed.
        origin: the address that the caller used.
    """

    access: Access
    key: Key | None
    origin: str

    @property
    def names(self) -> list[str]:
        """Names of the knowledge bases that the caller may use."""
        return [name for name in self.access.bases if self.key is None or self.key.allows(name)]

    @property
    def key_id(self) -> str:
        """Id of the caller's key; empty if none is needed."""
        return self.key.id if self.key else ""

    def may_write(self, name: str) -> bool:
        """Return whether the caller may add and delete files."""
        return name in self.names and (self.key is None or self.key.may_write)

    def open_base(self, name: str, *, noun: str = "model") -> EvidenceLinker:
        """Return a knowledge base with the caller's links to it.

        Args:
            name: name of the knowledge base.
            noun: what the caller takes it for, for the error.

        Raises:
            HTTPProblem: 404, the caller has no knowledge base with this name.
        """
        if name not in self.names:
            known = ", ".join(f"`{known}`" for known in self.names) or "none"
            param = noun.split()[-1]
            detail = f"There is no {noun} `{name[:80]}` here. Available: {known}."
            raise HTTPProblem(404, detail, code=f"{param}_not_found", param=param)
        origin = self.access.public_url or self.origin
        return EvidenceLinker(name, self.access.bases[name], self.access.links, origin, self.key_id)


def identify_caller(
    request: Request, credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]
) -> Caller:
    """Return the sender of a request.

    Raises:
        HTTPProblem: 401, the key is missing or unknown.
    """
    access = server_state(request.app).access
    origin = str(request.base_url).rstrip("/")
    key = access.keys.check(credentials.credentials) if credentials else None
    if key is None and access.needs_key():
        reason = "This key is unknown" if credentials else "A key is needed"
        detail = f"{reason}. Make one with `exhibit keys add` and send it as `Authorization: Bearer KEY`."
        raise HTTPProblem(401, detail, code="invalid_api_key", headers={"WWW-Authenticate": "Bearer"})
    return Caller(access, key, origin)


def _require_read(caller: Annotated[Caller, Depends(identify_caller)], base: _Name) -> EvidenceLinker:
    return caller.open_base(base, noun="knowledge base")


def _require_write(caller: Annotated[Caller, Depends(identify_caller)], base: _Name) -> EvidenceLinker:
    opened = caller.open_base(base, noun="knowledge base")
    if not caller.may_write(base):
        raise HTTPProblem(
            403,
            "This key may only read. Make one that may write with `exhibit keys add NAME --write`.",
            code="read_only",
        )
    return opened


CurrentCaller = Annotated[Caller, Depends(identify_caller)]
# The knowledge base in the path, for callers who may read it, and for callers who may also write to it.
ReadableBase = Annotated[EvidenceLinker, Depends(_require_read)]
WritableBase = Annotated[EvidenceLinker, Depends(_require_write)]
