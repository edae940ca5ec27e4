"""What is fetched for a job comes from the public internet: nothing of the server's own network is ever touched."""

import http.server
import re
import socket
import ssl
import threading
import time
from contextlib import contextmanager

import httpcore
import pytest

from rag import KnowledgeBase
from rag.config import Settings
from rag.errors import MediaError, MediaTooLarge, QueryError
from rag.server.app import create_app
from rag.server.fetcher import Fetcher, FetchLimits, is_public
from rag.server.job_runner import JobRunner
from rag.server.job_store import JobFile, JobStore
from rag.server.state import ServerOptions
from tests.fakes.uvicorn_server import running
from tests.fakes.waiting import wait_until

PUBLIC, OTHER = "93.184.215.14", "2606:2800:21f:cb07:6820:80da:af6b:8b2c"
OK = b"HTTP/1.1 200 OK\r\nContent-Type: text/markdown\r\nContent-Length: 5\r\n\r\n# Sea"


class Wire(httpcore.NetworkStream):
    """A connection with scripted replies that records what it is sent."""

    def __init__(self, network, replies):
        self.network, self.replies = network, [replies] if isinstance(replies, bytes) else list(replies)

    def read(self, max_bytes, timeout=None):
        reply = self.replies.pop(0) if self.replies else b""
        if isinstance(reply, Exception):
            raise reply
        if len(reply) > max_bytes:
            self.replies.insert(0, reply[max_bytes:])
        self.network.waits.append(timeout)
        return reply[:max_bytes]

    def write(self, buffer, timeout=None):
        self.network.sent.append(buffer)

    def close(self):
        pass

    def start_tls(self, ssl_context, server_hostname=None, timeout=None):
        self.network.names.append(server_hostname)
        assert ssl_context.verify_mode == ssl.CERT_REQUIRED
        return self


class Network(httpcore.NetworkBackend):
    """The internet: scripted replies for each address, one connection after the other."""

    def __init__(self, **answers):
        self.answers = {address: list(replies) for address, replies in answers.items()}
        self.connected, self.sent, self.names, self.waits = [], [], [], []

    def connect_tcp(self, host, port, timeout=None, local_address=None, socket_options=None):
        self.connected.append((host, port))
        if not self.answers.get(host):
            raise httpcore.ConnectError("nobody there")
        return Wire(self, self.answers[host].pop(0))


def fetcher(network, names=None, **bounds):
    """Fetches from a network whose names have these addresses, each time the next of several."""
    known = {host: list(found) for host, found in (names or {}).items()}

    def resolve(host, port):
        if host not in known:
            raise socket.gaierror("no such name")
        found = known[host]
        return found.pop(0) if len(found) > 1 else found[0]

    return Fetcher(FetchLimits(**{"max_bytes": 1000, **bounds}), resolve=resolve, network=network)


def redirect(to, status=302):
    return f"HTTP/1.1 {status} Found\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n".encode()


@pytest.mark.parametrize("address", [PUBLIC, OTHER, "1.1.1.1", "8.8.8.8", "2a00:1450:4001:80b::200e"])
def test_addresses_of_the_internet_are_public(address):
    assert is_public(address)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "127.8.8.8",
        "0.0.0.0",
        "0.1.2.3",
        "10.1.2.3",
        "172.16.0.1",
        "172.31.255.255",
        "192.168.1.1",
        "169.254.169.254",  # where clouds answer with secrets
        "168.63.129.16",
        "100.64.0.1",
        "192.0.0.170",
        "192.0.2.1",
        "198.18.0.1",
        "198.51.100.1",
        "203.0.113.1",
        "224.0.0.1",
        "239.255.255.250",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::127.0.0.1",
        "::ffff:127.0.0.1",
        "::ffff:93.184.215.14",  # mapped ones are never needed
        "::ffff:0:127.0.0.1",
        "64:ff9b::7f00:1",
        "64:ff9b:1::a00:1",
        "2002:7f00:1::",
        "2001:0:53aa:64c:0:0:80ff:fffe",
        "2001:db8::1",
        "3fff::1",
        "192.88.99.1",
        "fe80::1",
        "fe80::1%eth0",
        "fec0::1",
        "fc00::1",
        "fd00:ec2::254",
        "ff02::1",
        "100::1",
        "localhost",
        "",
    ],
)
def test_special_addresses_are_not_public(address):
    assert not is_public(address)


