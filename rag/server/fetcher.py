"""Fetches what is at an address on the public internet, and nothing from the network that the server stands in.

A name is resolve_host once, every address that it has is checked, and the connection is made to one of those very
addresses: who answers for the name cannot give another one in between (DNS rebinding). Host header and TLS keep the
name. Redirects are followed one by one, each through the same checks. No proxy is used, for it would resolve the name
itself.
"""

from __future__ import annotations

import ipaddress
import mimetypes
import shutil
import socket
import ssl
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import httpcore
import httpx

from rag.errors import MediaError, MediaTooLarge, QueryError
from rag.server.uploads import free

Resolve = Callable[[str, int], Sequence[str]]
_MOST_REDIRECTS = 5
_SILENCE_S = 15.0
_ASKED_S = 1.0  # of silence, until it is asked whether anybody still waits
_REDIRECTS = (301, 302, 303, 307, 308)
# Addresses of IPv6 that stand for one of IPv4, which may be anything: mapped, compatible, NAT64, 6to4, Teredo.
_EMBEDDING = tuple(
    ipaddress.IPv6Network(block)
    for block in ("::ffff:0:0/96", "::/96", "64:ff9b::/96", "64:ff9b:1::/48", "2002::/16", "2001::/32")
)
# Beside what is private: shared by the customers of a carrier (RFC 6598), where clouds answer with secrets, relays into
# 6to4 (RFC 7526), and what documents give as examples (RFC 9637), which Python knows of late.
_CLOSED = tuple(
    ipaddress.ip_network(block)
    for block in ("100.64.0.0/10", "192.0.0.0/24", "168.63.129.16/32", "192.88.99.0/24", "3fff::/20")
)


def is_public(address: str) -> bool:
    """Whether an address in digits is one that anybody on the internet may be asked at."""
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:  # such as one with a zone
        return False
    if not ip.is_global or ip.is_multicast or ip.is_reserved or ip.is_link_local or ip.is_unspecified or ip.is_loopback:
        return False
    if isinstance(ip, ipaddress.IPv6Address):
        return not ip.is_site_local and not any(ip in block for block in (*_EMBEDDING, *_CLOSED))
    return not any(ip in block for block in _CLOSED)


def resolve_host(host: str, port: int) -> list[str]:
    """The addresses of a name, as the system knows them; an address in digits is its own."""
    with suppress(ValueError):
        return [str(ipaddress.ip_address(host))]
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


@dataclass(frozen=True, slots=True)
class FetchLimits:
    """How much may be fetched from one address.

    Attributes:
        max_bytes: largest file.
        max_s: longest time, redirects included.
    """

    max_bytes: int
    max_s: float = 120.0


