"""Checks the statements of answers against the places that they cite, and orders evidence by whether it answers.

`relevance` orders the candidates of a search, and `checker` gives the verdict of a statement. Both ask `verifier`: two
small networks over `features`, trained in `training`.

`values` looks, before any model judges, for the numbers, dates, names and quotes of a statement in its evidence. Below
it, `evidence` compares them with what a passage holds; `references` marks numbers that only point somewhere; `dates`,
`quantities` (with `units` and `number_words`) and `names` (with `ordinary_words`) read values into `kinds.Value`;
`contrasts` (with `opposites`) finds denials and opposites. `pairing`, `rows` and `displaced` find values that a passage
holds beside another date, in another row, or in another sentence than the one that speaks of the same.

`rereading` hears cited seconds and reads cited pictures again, from the file itself; `narrowing` finds a statement
among words with times and lines with boxes, and compares two hearings.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rag.config import Settings

if TYPE_CHECKING:
    from rag.encoders import TextEncoder
    from rag.verification.checker import Checker

__all__ = ["load_checker"]


def load_checker(settings: Settings, text: TextEncoder) -> Checker | None:
    """Load what checks statements, or return None if the settings ask for no checks.

    Args:
        settings: of the knowledge base.
        text: its text encoder; the verifier builds on MiniLM, and loads it if this is another.
    """
    if settings.verify == "off":
        return None
    from rag.encoders.minilm import MiniLM
    from rag.errors import ModelError
    from rag.models import ensure
    from rag.verification.caution import thresholds
    from rag.verification.checker import Checker
    from rag.verification.rereading import Rereader
    from rag.verification.verifier import Verifier

    least = thresholds(settings).support
    rereader = Rereader(settings) if settings.verify == "medium" else None
    try:
        encoder = text if isinstance(text, MiniLM) else MiniLM(ensure("minilm", settings.home), settings.threads)
    except ModelError:  # its package is not installed: statements stay unchecked
        return Checker(None, rereader, least_support=least)
    return Checker(Verifier(encoder), rereader, least_support=least)
