"""Shorter vectors of models that were trained for it: ``EXHIBIT_ENCODER=name@256`` keeps the first 256 numbers.

Kusupati et al. 2022 train a model so that each of a few prefixes of its vector is a good vector too. Prefixes of any
other model are not, so only those are given that the model's own files name.
"""

from __future__ import annotations

import re

from rag.errors import SettingsError
from rag.models import Checkpoint

_KEYS = ("matryoshka_dimensions", "matryoshka_dims")


def split(value: str) -> tuple[str, int | None]:
    """Name and dimensions of a setting's value; None where it names no dimensions."""
    found = re.fullmatch(r"(.+)@(\d+)", value)
    return (found.group(1), int(found.group(2))) if found else (value, None)


def trained(found: Checkpoint) -> tuple[int, ...]:
    """Dimensions that a checkpoint was trained for: of its configuration, or of the results on its model card."""
    config = found.config
    nested = [value for value in config.values() if isinstance(value, dict)]
    named = [size for part in (config, *nested) for key in _KEYS for size in part.get(key) or ()]
    # sentence-transformers writes one evaluation for each prefix, as a data set called `dim_256`.
    named += re.findall(r"^\s*(?:type|name): ['\"]?dim[_ ](\d+)['\"]?\s*$", found.front_matter, re.MULTILINE)
    return tuple(sorted({int(size) for size in named}))


def chosen(found: Checkpoint, asked: int | None, full: int, setting: str) -> int:
    """The length of vectors to give, of a model whose own have length `full`.

    Raises:
        SettingsError: the model was not trained for the length that is asked for.
    """
    if asked is None or asked == full:
        return full
    allowed = [size for size in trained(found) if 0 < size < full]
    if asked in allowed:
        return asked
    which = f"it can be cut to {', '.join(map(str, allowed))}" if allowed else "it was not trained to be cut"
    raise SettingsError(f"`{found.name}` gives {full} dimensions, and {which}: set {setting}={found.name} for all.")
