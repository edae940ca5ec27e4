"""Import each of the named modules in a fork in which no other module of the project has been imported.

The packages of others are imported once, before the forks, as they take most of the time.
"""

from __future__ import annotations

import importlib
import os
import sys
import traceback
import warnings
from contextlib import suppress

_PACKAGES = ("rag", "ingest", "prompts")


def forget_project() -> None:
    """Remove the project's modules from this interpreter."""
    for name in [name for name in sys.modules if name.partition(".")[0] in _PACKAGES]:
        del sys.modules[name]


def imports_alone(name: str) -> bool:
    """Import a module in a fork; the fork reports what goes wrong."""
    child = os.fork()
    if child == 0:
        try:
            importlib.import_module(name)
        except BaseException:  # noqa: BLE001 - the fork must not go on
            print(f"{name}:", traceback.format_exc(), file=sys.stderr, flush=True)
            os._exit(1)
        os._exit(0)
    return os.waitpid(child, 0)[1] == 0


if __name__ == "__main__":
    warnings.filterwarnings("ignore", "This process .* is multi-threaded", DeprecationWarning)
    for module in sys.argv[1:]:
        with suppress(Exception):  # the fork reports it
            importlib.import_module(module)
    forget_project()
    failed = [module for module in sys.argv[1:] if not imports_alone(module)]
    sys.exit(bool(failed))
