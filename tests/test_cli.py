"""The command: each subcommand once as people and programs run it, in a process of its own; the rest in this one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

from rag.cli import output
from rag.cli.doctor import examine
from rag.cli.main import app
from rag.explanation import Explanation
from rag.types import Answer, CharSpan, Citation, Evidence, FileResult, Hit, IngestReport, Segment, Verdict
from tests.fakes.command import run_exhibit
from tests.fakes.hits import passage


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    """A folder with media and a knowledge base made of it."""
    desk = tmp_path_factory.mktemp("desk")
    media = desk / "media"
    media.mkdir()
    (media / "lamp.md").write_text("# The lamp\n\nThe lamp on the north pier burns whale oil.\n")
    (media / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(20))
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0x9003] = "2024:06:01 10:00:00"
    exif.get_ifd(0x8825).update({1: "N", 2: (48.0, 51.0, 36.0), 3: "E", 4: (2.0, 21.0, 0.0)})
    Image.new("RGB", (64, 64), "teal").save(media / "teal.jpg", exif=exif)
    done = run_exhibit("ingest", "media", cwd=desk)
    assert done.returncode == 3, done.stderr  # some files could not be indexed
    assert "broken.png" in done.stdout
    assert "2 indexed" in done.stdout
    return desk


@pytest.mark.parametrize(
    "command", ["", "ingest", "plan", "search", "ask", "status", "remove", "models", "doctor", "eval", "demo"]
)
def test_every_command_has_help(command):
    done = CliRunner().invoke(app, [*command.split(), "--help"])
    assert done.exit_code == 0
    assert "Usage" in done.stdout


def test_help_imports_nothing_heavy(tmp_path):
    code = (
        "import sys; sys.argv = ['exhibit', '--help']\ntry:\n"
        " import rag.cli.main; rag.cli.main.main()\nexcept SystemExit: pass\n"
    )
    heavy = (
        "print([m for m in ('numpy', 'PIL', 'litellm', 'llama_index', 'pydantic', 'sqlalchemy') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code + heavy], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "[]"


def test_search_as_json_has_thumbnails_as_paths(desk):
    done = run_exhibit("search", "lamp", "--image", "media/teal.jpg", "--quota", "image=1", "--json", cwd=desk)
    assert done.returncode == 0, done.stderr
    hits = json.loads(done.stdout)
    assert all(
        {"score", "lanes", "matched", "against", "relevance", "least_believed", "rules"} == set(hit["why"])
        for hit in hits
    )
    (hit,) = [hit for hit in hits if hit["modality"] == "image"]
    assert Path(hit["path"]) == desk / "media" / "teal.jpg"
    assert Path(hit["thumbnail"]).exists()
    assert hit["locator"] == "#"


def test_search_for_people_explains(desk):
    done = run_exhibit("search", "what does the lamp burn", "--not", "harbour", "--to", "text", "--explain", cwd=desk)
    assert done.returncode == 0
    for expected in ("lamp.md", "whale oil", "words: lamp, burns", "believed"):
        assert expected in done.stdout


def test_places_and_times_of_photos(desk):
    near = ("search", "lamp", "--where", "near=48.86,2.35,5")
    found = run_exhibit(*near, "--where", "taken>=2024-05", "--json", cwd=desk)
    assert [Path(hit["path"]).name for hit in json.loads(found.stdout)] == ["teal.jpg"]
    assert run_exhibit(*near, "--where", "taken>=2025", cwd=desk).returncode == 4


def test_a_malformed_condition_is_wrong_usage(desk):
    assert run_exhibit("search", "lamp", "--where", "nonsense", cwd=desk).returncode == 2


def test_status_and_plan_as_json(desk):
    status = json.loads(run_exhibit("status", "--json", cwd=desk).stdout)
    assert status["assets"] == {"indexed": 2, "empty": 0, "failed": 1}
    assert [Path(file["path"]).name for file in status["failed"]] == ["broken.png"]
    plan = json.loads(run_exhibit("plan", "media", "--json", cwd=desk).stdout)
    assert {file["action"] for file in plan["files"]} == {"unchanged", "fail"}


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("EXHIBIT_COLOUR", "blue", "EXHIBIT_COLOUR"),
        ("EXHIBIT_RANKING", "boost", "ranking"),
        ("EXHIBIT_RANKING", '{"boost": 2}', "`ranking`"),
    ],
)
def test_a_wrong_setting_is_one_line(desk, name, value, expected):
    done = run_exhibit("status", cwd=desk, **{name: value})
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("exhibit: ")
    assert expected in line


def test_a_warning_is_one_line(desk, monkeypatch):
    monkeypatch.setenv("EXHIBIT_LLM", "nonsense")
    done = run_exhibit("search", "lamp", "--rerank", cwd=desk)
    assert done.returncode == 0
    (line,) = [line for line in done.stderr.splitlines() if "nonsense" in line]
    assert line.startswith("exhibit: ")


@pytest.mark.parametrize("command", [["status"], ["search", "lamp"], ["ask", "What burns?"]])
def test_no_knowledge_base_yet(tmp_path, command):
    done = run_exhibit(*command, cwd=tmp_path)
    assert done.returncode == 1
    assert "exhibit ingest" in done.stderr
    assert not (tmp_path / ".exhibit").exists()


def test_a_plan_makes_nothing(tmp_path):
    (tmp_path / "lamp.md").write_text("The lamp burns whale oil.")
    plan = json.loads(run_exhibit("plan", ".", "--json", cwd=tmp_path).stdout)
    assert [file["action"] for file in plan["files"]] == ["index"]
    assert [path.name for path in tmp_path.iterdir()] == ["lamp.md"]


def test_a_place_that_cannot_be_used_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    done = run_exhibit("ingest", ".", "--kb", "file", cwd=tmp_path)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("exhibit: ")
    assert "file" in line


def test_doctor_and_models(desk):
    done = run_exhibit("doctor", "--json", cwd=desk)
    checks = json.loads(done.stdout)
    assert {check["state"] for check in checks} <= {"good", "weak"}
    models = json.loads(run_exhibit("models", "--json", cwd=desk).stdout)
    assert {"minilm", "whisper-base", "qwen2.5-coder-1.5b-instruct"} <= {model["name"] for model in models}


def test_remove(desk):
    done = run_exhibit("remove", "media/teal.jpg", "--json", cwd=desk)
    assert [row["state"] for row in json.loads(done.stdout)["results"]] == ["removed"]


def test_doctor_shows_no_secrets(tmp_path, monkeypatch):
    for name in [name for name in os.environ if name.startswith("EXHIBIT_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("EXHIBIT_QDRANT_API_KEY", "s3cret")
    monkeypatch.setenv("EXHIBIT_CATALOG_URL", "postgresql://me:s3cret@db/exhibit")
    found = {check.name: check.detail for check in examine(tmp_path / "none")}
    assert found["settings"] == "catalog_url=postgresql://…@db/exhibit, qdrant_api_key=(set)"
    assert "EXHIBIT_TOP_K" in found["all settings"]


def test_control_characters_of_files_do_not_reach_the_terminal(capsys):
    hit = Hit(
        Segment("a", 0, "text", "passage", CharSpan(0, 9), text="a\x1b]52;c;x\x07[red]b\u202e"),
        Explanation(0.5),
        path="x.txt",
    )
    output.print_hits([hit], "")
    shown = capsys.readouterr().out
    assert "[red]b" in shown
    assert "\x1b]" not in shown
    assert "\u202e" not in shown


def test_evidence_is_printed_with_the_sentence_that_matters(capsys):
    hit = passage(
        "The kestrel is a falcon that eats. " * 9 + "It feeds on voles. " + "It is seen all over Europe. " * 9
    )
    text = "A kestrel eats voles [E1]."
    output.print_evidence(Answer("What does a kestrel eat?", text, (Citation(1, 0, 20),), (Evidence(1, hit),)))
    assert "that eats. It feeds on voles. …" in capsys.readouterr().out


def judged(verdict, **more):
    cited = (Citation(1, 0, 16, verdict),)
    return Answer(
        "What does it eat?", "It eats voles [E1].", cited, (Evidence(1, passage("It feeds on voles.")),), **more
    )


def test_doubts_stand_below_the_evidence(capsys):
    output.print_evidence(judged(Verdict("unchecked", "It has no words."), open_parts=("where it lives",)))
    shown = capsys.readouterr().out
    assert "     ? Not checked: It has no words.\n" in shown
    assert shown.startswith("Left open: where it lives\n")
    output.print_evidence(judged(Verdict("supported", quote="It feeds on voles.")))
    assert "?" not in capsys.readouterr().out


def test_reasons_and_open_parts_cannot_steer_the_terminal(capsys):
    hostile = "a\x1b]52;c;x\x07[red]b\u202e\n[bold]c"
    output.print_evidence(judged(Verdict("contradicted", hostile), open_parts=(hostile,)))
    shown = capsys.readouterr().out
    assert shown.count("[red]b") == 2
    assert not set(shown) & set("\x1b\x07\u202e")
    assert "≠ The evidence says otherwise: a" in shown


def test_files_are_named_relative_to_the_ingested_folder(tmp_path, capsys):
    found = IngestReport((FileResult(str(tmp_path / "photos" / "a.jpg"), "indexed", 1),))
    output.print_report(found, tmp_path)
    assert capsys.readouterr().out.startswith("  indexed photos/a.jpg 1 segment, ")
