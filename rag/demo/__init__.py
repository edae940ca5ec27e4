"""The demo's collection and questions, which ship beside this file; `exhibit demo` ingests and asks them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
COLLECTION = HERE / "collection"


def questions() -> list[dict[str, Any]]:
    """Return the demo's questions, each with the file and the words that a right answer names."""
    rows: list[dict[str, Any]] = json.loads((HERE / "questions.json").read_text(encoding="utf-8"))
    return rows
