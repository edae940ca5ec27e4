"""Checkpoints in the hub's layout: a local folder, or a repository of the hub, downloaded once into its cache.

A checkpoint is identified by the bytes that determine its vectors, so a copy in a folder is the same model as the
hub's. Weights are read from safetensors only: a pickle can run code when it is loaded.
"""

from __future__ import annotations

import fnmatch
import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from rag.errors import ModelError, SettingsError

WEIGHTS, SHARDED, OPEN_CLIP = "model.safetensors", "model.safetensors.index.json", "open_clip_model.safetensors"
# These files determine vectors; each is part of the revision.
_VECTOR_FILES = (
    *("config.json", "open_clip_config.json", "preprocessor_config.json", "processor_config.json"),
    *("tokenizer.json", "vocab.json", "vocab.txt", "merges.txt", "spiece.model", "sentencepiece.bpe.model"),
    *("modules.json", "sentence_bert_config.json", "config_sentence_transformers.json", "*_Pooling/config.json"),
    *("*_Dense/config.json", "*_Dense/model.safetensors"),
)
_OTHER_FILES = ("tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "tokenizer.model", "README.md")
# The rule of huggingface_hub, which raises ValueError for any other name.
_REPOSITORY = re.compile(r"(?!.*(?:--|\.\.|\.git$))\b[\w.-]+\b/\b[\w.-]{1,96}\b", re.ASCII)
# The hub counts as unreachable after this time; its own client would try for 23 s.
_TIMEOUT_S = 5.0
_INSTALL = 'pip install "exhibit-rag[hub]"'


@dataclass(frozen=True)
class Checkpoint:
    """A model's files.

    Attributes:
        name: its name in the settings.
        folder: the folder of its files.
        files: paths of the files in use, below the folder.
    """

    name: str
    folder: Path
    files: tuple[str, ...]

    @cached_property
    def revision(self) -> str:
        """SHA-256 over the names and bytes of the files that determine its vectors; a gigabyte takes 1 s to read."""
        paths = sorted(path for path in self.files if _matches(path, _VECTOR_FILES) or path.endswith(".safetensors"))
        lines = [f"{_sha256(self.folder / path)}  {path}\n" for path in paths]
        return hashlib.sha256("".join(lines).encode()).hexdigest()

    @property
    def config(self) -> dict[str, Any]:
        """Its ``config.json``, empty if missing. Raises ModelError if that is not a JSON object."""
        return self.json("config.json")

    def json(self, path: str) -> dict[str, Any]:
        """Return the JSON object in one of its files, empty if the file is missing.

        Raises:
            ModelError: the file is not a JSON object.
        """
        value = self.value(path)
        if not isinstance(value, dict):
            raise ModelError(f"{self.folder / path} is not a JSON object; get the checkpoint `{self.name}` again.")
        return value

    def value(self, path: str) -> Any:
        """Return the JSON value in one of its files, {} if the file is missing. Raises ModelError if it is not JSON."""
        if path not in self.files:
            return {}
        try:
            return json.loads((self.folder / path).read_text("utf-8"))
        except (OSError, ValueError) as error:
            raise ModelError(f"{self.folder / path} cannot be read: {error}. Get `{self.name}` again.") from error

    @cached_property
    def front_matter(self) -> str:
        """The YAML head of its model card; empty if there is none."""
        if "README.md" not in self.files:
            return ""
        text = (self.folder / "README.md").read_text("utf-8", "replace").replace("\r\n", "\n")
        head = re.match(r"---\n(.*?)\n---", text, re.DOTALL)
        return head.group(1) if head else ""

    @property
    def licence(self) -> str:
        """The licence on its model card, or ``unknown``."""
        match = re.search(r"^license:[ \t]*['\"]?([^\s'\"]+)", self.front_matter, re.MULTILINE)
        return match.group(1) if match else "unknown"


def resolve_checkpoint(name: str, setting: str, *, needs: Sequence[str] = ("config.json",)) -> Checkpoint:
    """Return the checkpoint that a setting names; download it if it is not on this machine.

    A copy in the hub's cache is used unchanged, without asking the hub for a newer one.

    Args:
        name: a folder, or a repository of the hub such as ``google/siglip2-base-patch16-224``.
        setting: the setting to name in error messages.
        needs: patterns of files without which a copy in the cache counts as incomplete; ``a|b`` for either.

    Raises:
        SettingsError: the name can be neither.
        ModelError: it cannot be downloaded, or it has no safetensors.
    """
    folder = Path(name).expanduser()
    if folder.is_dir():
        return _read_folder(name, folder)
    if not _REPOSITORY.fullmatch(name):
        raise SettingsError(
            f"{setting}={name} is neither a folder nor the `owner/model` of a hub. Set a name such as "
            "google/siglip2-base-patch16-224."
        )
    cached = _find_cached(name)
    if cached and all(_has(cached, need) or _is_known_to_lack(name, need) for need in needs):
        return cached
    return _download(name, setting, needs)


def select_files(name: str, paths: Sequence[str]) -> tuple[str, ...]:
    """Return the files of a repository that are used.

    Raises:
        ModelError: none of them holds weights in safetensors.
    """
    present = sorted(paths)
    shards = [path for path in present if re.fullmatch(r"model-\d+-of-\d+\.safetensors", path)]
    if WEIGHTS in present:
        weights = [WEIGHTS]
    elif SHARDED in present and shards:
        weights = [SHARDED, *shards]
    elif OPEN_CLIP in present:
        weights = [OPEN_CLIP]
    else:
        raise ModelError(
            f"`{name}` has no model.safetensors. Its other weights are pickles, which can run code when they are "
            "loaded. Convert them (https://huggingface.co/spaces/safetensors/convert), or choose another checkpoint."
        )
    return tuple(sorted({*weights, *(path for path in present if _matches(path, (*_VECTOR_FILES, *_OTHER_FILES)))}))


@contextmanager
def map_hub_errors(place: str, missing: str, remedy: str) -> Iterator[None]:
    """Map errors of a request to the hub; the only place that maps errors of huggingface_hub.

    Args:
        place: the address of the request, for the message.
        missing: a sentence that says what is missing.
        remedy: a sentence that says what to do.

    Raises:
        ModelError: huggingface_hub is not installed, is offline, or failed.
    """
    try:
        from huggingface_hub import is_offline_mode
        from huggingface_hub.utils import httpx  # type: ignore[attr-defined]  # version 2 has its own
    except ImportError as error:
        raise ModelError(f"{missing}: huggingface_hub is not installed. {remedy}") from error
    if is_offline_mode():
        raise ModelError(f"{missing}, and HF_HUB_OFFLINE forbids a request to {place}. {remedy}")
    try:
        yield
    except (OSError, httpx.HTTPError) as error:
        raise ModelError(f"{missing}: {place} failed with {type(error).__name__}. {remedy}") from error


def _read_folder(name: str, folder: Path) -> Checkpoint:
    paths = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
    return Checkpoint(name, folder, select_files(name, paths))


def _find_cached(name: str) -> Checkpoint | None:
    """Return the newest copy in the hub's cache, or None if there is none or its weights are incomplete."""
    try:
        from huggingface_hub import try_to_load_from_cache
    except ImportError:
        return None
    configs = [try_to_load_from_cache(name, config) for config in ("config.json", "open_clip_config.json")]
    folder = next((Path(path).parent for path in configs if isinstance(path, str)), None)
    if folder is None:
        return None
    try:
        cached = _read_folder(name, folder)
    except ModelError:
        return None
    shards = set(cached.json(SHARDED).get("weight_map", {}).values())
    return cached if shards <= set(cached.files) else None


def _is_known_to_lack(name: str, need: str) -> bool:
    """Return whether the hub has reported that the cached copy has no such file."""
    from huggingface_hub import _CACHED_NO_EXIST, try_to_load_from_cache

    return all(try_to_load_from_cache(name, either) is _CACHED_NO_EXIST for either in need.split("|"))


def _download(name: str, setting: str, needs: Sequence[str]) -> Checkpoint:
    remedy = (
        f"With a connection, run `{_INSTALL}`; the checkpoint is then downloaded. Without one, copy its files (config, "
        f"processor, tokenizer, model.safetensors) into a folder and set {setting}=/path/to/folder."
    )
    with map_hub_errors(f"huggingface.co/{name}", f"Checkpoint `{name}` is not on this machine", remedy):
        from huggingface_hub import HfApi, hf_hub_download, snapshot_download
        from huggingface_hub.errors import EntryNotFoundError

        info = HfApi().model_info(name, timeout=_TIMEOUT_S)
        files = select_files(name, [sibling.rfilename for sibling in info.siblings or ()])
        checkpoint = Checkpoint(name, Path(snapshot_download(name, allow_patterns=list(files))), files)
        for either in (either for need in needs if not _has(checkpoint, need) for either in need.split("|")):
            with suppress(EntryNotFoundError):  # the request makes the cache remember that the file is missing
                hf_hub_download(name, either, revision=info.sha)
        return checkpoint


def _has(checkpoint: Checkpoint, need: str) -> bool:
    return any(fnmatch.fnmatchcase(path, either) for path in checkpoint.files for either in need.split("|"))


def _matches(path: str, patterns: Sequence[str]) -> bool:
    return any(fnmatch.fnmatchcase(path, pattern) and path.count("/") == pattern.count("/") for pattern in patterns)


def _sha256(path: Path) -> str:
    # The hub's cache names large files by their hash.
    target = path.resolve().name
    if path.is_symlink() and re.fullmatch(r"[0-9a-f]{64}", target):
        return target
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