def test_a_file_is_fetched_from_the_address_that_was_checked(tmp_path):
    network = Network(**{PUBLIC: [OK]})
    file = fetcher(network, {"sea.example": [[PUBLIC]]})("http://sea.example:8080/notes/sea.md?x=1#y", tmp_path)
    assert (file.name, file.read_text()) == ("sea.md", "# Sea")
    assert network.connected == [(PUBLIC, 8080)]
    sent = b"".join(network.sent)
    assert sent.startswith(b"GET /notes/sea.md?x=1 HTTP/1.1\r\n")
    assert b"Host: sea.example:8080\r\n" in sent
    assert b"Accept-Encoding: identity\r\n" in sent


def test_tls_keeps_the_name_and_the_address_stays_the_checked_one(tmp_path):
    network = Network(**{PUBLIC: [OK]})
    names = {"sea.example": [[PUBLIC], ["127.0.0.1"]]}  # a second look would be told another address
    assert fetcher(network, names)("https://sea.example/sea.md", tmp_path).exists()
    assert network.connected == [(PUBLIC, 443)]
    assert network.names == ["sea.example"]


def test_the_next_address_is_tried_where_one_does_not_answer(tmp_path):
    network = Network(**{OTHER: [OK]})
    assert fetcher(network, {"sea.example": [[PUBLIC, OTHER]]})("http://sea.example/a.md", tmp_path).exists()
    assert [address for address, _ in network.connected] == [PUBLIC, OTHER]
    with pytest.raises(MediaError, match=r"sea\.example"):
        fetcher(Network(), {"sea.example": [[PUBLIC, OTHER]]})("http://sea.example/a.md", tmp_path)


@pytest.mark.parametrize("addresses", [["10.0.0.5"], [PUBLIC, "127.0.0.1"], ["::ffff:10.0.0.1"], []])
def test_a_name_with_an_address_that_is_not_public_is_never_connected_to(tmp_path, addresses):
    network = Network(**{PUBLIC: [OK], "10.0.0.5": [OK], "127.0.0.1": [OK]})
    with pytest.raises(QueryError, match=r"^inside\.example "):
        fetcher(network, {"inside.example": [addresses]})("http://inside.example/a.md", tmp_path)
    assert network.connected == []
    assert list(tmp_path.iterdir()) == []


def test_redirects_are_followed_and_each_is_checked(tmp_path):
    network = Network(**{PUBLIC: [redirect("/moved", 301), redirect("https://b.example/c.md", 307)], OTHER: [OK]})
    names = {"a.example": [[PUBLIC]], "b.example": [[OTHER]]}
    assert fetcher(network, names)("http://a.example/x", tmp_path).name == "c.md"
    assert network.connected == [(PUBLIC, 80), (PUBLIC, 80), (OTHER, 443)]


@pytest.mark.parametrize(
    ("to", "error", "match"),
    [
        ("http://127.0.0.1/admin", QueryError, r"^127\.0\.0\.1 "),
        ("http://[::1]:6333/", QueryError, "^::1 "),
        ("http://inside.example/", QueryError, r"^inside\.example "),
        ("http://a.example/", QueryError, r"^a\.example "),  # the same name has another address now
        ("file:///etc/passwd", QueryError, "`file:///etc/passwd`.*http://"),
        ("gopher://a.example/", QueryError, "`gopher://a.example/`.*http://"),
        ("http://xn--/", QueryError, "`http://xn--/`"),
        ("http://[", QueryError, r"`http://\[`"),
        ("http://me:secret@a.example/", QueryError, "password"),
        ("http://nowhere.example/", MediaError, r"nowhere\.example"),
    ],
)
def test_a_redirect_to_a_forbidden_address_is_refused(tmp_path, to, error, match):
    network = Network(**{PUBLIC: [redirect(to)], "127.0.0.1": [OK], "10.0.0.5": [OK]})
    names = {
        "a.example": [[PUBLIC], ["10.0.0.5"]],
        "inside.example": [["10.0.0.5"]],
        "127.0.0.1": [["127.0.0.1"]],
        "::1": [["::1"]],
    }
    with pytest.raises(error, match=match):
        fetcher(network, names)("http://a.example/", tmp_path)
    assert len(network.connected) == 1
    assert list(tmp_path.iterdir()) == []


