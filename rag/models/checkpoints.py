"""Checkpoints in the hub's layout: a folder of one's own, or a repository of the hub, downloaded once into its cache.

A checkpoint is known by the bytes that decide its vectors, so a copy in a folder is the same model as the hub's.
Weights are read from safetensors alone: a pickle can run code when it is loaded.
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
# Decide vectors; each is part of the revision.
_DECISIVE = (
    *("config.json", "open_clip_config.json", "preprocessor_config.json", "processor_config.json"),
    *("tokenizer.json", "vocab.json", "vocab.txt", "merges.txt", "spiece.model", "sentencepiece.bpe.model"),
    *("modules.json", "sentence_bert_config.json", "config_sentence_transformers.json", "*_Pooling/config.json"),
    *("*_Dense/config.json", "*_Dense/model.safetensors"),
)
_OTHERS = ("tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "tokenizer.model", "README.md")
# As huggingface_hub has it; any other name is a ValueError there.
_REPOSITORY = re.compile(r"(?!.*(?:--|\.\.|\.git$))\b[\w.-]+\b/\b[\w.-]{1,96}\b", re.ASCII)
# How long the hub is waited for before it counts as unreachable; its own client would try for 23 s.
_PATIENCE_S = 5.0
_INSTALL = 'pip install "exhibit-rag[hub]"'


@dataclass(frozen=True)
class Checkpoint:
    """A model's files.

    Attributes:
        name: how the settings name it.
        folder: where its files lie.
        files: paths of those that are used, below the folder.
    """

    name: str
    folder: Path
    files: tuple[str, ...]

    @cached_property
    def revision(self) -> str:
        """SHA-256 over the names and bytes of the files that decide its vectors; reading them takes 1 s a gigabyte."""
        decisive = sorted(path for path in self.files if _matches(path, _DECISIVE) or path.endswith(".safetensors"))
        lines = [f"{_sha256(self.folder / path)}  {path}\n" for path in decisive]
        return hashlib.sha256("".join(lines).encode()).hexdigest()

    @property
    def config(self) -> dict[str, Any]:
        """Its ``config.json``, empty where it has none. Raises ModelError where that is no JSON object."""
        return self.json("config.json")

    def json(self, path: str) -> dict[str, Any]:
        """A JSON object among its files, empty where it is missing.

        Raises:
            ModelError: it is no JSON object.
        """
        found = self.value(path)
        if not isinstance(found, dict):
            raise ModelError(f"{self.folder / path} is no JSON object; get the checkpoint `{self.name}` again.")
        return found

    def value(self, path: str) -> Any:
        """The JSON value among its files, an empty object where it is missing. Raises ModelError where it is none."""
        if path not in self.files:
            return {}
        try:
            return json.loads((self.folder / path).read_text("utf-8"))
        except (OSError, ValueError) as error:
            raise ModelError(f"{self.folder / path} cannot be read: {error}. Get `{self.name}` again.") from error

    @cached_property
    def front_matter(self) -> str:
        """The head of its model card, as YAML; empty where there is none."""
        if "README.md" not in self.files:
            return ""
        text = (self.folder / "README.md").read_text("utf-8", "replace").replace("\r\n", "\n")
        head = re.match(r"---\n(.*?)\n---", text, re.DOTALL)
        return head.group(1) if head else ""

    @property
    def licence(self) -> str:
        """What its model card says, or ``unknown``."""
        found = re.search(r"^license:[ \t]*['\"]?([^\s'\"]+)", self.front_matter, re.MULTILINE)
        return found.group(1) if found else "unknown"


def resolve_checkpoint(name: str, setting: str, *, needs: Sequence[str] = ("config.json",)) -> Checkpoint:
    """The checkpoint that a setting names, downloaded where it is not on this machine yet.

    A copy in the hub's cache is used as it is, without asking the hub whether there is a newer one.

    Args:
        name: a folder, or a repository of the hub such as ``google/siglip2-base-patch16-224``.
        setting: the setting, for advice.
        needs: patterns of files without which a copy in the cache counts as incomplete; ``a|b`` for either.

    Raises:
        SettingsError: the name can be neither.
        ModelError: it cannot be had, or it has no safetensors.
    """
    folder = Path(name).expanduser()
    if folder.is_dir():
        listed = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
        return Checkpoint(name, folder, select_files(name, listed))
    if not _REPOSITORY.fullmatch(name):
        raise SettingsError(
            f"{setting}={name} is neither a folder nor a hub's `owner/model`, such as google/siglip2-base-patch16-224."
        )
    cached = _cached(name)
    if cached and all(_has(cached, need) or _is_known_to_lack(name, need) for need in needs):
        return cached
    return _downloaded(name, setting, needs)


def select_files(name: str, listed: Sequence[str]) -> tuple[str, ...]:
    """Which files of a repository are used.

    Raises:
        ModelError: none of them holds weights in safetensors.
    """
    present = sorted(listed)
    shards = [path for path in present if re.fullmatch(r"model-\d+-of-\d+\.safetensors", path)]
    if WEIGHTS in present:
        weights = [WEIGHTS]
    elif SHARDED in present and shards:
        weights = [SHARDED, *shards]
    elif OPEN_CLIP in present:
        weights = [OPEN_CLIP]
    else:
        raise ModelError(
            f"`{name}` has no model.safetensors. Weights in other files are pickles, which can run code when they are "
            "loaded; convert them (https://huggingface.co/spaces/safetensors/convert), or choose another checkpoint."
        )
    return tuple(sorted({*weights, *(path for path in present if _matches(path, (*_DECISIVE, *_OTHERS)))}))


@contextmanager
def map_hub_errors(place: str, missing: str, remedy: str) -> Iterator[None]:
    """Asks the hub; the only place where errors of huggingface_hub are mapped.

    Args:
        place: what is asked for, as the message names it.
        missing: what cannot be had otherwise.
        remedy: what to do then.

    Raises:
        ModelError: huggingface_hub is not installed, is offline, or did not get it.
    """
    try:
        from huggingface_hub import is_offline_mode
        from huggingface_hub.utils import httpx  # type: ignore[attr-defined]  # its second version has one of its own
    except ImportError as error:
        raise ModelError(f"{missing}: huggingface_hub is not installed. {remedy}") from error
    if is_offline_mode():
        raise ModelError(f"{missing}, and HF_HUB_OFFLINE forbids asking {place}. {remedy}")
    try:
        yield
    except (OSError, httpx.HTTPError) as error:
        raise ModelError(f"{missing}: {place} gave {type(error).__name__}. {remedy}") from error


def _cached(name: str) -> Checkpoint | None:
    """The newest copy in the hub's cache, or None where there is none or its weights are incomplete."""
    try:
        from huggingface_hub import try_to_load_from_cache
    except ImportError:
        return None
    paths = [try_to_load_from_cache(name, config) for config in ("config.json", "open_clip_config.json")]
    folder = next((Path(path).parent for path in paths if isinstance(path, str)), None)
    if folder is None:
        return None
    try:
        listed = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
        found = Checkpoint(name, folder, select_files(name, listed))
    except ModelError:
        return None
    shards = set(found.json(SHARDED).get("weight_map", {}).values())
    return found if shards <= set(found.files) else None


