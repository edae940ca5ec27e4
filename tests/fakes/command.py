"""The command `exhibit`, run as people and programs run it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def run_exhibit(*arguments: str, cwd: Path | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command in a process of its own and return what it printed; variables add to the environment."""
    command = [sys.executable, "-m", "rag.cli.main", *arguments]
    variables = {**os.environ, **environment}
    return subprocess.run(command, cwd=cwd, env=variables, capture_output=True, text=True, check=False)