def test_the_number_of_redirects_is_bounded(tmp_path):
    network = Network(**{PUBLIC: [redirect("/again")] * 10})
    with pytest.raises(MediaError, match=r"\b5\b"):
        fetcher(network, {"a.example": [[PUBLIC]]})("http://a.example/", tmp_path)
    assert len(network.connected) == 6


@pytest.mark.parametrize(
    ("reply", "error", "match"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1001\r\n\r\n" + b"x" * 1001, MediaTooLarge, None),
        (b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 1001, MediaTooLarge, None),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"fff\r\n" + b"x" * 4095, MediaTooLarge, None),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhalf", MediaError, None),
        (b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\nx", MediaError, None),
        (b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nx", MediaError, None),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 5\r\n\r\nx", MediaError, None),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 200_000, MediaError, None),
        (b"HTTP/1.1 404 Not Found\r\n\r\n", MediaError, "404"),
        (b"HTTP/1.1 206 Partial\r\n\r\n", MediaError, "206"),
        (b"HTTP/1.1 302 Found\r\n\r\n", MediaError, r"\b5\b"),
        (b"SSH-2.0-OpenSSH\r\n", MediaError, None),
        ([httpcore.ReadError("reset")], MediaError, "reset"),
    ],
)
def test_a_malformed_response_is_an_error_and_leaves_no_file(tmp_path, reply, error, match):
    network = Network(**{PUBLIC: [reply] * 6})
    with pytest.raises(error, match=match):
        fetcher(network, {"a.example": [[PUBLIC]]})("http://a.example/x.md", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_slow_server_is_dropped_after_the_time_limit(tmp_path):
    network = Network(**{PUBLIC: [[b"HTTP/1.1 200 OK\r\n\r\n", *[b"x"] * 900]]})
    slow = fetcher(network, {"a.example": [[PUBLIC]]}, max_s=0.05)
    with pytest.raises(MediaError, match=r"a\.example"):
        slow("http://a.example/x.md", tmp_path, lambda: time.sleep(0.01))
    assert all(wait <= 0.05 for wait in network.waits)
    assert list(tmp_path.iterdir()) == []


class Silent(httpcore.NetworkBackend):
    """Connections on which nothing comes."""

    class Wire(Wire):
        def read(self, max_bytes, timeout=None):
            self.network.waits.append(timeout)
            raise httpcore.ReadTimeout

    def __init__(self):
        self.sent, self.waits = [], []

    def connect_tcp(self, *_, **__):
        return self.Wire(self, [])


def test_a_silent_server_is_dropped_after_the_time_limit(tmp_path):
    silent = fetcher(Silent(), {"a.example": [[PUBLIC]]}, max_s=0.05)
    with pytest.raises(MediaError, match=r"a\.example"):
        silent("http://a.example/x.md", tmp_path)


def test_a_silent_server_is_dropped_when_the_job_is_cancelled(tmp_path):
    network, calls = Silent(), []

    def alive():
        calls.append(1)
        if len(calls) == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetcher(network, {"a.example": [[PUBLIC]]})("http://a.example/x.md", tmp_path, alive)
    assert max(network.waits) <= 1.0


def test_a_download_can_be_cancelled(tmp_path):
    network = Network(**{PUBLIC: [[b"HTTP/1.1 200 OK\r\n\r\n", *[b"x"] * 900]]})
    calls = []

    def alive():
        calls.append(1)
        if len(calls) == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetcher(network, {"a.example": [[PUBLIC]]})("http://a.example/x.md", tmp_path, alive)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("http://a.example/", "a.example"),
        ("http://a.example/bees", "bees.md"),
        ("http://a.example/..%2f..%2fetc/passwd", "passwd.md"),
        ("http://a.example/%2e%2e%2fhidden.txt", "hidden.txt"),
        ("http://a.example/caf%C3%A9.txt", "café.txt"),
    ],
)
def test_a_fetched_file_has_a_safe_name(tmp_path, url, name):
    network = Network(**{PUBLIC: [OK]})
    file = fetcher(network, {"a.example": [[PUBLIC]]})(url, tmp_path)
    assert file.parent == tmp_path
    assert file.name in (name, f"{name}.md")


