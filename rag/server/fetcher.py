"""Fetches files from the public internet, and nothing from the network that the server stands in.

Each host name is resolved once. All its addresses are checked, and the connection goes to one of exactly these, so that
its name server cannot return another one in between (DNS rebinding). Host header and TLS keep the name. Redirects are
followed one by one, each through the same checks. No proxy is used, because it would resolve the name itself.
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
from rag.server.uploads import unused_path

Resolve = Callable[[str, int], Sequence[str]]
_MAX_REDIRECTS = 5
_SILENCE_S = 15.0
_CHECK_S = 1.0  # of silence, then the caller's `alive` is called
_REDIRECTS = (301, 302, 303, 307, 308)
# IPv6 addresses that contain an IPv4 address, which may be any: mapped, compatible, NAT64, 6to4, Teredo.
_EMBEDDED_IPV4 = tuple(
    ipaddress.IPv6Network(block)
    for block in ("::ffff:0:0/96", "::/96", "64:ff9b::/96", "64:ff9b:1::/48", "2002::/16", "2001::/32")
)
# Besides private networks: networks shared by a carrier's customers (RFC 6598), addresses where clouds serve secrets,
# 6to4 relays (RFC 7526), and addresses for examples in documents (RFC 9637), which only new Python versions know.
_BLOCKED = tuple(
    ipaddress.ip_network(block)
    for block in ("100.64.0.0/10", "192.0.0.0/24", "168.63.129.16/32", "192.88.99.0/24", "3fff::/20")
)


def is_public(address: str) -> bool:
    """Return whether a numeric address is a public one on the internet."""
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:  # for example with a zone
        return False
    if not ip.is_global or ip.is_multicast or ip.is_reserved or ip.is_link_local or ip.is_unspecified or ip.is_loopback:
        return False
    if isinstance(ip, ipaddress.IPv6Address):
        return not ip.is_site_local and not any(ip in block for block in (*_EMBEDDED_IPV4, *_BLOCKED))
    return not any(ip in block for block in _BLOCKED)


def resolve_host(host: str, port: int) -> list[str]:
    """Return the numeric addresses of a host name, from the system. A numeric address is returned as it is."""
    with suppress(ValueError):
        return [str(ipaddress.ip_address(host))]
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


@dataclass(frozen=True, slots=True)
class FetchLimits:
    """Limits of one fetch.

    Attributes:
        max_bytes: largest file.
        max_s: longest time, redirects included.
    """

    max_bytes: int
    max_s: float = 120.0


class Fetcher:
    """Fetches files from public addresses. Threads may share it.

    Args:
        limits: limits of one fetch.
        resolve: returns the numeric addresses of a host name and a port.
        network: connects to numeric addresses.
        tls: checks certificates; by default against the usual authorities.
    """

    def __init__(
        self,
        limits: FetchLimits,
        *,
        resolve: Resolve = resolve_host,
        network: httpcore.NetworkBackend | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._limits, self._resolve, self._tls = limits, resolve, tls
        self._network = network or httpcore.SyncBackend()

    def check(self, url: str) -> httpx.URL:
        """Parse an address.

        Raises:
            QueryError: it is not a web address, or contains a password.
        """
        try:
            parsed = httpx.URL(url)
            host, port = parsed.host, parsed.port  # some invalid names fail only here
        except (httpx.InvalidURL, ValueError, TypeError) as error:
            raise QueryError(f"`{url[:200]}` is not an address: {error}.") from error
        if parsed.scheme not in ("http", "https") or not host or port not in (None, *range(1, 2**16)):
            raise QueryError(f"`{url[:200]}` is not a web address; use http:// or https://.")
        if parsed.userinfo:
            raise QueryError("An address with a user name or password is not fetched, because the address is stored.")
        return parsed

    def __call__(self, url: str, folder: Path, alive: Callable[[], None] = lambda: None) -> Path:
        """Fetch a file into a folder.

        Args:
            url: address of a file or a page. Links in a page are not followed.
            folder: folder for the file, which gets a safe form of its own name.
            alive: called now and then. If it raises, the fetch ends and leaves nothing.

        Raises:
            QueryError: the address, or a redirect, is not a public web address.
            MediaError: it is unreachable, returns an error, or takes too long.
            MediaTooLarge: the file is too large.
        """
        ends = time.monotonic() + self._limits.max_s
        network = _PublicNetwork(self._resolve, self._network, _Deadline(ends, alive))
        parsed = self.check(url)
        with (
            _map_errors(parsed.host),
            httpcore.ConnectionPool(ssl_context=self._tls, network_backend=network, retries=0) as pool,
        ):
            for _ in range(_MAX_REDIRECTS + 1):
                alive()
                with _request(pool, parsed) as response:
                    if response.status not in _REDIRECTS:
                        return self._save(response, parsed, folder, alive)
                    parsed = self.check(_redirect_target(response, parsed))
        raise MediaError(f"Too many redirects (limit {_MAX_REDIRECTS}).")

    def _save(self, response: httpcore.Response, url: httpx.URL, folder: Path, alive: Callable[[], None]) -> Path:
        if response.status != 200:
            raise MediaError(f"{url.host} returned status {response.status}.")
        if _header(response, b"content-encoding").lower() not in ("", "identity"):
            raise MediaError(f"{url.host} returned compressed content.")
        length = _header(response, b"content-length")
        if length.isdecimal():
            self._check_size(int(length), folder)
        path = unused_path(folder, _file_name(url, _header(response, b"content-type")))
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
        if size > self._limits.max_bytes:
            raise MediaTooLarge(f"The file is larger than {self._limits.max_bytes / 1e6:,.0f} MB.")
        if size > shutil.disk_usage(folder).free:
            raise MediaTooLarge("The server's disk is full.")


@dataclass(frozen=True, slots=True)
class _Deadline:
    """The end of a fetch, and a callback that may end it earlier.

    Attributes:
        ends: when it ends, by `time.monotonic`.
        alive: called now and then; may raise to end the fetch.
    """

    ends: float
    alive: Callable[[], None]

    def left(self, timeout: float | None) -> float:
        """Return the seconds that one operation may take."""
        left = self.ends - time.monotonic()
        if left <= 0:
            raise httpcore.ReadTimeout("the time limit of the fetch is reached")
        return min(left, timeout or left)


class _PublicNetwork(httpcore.NetworkBackend):
    """Connects only to public addresses, and only until the deadline."""

    def __init__(self, resolve: Resolve, network: httpcore.NetworkBackend, deadline: _Deadline) -> None:
        self._resolve, self._network, self._deadline = resolve, network, deadline

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        """Connect to a host if all its addresses are public."""
        try:
            addresses = self._resolve(host, port)
        except (OSError, UnicodeError) as error:
            raise MediaError(f"The name {host} cannot be resolved.") from error
        if not addresses or not all(is_public(address) for address in addresses):
            raise QueryError(f"{host} is in a private network or on this machine; only public addresses are fetched.")
        for number, address in enumerate(addresses, 1):
            self._deadline.alive()
            try:
                stream = self._network.connect_tcp(
                    address, port, self._deadline.left(timeout), local_address, socket_options
                )
                return _TimedStream(stream, self._deadline)
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                if number == len(addresses):
                    raise
        raise AssertionError("there is an address")


class _TimedStream(httpcore.NetworkStream):
    """A connection that ends at the deadline, however slowly data arrives, or when `alive` raises."""

    def __init__(self, stream: httpcore.NetworkStream, deadline: _Deadline) -> None:
        self._stream, self._deadline = stream, deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        silent = time.monotonic() + self._deadline.left(timeout)
        while True:
            try:
                return self._stream.read(max_bytes, self._deadline.left(min(_CHECK_S, timeout or _CHECK_S)))
            except httpcore.ReadTimeout:
                self._deadline.alive()
                if time.monotonic() >= silent:
                    raise

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, self._deadline.left(timeout))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        return _TimedStream(
            self._stream.start_tls(ssl_context, server_hostname, self._deadline.left(timeout)), self._deadline
        )

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


_TIMEOUTS = {"connect": _SILENCE_S, "read": _SILENCE_S, "write": _SILENCE_S, "pool": _SILENCE_S}


def _request(pool: httpcore.ConnectionPool, url: httpx.URL) -> AbstractContextManager[httpcore.Response]:
    target = httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path)
    headers = {b"Host": url.netloc, b"User-Agent": b"exhibit", b"Accept": b"*/*", b"Accept-Encoding": b"identity"}
    headers[b"Connection"] = b"close"
    return pool.stream("GET", target, headers=list(headers.items()), extensions={"timeout": _TIMEOUTS})


def _redirect_target(response: httpcore.Response, url: httpx.URL) -> str:
    to = _header(response, b"location")
    try:
        return urljoin(str(url), to)
    except ValueError as error:
        raise QueryError(f"The redirect to `{to[:200]}` is not an address.") from error


def _header(response: httpcore.Response, name: bytes) -> str:
    value = next((value for key, value in response.headers if key.lower() == name), b"")
    return value.decode("latin-1").strip()


def _file_name(url: httpx.URL, content_type: str) -> str:
    """Return the last part of an address, or its host. If it has no suffix, one for its type is added."""
    name = url.path.rstrip("/").rpartition("/")[2] or url.host
    if Path(url.path).suffix:
        return name
    return name + (mimetypes.guess_extension(content_type.partition(";")[0].strip()) or "")


@contextmanager
def _map_errors(host: str) -> Iterator[None]:
    """Turn connection errors into Exhibit's."""
    try:
        yield
    except httpcore.TimeoutException as error:
        raise MediaError(f"{host} took too long to answer.") from error
    except (httpcore.NetworkError, httpcore.ProtocolError, httpcore.UnsupportedProtocol) as error:
        raise MediaError(f"{host} cannot be reached: {error or type(error).__name__}.") from error
