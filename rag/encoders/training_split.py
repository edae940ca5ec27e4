"""The split of textbook modules into training, validation and test: the one rule for training and evaluation."""

from __future__ import annotations

import hashlib
from typing import Literal

Split = Literal["test", "validation", "train"]
_TEST_BELOW, _VALIDATION_BELOW = 8, 16  # of 100


def held_out(module_id: str) -> Split:
    """Return the split of a module's figures, by a hash of its id.

    Figures of one module share their subject and often their wording, so they stay together.
    """
    share = int(hashlib.sha256(module_id.encode()).hexdigest()[:8], 16) % 100
    if share < _TEST_BELOW:
        return "test"
    return "validation" if share < _VALIDATION_BELOW else "train"