@pytest.mark.parametrize(
    "url",
    [
        "ftp://a.example/x",
        "//a.example/x",
        "a.example",
        "http://",
        "http:///x",
        "http://a.example:99999/",
        "http://a.example:0/",
        "http://xn--/",
        "\0",
    ],
)
def test_a_malformed_url_is_refused_at_once(url):
    with pytest.raises(QueryError, match=re.escape(f"`{url}`")):
        Fetcher(FetchLimits(1000)).check(url)


@contextmanager
def listening(host):
    """A real server on this machine that says what it was asked."""
    asked = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"secret")

        def log_message(self, *args):
            pass

    with http.server.ThreadingHTTPServer((host, 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_address[1], asked
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.enable_socket
@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "2130706433", "0x7f.1", "0177.0.0.1", "127.1", "0", "[::1]"]
)
def test_a_real_server_of_this_machine_is_not_reached_under_any_name(tmp_path, host):
    with listening("127.0.0.1") as (port, asked):
        with pytest.raises((QueryError, MediaError)):
            Fetcher(FetchLimits(1000))(f"http://{host}:{port}/x", tmp_path)
        assert asked == []


@pytest.mark.enable_socket
def test_the_same_server_would_be_reached_if_it_were_public(tmp_path):
    with listening("127.0.0.1") as (port, asked):

        class Here(httpcore.SyncBackend):
            def connect_tcp(self, host, port, *more):
                assert host == PUBLIC
                return super().connect_tcp("127.0.0.1", port, *more)

        found = Fetcher(FetchLimits(1000), resolve=lambda host, port: [PUBLIC], network=Here())
        assert found(f"http://a.example:{port}/x", tmp_path).read_bytes() == b"secret"
        assert asked == ["/x"]


def test_a_job_indexes_fetched_files_and_reports_the_others(tmp_path):
    network = Network(**{PUBLIC: [OK]})
    names = {"sea.example": [[PUBLIC]], "inside.example": [["10.0.0.5"]]}
    jobs = JobStore(tmp_path / "jobs.db")
    with KnowledgeBase.open(tmp_path / "museum", Settings(ocr="off")) as base:
        runner = JobRunner(jobs, {"museum": base}, fetcher(network, names))
        runner.start()
        urls = ["http://sea.example/sea.md", "http://inside.example/secret"]
        job = jobs.add("museum", [JobFile(n, url, url=url) for n, url in enumerate(urls)])
        runner.queue("museum")
        found = wait_until(lambda: jobs.get(job), lambda found: found.is_over)
        runner.stop()
        assert found.state == "done"
        assert [item.state for item in found.files] == ["indexed", "failed"]
        assert "inside.example" in found.files[1].reason
        (asset,) = base.contents.assets()
        assert asset.path.read_text() == "# Sea"
        assert asset.path.is_relative_to(base.path / "uploads" / job)
    jobs.close()


def test_urls_are_accepted_only_with_the_option(tmp_path):
    settings = Settings(ocr="off", llm="openai/none", rerank_top_n=0)
    sent = {"urls": ["http://127.0.0.1/a", "http://127.0.0.1/a"]}
    path = "/api/bases/museum/urls"
    for allowed in (False, True):
        options = ServerOptions(tmp_path / "state", is_open=True, allow_urls=allowed)
        with running(create_app([tmp_path / "museum"], options, settings=settings), tmp_path) as server:
            http = server.http()
            answer = http.post(path, json=sent)
            if not allowed:
                assert answer.status_code == 403
                assert "--allow-urls" in answer.json()["detail"]
                continue
            with http.stream("GET", f"/api/jobs/{answer.json()['job']}/events") as events:
                assert "failed" in list(events.iter_lines())[-2]
            assert http.get(f"/api/jobs/{answer.json()['job']}").json()["total"] == 1
            assert http.post(path, json={"urls": ["file:///etc/passwd"]}).status_code == 400
