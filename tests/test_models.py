"""Bundled models: joined, verified, shared between processes; fake packages and a fake hub stand in for the real."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from rag.errors import ModelError
from rag.models import MODELS, BundledModel, HubFile, ModelFile, PackagePart, bundled_model, ensure, list_states

BODY = bytes(range(256)) * 4096
NOTE = b'{"size": 1}\n'
HUB = HubFile("someone/some-model", "a" * 40, "weights.bin")


def part(number: int) -> PackagePart:
    return PackagePart(f"exhibit-fake-part{number}==1.0", f"exhibit_fake_part{number}/data/part{number}.bin")


def card(**changes: object) -> BundledModel:
    weights = ModelFile("weights.bin", len(BODY), hashlib.sha256(BODY).hexdigest(), (part(1), part(2)))
    note = ModelFile("note.json", len(NOTE), hashlib.sha256(NOTE).hexdigest(), (part(3),))
    return replace(BundledModel("fake", "text", (weights, note), "MIT", "nobody"), **changes)


def damaged(**changes: object) -> BundledModel:
    return card(files=(replace(card().files[0], **changes), card().files[1]))


def write_packages(site: Path) -> Path:
    for number, content in ((1, BODY[:300_000]), (2, BODY[300_000:]), (3, NOTE)):
        package = site / f"exhibit_fake_part{number}"
        (package / "data").mkdir(parents=True)
        (package / "__init__.py").write_text("raise SystemExit('package code must not run')")
        (package / "data" / f"part{number}.bin").write_bytes(content)
    return site


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = write_packages(tmp_path / "site")
    monkeypatch.syspath_prepend(str(folder))
    return folder


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "verified.json"}


@pytest.mark.usefixtures("site")
class TestEnsure:
    def test_joins_the_parts_in_order_into_one_folder(self, home: Path) -> None:
        folder = ensure("fake", home, table=[card()])
        assert contents(folder) == {"weights.bin": BODY, "note.json": NOTE}
        assert folder == home / "models" / f"fake-{card().revision[:12]}"

    def test_reports_bytes_up_to_all_of_them(self, home: Path) -> None:
        seen: list[tuple[int, int]] = []
        ensure("fake", home, progress=lambda done, total: seen.append((done, total)), table=[card()])
        assert seen == sorted(seen)
        assert seen[-1] == (card().bytes, card().bytes)

    def test_a_second_call_neither_reads_nor_writes(self, home: Path, site: Path) -> None:
        folder = ensure("fake", home, table=[card()])
        before = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
        (site / "exhibit_fake_part1/data/part1.bin").unlink()
        assert ensure("fake", home, table=[card()]) == folder
        assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == before

    def test_a_file_that_was_changed_is_made_again(self, home: Path) -> None:
        folder = ensure("fake", home, table=[card()])
        (folder / "weights.bin").write_bytes(b"cut short")
        assert contents(ensure("fake", home, table=[card()]))["weights.bin"] == BODY

    def test_files_copied_by_hand_are_accepted_by_their_hash(self, home: Path, site: Path) -> None:
        folder = ensure("fake", home, table=[card()])
        (folder / "verified.json").unlink()
        (site / "exhibit_fake_part1/data/part1.bin").unlink()
        assert ensure("fake", home, table=[card()]) == folder
        assert list_states(home, [card()])[0].state == "ready"

    def test_leftovers_of_a_killed_process_are_cleaned_up(self, home: Path) -> None:
        leftover = home / "models" / f"fake-{card().revision[:12]}.partial"
        leftover.mkdir(parents=True)
        (leftover / "weights.bin").write_bytes(BODY[:1000])
        folder = ensure("fake", home, table=[card()])
        assert not leftover.exists()
        assert contents(folder)["weights.bin"] == BODY

    def test_another_revision_has_another_folder(self, home: Path) -> None:
        other = card(files=card().files[:1])
        assert ensure("fake", home, table=[other]) != ensure("fake", home, table=[card()])


@pytest.mark.usefixtures("site")
class TestRefusals:
    def assert_nothing_left(self, home: Path) -> None:
        assert not [path for path in (home / "models").iterdir() if path.suffix != ".lock"]

    def test_unknown_name(self, home: Path) -> None:
        with pytest.raises(ModelError, match=r"`other`.*\bfake\b"):
            ensure("other", home, table=[card()])

    def test_wrong_hash(self, home: Path) -> None:
        with pytest.raises(ModelError, match=r"SHA-256.*exhibit-fake-part1==1\.0"):
            ensure("fake", home, table=[damaged(sha256="0" * 64)])
        self.assert_nothing_left(home)

    def test_truncated_part(self, home: Path, site: Path) -> None:
        (site / "exhibit_fake_part2/data/part2.bin").write_bytes(b"short")
        with pytest.raises(ModelError, match=r"300005 .*1048576"):
            ensure("fake", home, table=[card()])
        self.assert_nothing_left(home)

    def test_missing_part_names_the_package_to_install(self, home: Path, site: Path) -> None:
        (site / "exhibit_fake_part2/data/part2.bin").unlink()
        with pytest.raises(ModelError, match=r"exhibit-fake-part2==1\.0"):
            ensure("fake", home, table=[card()])
        self.assert_nothing_left(home)

    def test_full_disk_is_noticed_before_anything_is_written(self, home: Path) -> None:
        with pytest.raises(ModelError, match=r"\d+ MB .*EXHIBIT_HOME"):
            ensure("fake", home, table=[damaged(size=1 << 60)])
        self.assert_nothing_left(home)

    def test_home_that_cannot_be_written(self, home: Path) -> None:
        home.write_text("a file where the folder should be")
        with pytest.raises(ModelError, match="EXHIBIT_HOME"):
            ensure("fake", home, table=[card()])


def test_states_tell_ready_from_packaged_from_missing(home: Path, site: Path) -> None:
    missing = card(
        name="gone", files=(ModelFile("x.bin", 1, "0" * 64, (PackagePart("gone==1", "gone_package/x.bin"),), HUB),)
    )
    ensure("fake", home, table=[card()])
    table = [card(), card(name="fake2"), missing]
    found = {state.name: state for state in list_states(home, table)}
    assert [found[name].state for name in ("fake", "fake2", "gone")] == ["ready", "packaged", "missing"]
    assert found["fake"].path.is_dir()
    assert found["fake"].bytes == len(BODY) + len(NOTE)
    assert found["gone"].source == "pip: gone==1; hub: huggingface.co/someone/some-model/weights.bin"


def run(script: str, tmp_path: Path, **environment: str) -> subprocess.Popen[str]:
    """Start a script that sees this module as `t` and the fake packages, in a process of its own."""
    paths = os.pathsep.join([str(tmp_path / "site"), str(Path(__file__).parent), str(Path(__file__).parents[1])])
    setup = f"import test_models as t\nfrom pathlib import Path\nhome = Path({str(tmp_path / 'home')!r})\n"
    return subprocess.Popen(
        [sys.executable, "-c", setup + script],
        env={**os.environ, "PYTHONPATH": paths, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


JOIN = """
calls = []
print(t.ensure("fake", home, progress=lambda *n: calls.append(n), table=[t.card()]))
print(len(calls))
"""
DIE = (
    "import os, signal\n"
    "t.ensure('fake', home, progress=lambda *n: os.kill(os.getpid(), signal.SIGKILL), table=[t.card()])"
)
SERVE = """
import os, threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

