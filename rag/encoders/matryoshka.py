"""Shorter vectors of models trained for it: ``EXHIBIT_ENCODER=name@256`` keeps the first 256 numbers.

Kusupati et al. 2022 train a model so that a few prefixes of its vector are good vectors, too. Prefixes of other models
are not, so only the lengths that a model's own files name are accepted.
"""

from __future__ import annotations

import re

from rag.errors import SettingsError
from rag.models import Checkpoint

_KEYS = ("matryoshka_dimensions", "matryoshka_dims")


def split_dimensions(value: str) -> tuple[str, int | None]:
    """Split a setting's value into the model's name and the dimensions, or None if it names none."""
    match = re.fullmatch(r"(.+)@(\d+)", value)
    return (match.group(1), int(match.group(2))) if match else (value, None)


def trained_dimensions(checkpoint: Checkpoint) -> tuple[int, ...]:
    """Return the lengths that a checkpoint was trained for, from its configuration and its model card's results."""
    config = checkpoint.config
    nested = [value for value in config.values() if isinstance(value, dict)]
    named = [size for part in (config, *nested) for key in _KEYS for size in part.get(key) or ()]
    # sentence-transformers writes one evaluation for each prefix, as a data set called `dim_256`.
    named += re.findall(r"^\s*(?:type|name): ['\"]?dim[_ ](\d+)['\"]?\s*$", checkpoint.front_matter, re.MULTILINE)
    return tuple(sorted({int(size) for size in named}))


def choose_dimensions(checkpoint: Checkpoint, requested: int | None, full: int, setting: str) -> int:
    """Return the length of vectors to keep, for a model whose own vectors have length `full`.

    Raises:
        SettingsError: the model was not trained for the requested length.
    """
    if requested is None or requested == full:
        return full
    allowed = [size for size in trained_dimensions(checkpoint) if 0 < size < full]
    if requested in allowed:
        return requested
    which = f"it can be cut to {', '.join(map(str, allowed))}" if allowed else "it was not trained to be cut"
    raise SettingsError(
        f"`{checkpoint.name}` gives {full} dimensions, and {which}: set {setting}={checkpoint.name} for all."
    )