def _is_known_to_lack(name: str, need: str) -> bool:
    """Whether the hub has said of the copy in its cache that it has no such file."""
    from huggingface_hub import _CACHED_NO_EXIST, try_to_load_from_cache

    return all(try_to_load_from_cache(name, either) is _CACHED_NO_EXIST for either in need.split("|"))


def _downloaded(name: str, setting: str, needs: Sequence[str]) -> Checkpoint:
    remedy = (
        f"With a connection, `{_INSTALL}` and the name are all it takes; without one, copy the checkpoint's files "
        f"(config, processor, tokenizer, model.safetensors) into a folder and set {setting}=/path/of/it."
    )
    with map_hub_errors(f"huggingface.co/{name}", f"Checkpoint `{name}` is not on this machine", remedy):
        from huggingface_hub import HfApi, hf_hub_download, snapshot_download
        from huggingface_hub.errors import EntryNotFoundError

        info = HfApi().model_info(name, timeout=_PATIENCE_S)
        files = select_files(name, [sibling.rfilename for sibling in info.siblings or ()])
        found = Checkpoint(name, Path(snapshot_download(name, allow_patterns=list(files))), files)
        for either in (either for need in needs if not _has(found, need) for either in need.split("|")):
            with suppress(EntryNotFoundError):  # asked for so that the cache keeps the answer
                hf_hub_download(name, either, revision=info.sha)
        return found


def _has(found: Checkpoint, need: str) -> bool:
    return any(fnmatch.fnmatchcase(path, either) for path in found.files for either in need.split("|"))


def _matches(path: str, patterns: Sequence[str]) -> bool:
    return any(fnmatch.fnmatchcase(path, pattern) and path.count("/") == pattern.count("/") for pattern in patterns)


def _sha256(path: Path) -> str:
    # The hub's cache names large files by their hash.
    target = path.resolve().name
    if path.is_symlink() and re.fullmatch(r"[0-9a-f]{64}", target):
        return target
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
