"""The examples of the README, which the tests run."""

from __future__ import annotations

import re
from pathlib import Path

README = (Path(__file__).parents[2] / "README.md").read_text("utf-8")


def example(holds: str) -> str:
    """The Python example that holds this text."""
    (found,) = (block for block in re.findall(r"```python\n(.*?)```", README, re.DOTALL) if holds in block)
    return found
