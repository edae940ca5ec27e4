"""The contract of a segment index on both stores, and what is particular to each.

`EdgeIndex` is the embedded store. `ServerIndex` runs on qdrant-client's local mode always, and on a real server where
EXHIBIT_TEST_QDRANT_URL names one.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from rag.config import Settings
from rag.errors import EncoderMismatch, IndexUnavailable, KnowledgeBaseBusy, SettingsError
from rag.index import ChannelQuery, IndexedSegment, SegmentIndex, bm25, open_index
from rag.index.edge import EdgeIndex
from rag.index.server import ServerIndex, connect
from rag.types import Segment, TimeSpan
from tests.contracts.index import (
    CARDS,
    A,
    B,
    IndexContract,
    ThreadedIndexContract,
    axis,
    ids,
    passage,
)

DEAF = {name: CARDS[name] for name in ("joint", "text")}
ROOT = Path(__file__).parent.parent
_SERVER = os.environ.get("TEST_QDRANT_URL")
pytestmark = pytest.mark.filterwarnings("ignore:Payload indexes have no effect in the local Qdrant")


class TestEdge(ThreadedIndexContract):
    @pytest.fixture
    def index(self, tmp_path: Path) -> Iterator[SegmentIndex]:  # type: ignore[override]
        with EdgeIndex(tmp_path / "index", CARDS) as opened:
            yield opened

    def test_segments_survive_reopening(self, tmp_path: Path) -> None:
        with open_index(tmp_path, Settings(), CARDS) as index:
            index.upsert([IndexedSegment(passage(0, "a dog"), text=axis(0))])
        with open_index(tmp_path, Settings(), CARDS) as index:
            assert ids(self.one(index, ChannelQuery("bm25", "dog", 9))) == [(A, 0)]

    def test_acknowledged_segments_survive_a_kill(self, tmp_path: Path) -> None:
        code = (
            "import os, signal, sys; from pathlib import Path\n"
            "from rag.index.edge import EdgeIndex\n"
            "from tests.contracts.index import CARDS, IndexedSegment, axis, passage\n"
            "index = EdgeIndex(Path(sys.argv[1]), CARDS)\n"
            "for n in range(50): index.upsert([IndexedSegment(passage(n, 'dog'), text=axis(0))])\n"
            "os.kill(os.getpid(), signal.SIGKILL)"
        )
        subprocess.run([sys.executable, "-c", code, str(tmp_path)], cwd=ROOT, check=False)
        with EdgeIndex(tmp_path, CARDS) as index:
            assert [segment.ordinal for segment in index.segments_of(A)] == list(range(50))

    def test_a_half_made_collection_is_made_again(self, tmp_path: Path) -> None:
        (tmp_path / "collection.new" / "shard").mkdir(parents=True)
        (tmp_path / "collection.new" / "shard" / "edge_config.json").write_text("{")
        with EdgeIndex(tmp_path, CARDS) as index:
            assert index.count() == 0
        assert sorted(path.name for path in tmp_path.iterdir() if path.name != "lock") == ["collection"]

    def test_deleted_points_do_not_come_back(self, tmp_path: Path) -> None:
        with EdgeIndex(tmp_path, CARDS) as index:
            for asset in (A, B):
                index.upsert([IndexedSegment(passage(n, f"dog {asset}", asset), text=axis(n % 8)) for n in range(1200)])
            index.delete_assets([A])
            index.flush()
            index.upsert([IndexedSegment(passage(9999, "cat", B), text=axis(0))])
        with EdgeIndex(tmp_path, CARDS) as index:
            assert index.count() == 1201
            assert ids(self.one(index, ChannelQuery("bm25", "cats", 9))) == [(B, 9999)]

    def test_a_second_opening_names_the_holder(self, tmp_path: Path) -> None:
        code = (
            "import sys; from pathlib import Path; from rag.index.edge import EdgeIndex\n"
            "from tests.contracts.index import CARDS\n"
            "index = EdgeIndex(Path(sys.argv[1]), CARDS); print('open', flush=True); sys.stdin.read()"
        )
        holder = subprocess.Popen(
            [sys.executable, "-c", code, str(tmp_path)], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        with holder:
            assert holder.stdout is not None
            assert holder.stdin is not None
            assert holder.stdout.readline() == b"open\n"
            with pytest.raises(KnowledgeBaseBusy, match=rf"\b{holder.pid}\b.*EXHIBIT_QDRANT_URL"):
                EdgeIndex(tmp_path, CARDS)
            holder.kill()
        EdgeIndex(tmp_path, CARDS).close()  # a lock dies with its holder

    @pytest.mark.parametrize(
        "note",
        [
            "",
            "[]",
            '{"pid": 1}',
            '{"pid": "x", "command": "x", "host": "x", "since": ""}',
            '{"pid": %d, "command": "x", "host": "%s", "since": ""}',
        ],
    )
    def test_a_note_that_names_a_dead_process_is_ignored(self, tmp_path: Path, note: str) -> None:
        gone = subprocess.Popen([sys.executable, "-c", ""])
        gone.wait()
        with EdgeIndex(tmp_path, CARDS):
            (tmp_path / "owner.json").write_text(note % (gone.pid, os.uname().nodename) if "%" in note else note)
            with pytest.raises(KnowledgeBaseBusy) as caught:
                EdgeIndex(tmp_path, CARDS)
        assert not re.search(rf"\b{gone.pid}\b", str(caught.value))

    def test_on_windows_the_holder_gets_no_signal(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        with EdgeIndex(tmp_path, CARDS):
            monkeypatch.setattr(sys, "platform", "win32")
            monkeypatch.setattr(os, "kill", lambda *_: pytest.fail("there it sends Ctrl-C"))
            with pytest.raises(KnowledgeBaseBusy, match=rf"\b{os.getpid()}\b"):
                EdgeIndex(tmp_path, CARDS)
            monkeypatch.undo()

    def test_another_encoder_is_refused_with_both_names_and_advice(self, tmp_path: Path) -> None:
        EdgeIndex(tmp_path, CARDS).close()
        other = CARDS | {"joint": replace(CARDS["joint"], name="siglip", dimensions=768)}
        with pytest.raises(EncoderMismatch, match=r"`dual`.*\b8\b.*`siglip`.*\b768\b.*EXHIBIT_ENCODER=dual"):
            EdgeIndex(tmp_path, other)
        retrained = CARDS | {"text": replace(CARDS["text"], revision="r2")}
        with pytest.raises(EncoderMismatch, match=r"\br1\b.*\br2\b.*EXHIBIT_TEXT_ENCODER=words"):
            EdgeIndex(tmp_path, retrained)
        relicensed = CARDS | {"text": replace(CARDS["text"], licence="MIT")}
        EdgeIndex(tmp_path, relicensed).close()  # it gives the same vectors

    def test_a_collection_without_sounds_says_how_to_open_it(self, tmp_path: Path) -> None:
        with EdgeIndex(tmp_path, DEAF) as index:
            index.upsert([IndexedSegment(passage(0, "x"), text=axis(0))])
        with pytest.raises(EncoderMismatch, match=r"`ears`.*EXHIBIT_AUDIO_ENCODER=off"):
            EdgeIndex(tmp_path, CARDS)
        EdgeIndex(tmp_path, DEAF).close()

    def test_a_collection_with_sounds_opens_without_an_audio_encoder(self, tmp_path: Path) -> None:
        heard = Segment(A, 0, "audio", "sound", TimeSpan(0, 3))
        with EdgeIndex(tmp_path, CARDS) as index:
            index.upsert([IndexedSegment(heard, sound=axis(0))])
        with EdgeIndex(tmp_path, DEAF) as index:
            index.upsert([IndexedSegment(passage(1, "x"), text=axis(0))])
            assert index.segments_of(A) == [heard, passage(1, "x")]

    @pytest.mark.parametrize(
        ("file", "content"),
        [
            ("encoders.json", "{"),
            ("encoders.json", "{}"),
            ("encoders.json", '{"format": 1, "encoders": {"joint": {}, "text": {}}}'),
            ("shard/edge_config.json", "damaged"),
            ("shard/wal/first-index", "damaged"),
        ],
    )
    def test_a_damaged_collection_is_an_outage_with_advice(self, tmp_path: Path, file: str, content: str) -> None:
        with EdgeIndex(tmp_path, CARDS) as index:
            index.upsert([IndexedSegment(passage(0, "x"), text=axis(0))])
        (tmp_path / "collection" / file).write_text(content)
        for _ in range(2):  # the lock is let go of each time
            with pytest.raises(IndexUnavailable, match=re.escape(str(tmp_path))):
                EdgeIndex(tmp_path, CARDS)

    def test_a_panic_of_the_shard_is_an_outage_too(self, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
        with EdgeIndex(tmp_path, CARDS) as index:
            index.upsert([IndexedSegment(passage(0, "x"), text=axis(0))])
            index.flush()
        (status,) = (tmp_path / "collection" / "shard").glob("segments/*/vector_storage-text/deleted/status.dat")
        status.write_bytes(b"")
        with pytest.raises(IndexUnavailable, match=re.escape(str(tmp_path))):
            EdgeIndex(tmp_path, CARDS)

    def test_a_newer_collection_asks_for_an_upgrade(self, tmp_path: Path) -> None:
        EdgeIndex(tmp_path, CARDS).close()
        cards = tmp_path / "collection" / "encoders.json"
        cards.write_text(json.dumps(json.loads(cards.read_text()) | {"format": 99}))
        with pytest.raises(IndexUnavailable, match=re.escape(str(tmp_path))):
            EdgeIndex(tmp_path, CARDS)

    def test_a_closed_index_is_an_outage_and_not_an_empty_result(self, tmp_path: Path) -> None:
        index = EdgeIndex(tmp_path, CARDS)
        index.close()
        for work in (lambda: index.search([ChannelQuery("bm25", "dog", 1)]), index.count, index.flush):
            with pytest.raises(IndexUnavailable, match=re.escape(str(tmp_path))):
                work()
        with pytest.raises(IndexUnavailable, match=re.escape(str(tmp_path))):
            index.upsert([IndexedSegment(passage(0, "x"), text=axis(0))])

    def test_a_place_that_cannot_be_written_is_an_outage(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        with pytest.raises(IndexUnavailable, match=re.escape(str(tmp_path / "file"))):
            EdgeIndex(tmp_path / "file", CARDS)


class TestLocalMode(IndexContract):
    @pytest.fixture
    def index(self) -> Iterator[SegmentIndex]:  # type: ignore[override]
        from qdrant_client import QdrantClient

        with closing(ServerIndex(QdrantClient(":memory:"), "test", CARDS)) as opened:
            yield opened

    def test_the_cards_are_stored_with_the_collection(self, tmp_path: Path) -> None:
        from qdrant_client import QdrantClient

        client = QdrantClient(":memory:")
        ServerIndex(client, "test", CARDS)
        ServerIndex(client, "test", CARDS)
        other = CARDS | {"joint": replace(CARDS["joint"], name="siglip", dimensions=768)}
        with pytest.raises(EncoderMismatch, match="siglip"):
            ServerIndex(client, "test", other)
        client.close()

    def test_a_collection_belongs_to_one_catalog(self) -> None:
        from qdrant_client import QdrantClient

        with closing(QdrantClient(":memory:")) as client:
            ServerIndex(client, "test", CARDS, "mine")
            ServerIndex(client, "test", CARDS, "mine")
            with pytest.raises(IndexUnavailable, match="`test`"):
                ServerIndex(client, "test", CARDS, "yours")

    def test_a_collection_of_something_else_is_refused(self) -> None:
        from qdrant_client import QdrantClient, models

        client = QdrantClient(":memory:")
        client.create_collection("test", models.VectorParams(size=3, distance=models.Distance.DOT))
        with pytest.raises(IndexUnavailable, match="`test`"):
            ServerIndex(client, "test", CARDS)
        client.close()

    def test_a_point_of_something_else_is_an_outage(self) -> None:
        from qdrant_client import QdrantClient, models

        client = QdrantClient(":memory:")
        index = ServerIndex(client, "test", CARDS)
        client.upsert("test", [models.PointStruct(id=1, vector={"text": axis(0).tolist()}, payload={"a": 1})])
        with pytest.raises(IndexUnavailable, match="EXHIBIT_QDRANT_URL"):
            index.search([ChannelQuery("text", axis(0), 1)])
        index.close()


@pytest.mark.skipif(_SERVER is None, reason="EXHIBIT_TEST_QDRANT_URL is not set")
@pytest.mark.enable_socket
class TestServer(ThreadedIndexContract):
    @pytest.fixture
    def index(self) -> Iterator[SegmentIndex]:  # type: ignore[override]
        client, _ = connect(str(_SERVER), None)
        name = f"exhibit-test-{uuid.uuid4()}"
        opened = ServerIndex(client, name, CARDS)
        yield opened
        client, _ = connect(str(_SERVER), None)
        client.delete_collection(name)
        client.close()
        opened.close()


@pytest.mark.enable_socket
def test_a_server_that_is_not_there_is_an_outage() -> None:
    with pytest.raises(IndexUnavailable, match="EXHIBIT_QDRANT_URL"):
        open_index(Path(), Settings(qdrant_url="http://127.0.0.1:9?collection=media"), CARDS)


def test_the_url_names_the_collection() -> None:
    for url, expected in (("http://127.0.0.1:9", "exhibit"), ("http://127.0.0.1:9/?collection=media", "media")):
        client, collection = connect(url, None)
        client.close()
        assert collection == expected
    for url in ("localhost:6333", "http://", "http://host:port", ":memory:"):
        with pytest.raises(SettingsError, match="EXHIBIT_QDRANT_URL"):
            connect(url, None)


def test_bm25_weights_are_those_of_the_formula() -> None:
    _, (weight,) = bm25.encode_document("dog dogs")
    assert weight == pytest.approx(2 * 2.2 / (2 + 1.2 * (0.25 + 0.75 * 2 / 50)))
    assert bm25.encode_query("dog Dogs DOG")[1] == [1.0]
