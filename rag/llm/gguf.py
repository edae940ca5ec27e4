"""The tokenizer of a language model, read from its GGUF file, to count prompts as the model does."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from rag.errors import ModelError

if TYPE_CHECKING:
    from tokenizers import Tokenizer

# Value types of the GGUF specification (ggml, docs/gguf.md) as struct formats; 8 is a string, 9 an array.
_FORMATS = {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q", 12: "<d"}
_STRING, _ARRAY = 8, 9
# How Qwen2 splits text before byte-pair encoding (its tokenizer.json).
_QWEN2 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def read_tokenizer(path: Path) -> Tokenizer:
    """Read the byte-pair tokenizer of a Qwen2 model, without special tokens.

    Raises:
        ModelError: the file is not a GGUF file of a Qwen2 model.
    """
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers

    fields = read_metadata(path)
    if fields.get("tokenizer.ggml.pre") != "qwen2":
        raise ModelError(
            f"{path} has no tokenizer of the kind qwen2. Delete the file; it is assembled again on next use."
        )
    vocabulary = {token: n for n, token in enumerate(fields["tokenizer.ggml.tokens"])}
    merges = [tuple(pair.split(" ")) for pair in fields["tokenizer.ggml.merges"]]
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_QWEN2), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    return tokenizer


def read_metadata(path: Path) -> dict[str, Any]:
    """Read the key-value part of a GGUF file, version 2 or 3.

    Raises:
        ModelError: the file is not a GGUF file, or its head is damaged.
    """
    try:
        with path.open("rb") as file:
            magic, version, _, fields = struct.unpack("<4sIQQ", file.read(24))
            if magic != b"GGUF" or version not in (2, 3):
                raise ModelError(f"{path} is not a GGUF file of version 2 or 3.")
            return {_string(file): _value(file, _number(file, "<I")) for _ in range(fields)}
    except (struct.error, UnicodeDecodeError, KeyError) as error:
        raise ModelError(
            f"The head of {path} is damaged. Delete the file; it is assembled again on next use."
        ) from error


def _value(file: IO[bytes], kind: int) -> Any:
    if kind == _STRING:
        return _string(file)
    if kind == _ARRAY:
        item, length = _number(file, "<I"), _number(file, "<Q")
        return [_value(file, item) for _ in range(length)]
    return _number(file, _FORMATS[kind])


def _string(file: IO[bytes]) -> str:
    return file.read(_number(file, "<Q")).decode()


def _number(file: IO[bytes], form: str) -> Any:
    return struct.unpack(form, file.read(struct.calcsize(form)))[0]