class Fetcher:
    """Fetches files from public addresses; threads may share it.

    Args:
        bounds: of one file.
        resolve: gives the addresses of a name and a port.
        network: makes connections to addresses in digits.
        tls: what certificates are checked with; the usual authorities by default.
    """

    def __init__(
        self,
        bounds: FetchLimits,
        *,
        resolve: Resolve = resolve_host,
        network: httpcore.NetworkBackend | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._bounds, self._resolve, self._tls = bounds, resolve, tls
        self._network = network or httpcore.SyncBackend()

    def check(self, url: str) -> httpx.URL:
        """The address in its parts.

        Raises:
            QueryError: it is none of the web's, or holds a password.
        """
        try:
            parsed = httpx.URL(url)
            host, port = parsed.host, parsed.port  # some names turn out to be none only here
        except (httpx.InvalidURL, ValueError, TypeError) as error:
            raise QueryError(f"`{url[:200]}` is no address: {error}.") from error
        if parsed.scheme not in ("http", "https") or not host or port not in (None, *range(1, 2**16)):
            raise QueryError(f"`{url[:200]}` is no address of the web; it begins with http:// or https://.")
        if parsed.userinfo:
            raise QueryError("An address with a name or password in it is not fetched; it would be kept.")
        return parsed

    def __call__(self, url: str, folder: Path, alive: Callable[[], None] = lambda: None) -> Path:
        """Fetch what is at an address into a folder.

        Args:
            url: of a file or a page, as it is; what a page links to is not fetched.
            folder: where the file is put, under a safe form of its own name.
            alive: called now and then; what it raises ends the work, and nothing is left of it.

        Raises:
            QueryError: the address, or one that it leads to, is not a public one of the web.
            MediaError: it cannot be reached, answers with an error, or takes too long.
            MediaTooLarge: it is larger than may be.
        """
        ends = time.monotonic() + self._bounds.max_s
        network = _PublicNetwork(self._resolve, self._network, _Deadline(ends, alive))
        parsed = self.check(url)
        with _mapped(), httpcore.ConnectionPool(ssl_context=self._tls, network_backend=network, retries=0) as pool:
            for _ in range(_MOST_REDIRECTS + 1):
                alive()
                with _asked(pool, parsed) as response:
                    if response.status not in _REDIRECTS:
                        return self._written(response, parsed, folder, alive)
                    parsed = self.check(_led_to(response, parsed))
        raise MediaError(f"It leads on to other addresses more than {_MOST_REDIRECTS} times.")

    def _written(self, response: httpcore.Response, url: httpx.URL, folder: Path, alive: Callable[[], None]) -> Path:
        if response.status != 200:
            raise MediaError(f"{url.host} answers with status {response.status}.")
        if _header(response, b"content-encoding").lower() not in ("", "identity"):
            raise MediaError(f"{url.host} sends it packed although it was asked not to.")
        length = _header(response, b"content-length")
        if length.isdecimal():
            self._check_size(int(length), folder)
        path = free(folder, _name(url, _header(response, b"content-type")))
        try:
            with path.open("xb") as file:
                for piece in response.iter_stream():
                    file.write(piece)
                    self._check_size(file.tell(), folder)
                    alive()
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        return path

    def _check_size(self, size: int, folder: Path) -> None:
        if size > self._bounds.max_bytes:
            raise MediaTooLarge(f"It is larger than {self._bounds.max_bytes / 1e6:,.0f} MB.")
        if size > shutil.disk_usage(folder).free:
            raise MediaTooLarge("The server's disk has no room for it.")


@dataclass(frozen=True, slots=True)
class _Deadline:
    """When a fetch is over, and who may end it before.

    Attributes:
        ends: by `time.monotonic`.
        alive: called now and then; what it raises ends the fetch.
    """

    ends: float
    alive: Callable[[], None]

    def left(self, timeout: float | None) -> float:
        """Seconds that may be waited for something."""
        left = self.ends - time.monotonic()
        if left <= 0:
            raise httpcore.ReadTimeout("its time is over")
        return min(left, timeout or left)


class _PublicNetwork(httpcore.NetworkBackend):
    """Connects to public addresses alone, and no longer than until a moment."""

    def __init__(self, resolve: Resolve, network: httpcore.NetworkBackend, watch: _Deadline) -> None:
        self._resolve, self._network, self._watch = resolve, network, watch

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        """Connect to an address that was checked."""
        try:
            addresses = self._resolve(host, port)
        except (OSError, UnicodeError) as error:
            raise MediaError(f"There is no {host} on the internet, or its name cannot be looked up now.") from error
        if not addresses or not all(is_public(address) for address in addresses):
            raise QueryError(f"{host} is of a private network, or of this machine; nothing is fetched from there.")
        for number, address in enumerate(addresses, 1):
            self._watch.alive()
            try:
                stream = self._network.connect_tcp(
                    address, port, self._watch.left(timeout), local_address, socket_options
                )
                return _TimedStream(stream, self._watch)
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                if number == len(addresses):
                    raise
        raise AssertionError("there is an address")


class _TimedStream(httpcore.NetworkStream):
    """A connection that ends at a moment, however slowly something still comes, or when nobody waits any more."""

    def __init__(self, stream: httpcore.NetworkStream, watch: _Deadline) -> None:
        self._stream, self._watch = stream, watch

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        silent = time.monotonic() + self._watch.left(timeout)
        while True:
            try:
                return self._stream.read(max_bytes, self._watch.left(min(_ASKED_S, timeout or _ASKED_S)))
            except httpcore.ReadTimeout:
                self._watch.alive()
                if time.monotonic() >= silent:
                    raise

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, self._watch.left(timeout))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        return _TimedStream(
            self._stream.start_tls(ssl_context, server_hostname, self._watch.left(timeout)), self._watch
        )

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


_TIMEOUTS = {"connect": _SILENCE_S, "read": _SILENCE_S, "write": _SILENCE_S, "pool": _SILENCE_S}


def _asked(pool: httpcore.ConnectionPool, url: httpx.URL) -> AbstractContextManager[httpcore.Response]:
    target = httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path)
    headers = {b"Host": url.netloc, b"User-Agent": b"exhibit", b"Accept": b"*/*", b"Accept-Encoding": b"identity"}
    headers[b"Connection"] = b"close"
    return pool.stream("GET", target, headers=list(headers.items()), extensions={"timeout": _TIMEOUTS})


def _led_to(response: httpcore.Response, url: httpx.URL) -> str:
    to = _header(response, b"location")
    try:
        return urljoin(str(url), to)
    except ValueError as error:
        raise QueryError(f"It leads on to `{to[:200]}`, which is no address.") from error


def _header(response: httpcore.Response, name: bytes) -> str:
    found = next((value for key, value in response.headers if key.lower() == name), b"")
    return found.decode("latin-1").strip()


def _name(url: httpx.URL, content_type: str) -> str:
    """The last part of an address, or its host, with an ending that fits its type where it has none."""
    name = url.path.rstrip("/").rpartition("/")[2] or url.host
    if Path(url.path).suffix:
        return name
    return name + (mimetypes.guess_extension(content_type.partition(";")[0].strip()) or "")


@contextmanager
def _mapped() -> Iterator[None]:
    """The one place where errors of the connection become Exhibit's."""
    try:
        yield
    except httpcore.TimeoutException as error:
        raise MediaError("It takes too long to answer.") from error
    except (httpcore.NetworkError, httpcore.ProtocolError, httpcore.UnsupportedProtocol) as error:
        raise MediaError(f"It cannot be fetched: {error or type(error).__name__}.") from error