class Hub(BaseHTTPRequestHandler):
    def do_HEAD(self):
        self.send_response(200)
        for name, value in {"ETag": '"x"', "X-Repo-Commit": "a" * 40, "Content-Length": str(len(t.BODY))}.items():
            self.send_header(name, value)
        self.end_headers()
    def do_GET(self):
        self.do_HEAD()
        self.wfile.write(t.BODY)
    def log_message(self, *args):
        pass

server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
threading.Thread(target=server.serve_forever, daemon=True).start()
os.environ["HF_ENDPOINT"] = f"http://127.0.0.1:{server.server_port}"
"""
GET = """
model = t.card(files=(t.replace(t.card().files[0], hub=t.HUB, sha256=SHA or t.card().files[0].sha256),))
try:
    folder = t.ensure("fake", home, table=[model])
    print(sorted(p.name for p in folder.iterdir()), (folder / "weights.bin").read_bytes() == t.BODY)
except t.ModelError as error:
    print(error)
"""


def test_two_processes_at_once_make_it_once(tmp_path: Path) -> None:
    write_packages(tmp_path / "site")
    processes = [run(JOIN, tmp_path) for _ in range(2)]
    outputs = [process.communicate(timeout=60)[0].split() for process in processes]
    folders, reports = zip(*outputs, strict=True)
    assert folders[0] == folders[1]
    assert contents(Path(folders[0])) == {"weights.bin": BODY, "note.json": NOTE}
    assert sorted(map(int, reports))[0] == 0


def test_the_run_after_a_kill_finishes(tmp_path: Path, site: Path, home: Path) -> None:
    process = run(DIE, tmp_path)
    process.communicate(timeout=60)
    assert process.returncode == -9
    assert list_states(home, [card()])[0].state == "packaged"
    assert contents(ensure("fake", home, table=[card()])) == {"weights.bin": BODY, "note.json": NOTE}
    assert not list((home / "models").glob("*.partial"))


def test_bytes_come_from_the_hub_where_packages_are_absent(tmp_path: Path) -> None:
    process = run("SHA = ''" + SERVE + GET, tmp_path)
    output, errors = process.communicate(timeout=60)
    assert output.strip() == "['verified.json', 'weights.bin'] True", errors


def test_other_bytes_from_the_hub_are_refused(tmp_path: Path) -> None:
    process = run("SHA = '0' * 64" + SERVE + GET, tmp_path)
    assert "000000000000" in process.communicate(timeout=60)[0]
    assert not list((tmp_path / "home" / "models").glob("fake*[!k]"))


def test_an_offline_hub_gets_no_request(tmp_path: Path) -> None:
    process = run("SHA = ''" + GET, tmp_path, HF_HUB_OFFLINE="1")
    output = process.communicate(timeout=60)[0]
    assert "HF_HUB_OFFLINE" in output
    assert "exhibit-fake-part1==1.0 exhibit-fake-part2==1.0" in output


def test_a_hub_without_the_file_is_a_model_error(tmp_path: Path) -> None:
    process = run("SHA = ''" + SERVE + "Hub.do_HEAD = lambda self: self.send_error(404)\n" + GET, tmp_path)
    assert "someone/some-model/weights.bin" in process.communicate(timeout=60)[0]


@pytest.mark.parametrize("name", ["minilm", "lite", "whisper-tiny.en"])
def test_small_bundled_models_are_what_their_cards_say(name: str, tmp_path: Path) -> None:
    folder = ensure(name, tmp_path)
    assert {path.name for path in folder.iterdir()} == {file.name for file in bundled_model(name).files} | {
        "verified.json"
    }


def test_every_bundled_model_is_installed_with_the_size_of_its_card(tmp_path: Path) -> None:
    found = list_states(tmp_path)
    assert {state.name: state.state for state in found} == dict.fromkeys((card.name for card in MODELS), "packaged")
    assert all(len(file.sha256) == 64 for card in MODELS for file in card.files)
