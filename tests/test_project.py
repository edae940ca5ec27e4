"""What holds for the project as a whole: direction of imports, style, types, documents that do not rot."""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fakes.readme import EXAMPLES, README, example, examples

ROOT = Path(__file__).parent.parent
MODULES = sorted(
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    for package in ("rag", "ingest", "prompts")
    for path in (ROOT / package).rglob("*.py")
)
# Run by hand, with packages of their own.
SCRIPTS = (
    "rag.encoders.training",
    "rag.verification.training",
    "rag.demo.sources",
)


@pytest.mark.parametrize(
    "command", [["ruff", "check", "."], ["ruff", "format", "--check", "."], ["mypy"], ["lint-imports"]], ids=" ".join
)
def test_tools_find_nothing(command):
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_module_imports_alone():
    """One interpreter loads the packages of others, then forks for each module: a child has imported none of ours."""
    names = [name for name in MODULES if not name.startswith(SCRIPTS) and name != "rag.integrations.llamaindex"]
    command = [sys.executable, "-m", "tests.fakes.imports", *names]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.language_model
def test_the_readme_example_runs_without_a_provider_of_language_models(demo_template):
    shutil.copytree(demo_template, demo_template.with_name("museum.exhibit"))  # its files lie beside it
    program = example('KnowledgeBase.open("museum') + "\nimport sys\nprint({'litellm', 'openai'} & {*sys.modules})"
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, cwd=demo_template.parent, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "photo-04.jpg" in done.stdout
    assert "[E1]" in done.stdout
    assert done.stdout.endswith("set()\n")


def test_a_test_runs_each_example():
    assert len(examples()) == len(EXAMPLES)
    assert all(sum(words in block for block in examples()) == 1 for words in EXAMPLES)


def test_no_test_module_imports_another():
    for path in Path(__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import | ast.ImportFrom) else []
            module = node.module if isinstance(node, ast.ImportFrom) else ""
            imported = [f"{module}.{name}" for name in names] if module else names
            assert not [name for name in imported if "tests.test_" in name], path


def test_the_readme_has_the_commands_that_ci_runs():
    assert '\npip install ".[bundled]" && exhibit demo\n' in README
    assert '\npip install ".[bundled,test]" && pytest\n' in README
    assert "README.md" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")
