"""Checkpoints of a hub: a server in this process that speaks the hub's protocol, asked by programs of their own."""

from __future__ import annotations

import hashlib
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rag.errors import ModelError, SettingsError
from rag.models.checkpoints import resolve_checkpoint, select_files
from tests.fakes.server import Handler, Server, running

COMMIT = "0123456789abcdef0123456789abcdef01234567"
FILES = {
    "config.json": b'{"model_type": "clip"}',
    "preprocessor_config.json": b"{}",
    "tokenizer.json": b"{}",
    "README.md": b"---\nlicense: mit\n---\n",
    "model.safetensors": b"weights " * 1000,
    "pytorch_model.bin": b"pickle",
    "onnx/model.onnx": b"onnx",
}
# Prints the outcome of one call, as each program of a user would see it.
SCRIPT = """
import json, sys, time
from huggingface_hub import HfApi, snapshot_download, try_to_load_from_cache
from rag.errors import ExhibitError
from rag.models import resolve_checkpoint
started = time.monotonic()
try:
    needs = ("config.json", "preprocessor_config.json|x.json", "modules.json")
    found = resolve_checkpoint(sys.argv[1], "EXHIBIT_ENCODER", needs=needs)
    print(json.dumps([sorted(found.files), found.revision, found.licence]))
except ExhibitError as error:
    print(json.dumps([type(error).__name__, str(error), time.monotonic() - started]))
"""


class _Handler(Handler):
    def answer(self, path: str) -> None:
        name = path.removeprefix(f"/tiny/clip/resolve/{COMMIT}/")
        if path.startswith("/api/models/tiny/clip/tree/"):
            tree = [{"type": "file", "path": file, "oid": "0", "size": len(data)} for file, data in FILES.items()]
            self.send_json(200, tree)
        elif path.startswith("/api/models/tiny/clip"):
            siblings = [{"rfilename": file} for file in FILES]
            self.send_json(200, {"id": "tiny/clip", "sha": COMMIT, "siblings": siblings, "private": False, "tags": []})
        elif name in FILES:
            etag = f'"{hashlib.sha256(FILES[name]).hexdigest()}"'
            self.send(200, FILES[name], {"ETag": etag, "X-Repo-Commit": COMMIT})
        elif name != path:
            self.send(404, b"{}", {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": COMMIT})
        else:
            self.send(404, b"{}", {"X-Error-Code": "RepoNotFound"})


@pytest.fixture
def hub() -> Iterator[Server]:
    with running(_Handler) as server:
        yield server


def resolve(name: str, endpoint: str, cache: Path, **variables: str) -> list[Any]:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("HF_")}
    environment |= {"HF_ENDPOINT": endpoint, "HF_HUB_CACHE": str(cache), "HF_HUB_DISABLE_XET": "1", **variables}
    command = [sys.executable, "-c", SCRIPT, name]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    answer: list[Any] = json.loads(done.stdout)
    return answer


@pytest.mark.allow_hosts(["127.0.0.1"])
def test_files_in_use_are_downloaded_once(hub: Server, tmp_path: Path) -> None:
    found = resolve("tiny/clip", hub.url, tmp_path / "cache")
    assert found[0] == sorted(set(FILES) - {"pytorch_model.bin", "onnx/model.onnx"})
    assert found[2] == "mit"
    assert not any("pytorch_model" in path or "onnx" in path for path in hub.requests)
    hub.requests.clear()
    assert resolve("tiny/clip", hub.url, tmp_path / "cache") == found
    assert resolve("tiny/clip", hub.url, tmp_path / "cache", HF_HUB_OFFLINE="1") == found
    assert hub.requests == []


@pytest.mark.allow_hosts(["127.0.0.1"])
def test_a_copy_in_a_folder_has_the_same_revision(hub: Server, tmp_path: Path) -> None:
    for name, data in FILES.items():
        (tmp_path / "copy" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "copy" / name).write_bytes(data)
    revision = resolve("tiny/clip", hub.url, tmp_path / "cache")[1]
    assert resolve_checkpoint(str(tmp_path / "copy"), "EXHIBIT_ENCODER").revision == revision


@pytest.mark.allow_hosts(["127.0.0.1"])
def test_a_missing_repository_is_a_model_error(hub: Server, tmp_path: Path) -> None:
    kind, said, _ = resolve("tiny/other", hub.url, tmp_path)
    assert kind == "ModelError"
    assert "RepositoryNotFoundError" in str(said)


@pytest.mark.allow_hosts(["127.0.0.1"])
def test_a_silent_hub_times_out_soon(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        kind, said, seconds = resolve("tiny/clip", f"http://127.0.0.1:{port}", tmp_path)
    assert seconds < 15  # 5.0 on an idle machine; its own client would try for 23
    assert kind == "ModelError"
    assert "EXHIBIT_ENCODER=" in str(said)


def test_offline_says_where_to_put_a_copy(tmp_path: Path) -> None:
    kind, said, _ = resolve("tiny/clip", "http://127.0.0.1:9", tmp_path, HF_HUB_OFFLINE="1")
    assert kind == "ModelError"
    assert "HF_HUB_OFFLINE" in str(said)


def test_without_the_client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(ModelError, match=r'pip install "exhibit-rag\[hub\]"'):
        resolve_checkpoint("tiny/clip", "EXHIBIT_ENCODER")


@pytest.mark.parametrize(
    "name", ["tiny/clip/deep", "../clip", "/no/such/folder", "tiny/cl ip", "tiny/a--b", "tiny/a..b", "tiny/clip.git"]
)
def test_malformed_names_are_refused(name: str) -> None:
    with pytest.raises(SettingsError, match="EXHIBIT_ENCODER"):
        resolve_checkpoint(name, "EXHIBIT_ENCODER")


class TestUsed:
    SHARDS = ("model.safetensors.index.json", "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")

    def test_large_models_come_in_parts(self) -> None:
        assert set(self.SHARDS) <= set(select_files("x", ["config.json", *self.SHARDS]))

    def test_the_hubs_layout_goes_before_openclips(self) -> None:
        both = ["config.json", "model.safetensors", "open_clip_config.json", "open_clip_model.safetensors"]
        assert "open_clip_model.safetensors" not in select_files("x", both)
        assert "open_clip_model.safetensors" in select_files("x", both[2:])

    def test_weights_of_other_parts_do_not_count(self) -> None:
        with pytest.raises(ModelError, match="safetensors/convert"):
            select_files("x", ["config.json", "pytorch_model.bin", "unet/model.safetensors", "model.fp16.safetensors"])
