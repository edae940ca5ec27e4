"""What holds for the project as a whole: direction of imports, style, types, documents that do not rot."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from rag.demo import HERE

ROOT = Path(__file__).parent.parent
MODULES = sorted(
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    for package in ("rag", "ingest", "prompts")
    for path in (ROOT / package).rglob("*.py")
)
# Run by hand, with packages of their own.
SCRIPTS = ("rag.encoders.training", "rag.demo.make_collection")  # run by hand, with packages of their own


@pytest.mark.parametrize(
    "command", [["ruff", "check", "."], ["ruff", "format", "--check", "."], ["mypy"], ["lint-imports"]], ids=" ".join
)
def test_tools_find_nothing(command):
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_module_imports_alone():
    code = "import importlib, sys\nfor name in sys.argv[1:]:\n    importlib.import_module(name)"
    for name in MODULES:
        if not name.startswith(SCRIPTS) and name != "rag.llamaindex":
            done = subprocess.run(
                [sys.executable, "-c", code, name], cwd=ROOT, capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, f"{name}: {done.stderr}"


def test_the_readme_example_runs(tmp_path, monkeypatch, capsys):
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    shutil.copytree(HERE / "collection", tmp_path / "media")
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "README.md", "exec"), {})
    printed = capsys.readouterr().out
    assert "photo-04.jpg" in printed
    assert "[E1]" in printed


def test_the_readme_has_the_commands_that_ci_runs():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert '\npip install ".[bundled]" && exhibit demo\n' in readme
    assert '\npip install ".[bundled,test]" && pytest\n' in readme
    assert "README.md" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")
