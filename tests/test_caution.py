"""The dial: how sure an answer must be."""

from __future__ import annotations

import pytest

from rag.config import Settings
from rag.errors import SettingsError
from rag.verification.caution import THRESHOLDS, thresholds


def test_a_stricter_setting_asks_for_more_of_everything() -> None:
    strict, balanced, bold = (THRESHOLDS[name] for name in ("strict", "balanced", "bold"))
    assert strict.relevance > balanced.relevance > bold.relevance
    assert strict.support > balanced.support > bold.support


def test_the_settings_turn_the_dial_and_may_set_the_relevance_apart() -> None:
    assert thresholds(Settings()) == THRESHOLDS["balanced"]
    assert thresholds(Settings(caution="strict")) == THRESHOLDS["strict"]
    own = thresholds(Settings(caution="bold", min_relevance=3.0))
    assert (own.relevance, own.support) == (3.0, THRESHOLDS["bold"].support)


def test_an_unknown_position_of_the_dial_is_an_error() -> None:
    with pytest.raises(SettingsError, match="caution"):
        Settings(caution="reckless")  # type: ignore[arg-type]
