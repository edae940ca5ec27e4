"""The Python examples of the README files, which the tests run."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text("utf-8")
# By these words the tests find each example; `test_project.py` checks that no example is left out.
EXAMPLES = ('KnowledgeBase.open("museum', "u-4711", "client.chat.completions")


def examples() -> list[str]:
    """Return the Python examples of all README files."""
    files = [path for part in ("rag", "ingest", "tests") for path in sorted((ROOT / part).rglob("README.md"))]
    return [block for path in [ROOT / "README.md", *files] for block in _blocks(path.read_text("utf-8"))]


def example(words: str) -> str:
    """Return the one example that holds these words."""
    assert words in EXAMPLES
    (found,) = (block for block in examples() if words in block)
    return found


def _blocks(text: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", text, re.DOTALL)
