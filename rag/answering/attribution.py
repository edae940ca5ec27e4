"""Checks by words whether a statement cites the evidence that holds it.

Small models often write the right statement and name the evidence next to the one they read. Post-hoc attribution
(Bohnet et al., 2022) looks the statement up in all the evidence. A word counts less the more evidence holds it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from rag.segments import describe_place
from rag.text import new_stems, stems
from rag.types import Hit

# Share of a statement's words that other evidence must hold beyond those that the cited one holds.
_CLEARLY = 0.5


def best_evidence(statement: str, cited: int, question: str, hits: Sequence[Hit]) -> int:
    """Return the number of the evidence to cite: the cited one, unless another clearly holds more of the words."""
    stems_of = [stems(_words(hit)) for hit in hits]
    common = Counter(stem for words in stems_of for stem in words)
    new = new_stems(statement, question)
    weights = {stem: 1 / max(common[stem], 1) for stem in new}
    shares = [sum(weights[stem] for stem in new & words) for words in stems_of]
    best = max(range(len(hits)), key=shares.__getitem__)
    clearly = _CLEARLY * sum(weights.values())
    return best + 1 if new and shares[best] - shares[cited - 1] >= clearly else cited


def _words(hit: Hit) -> str:
    segment = hit.segment
    return " ".join([segment.searchable_text, *segment.tags, segment.title, describe_place(hit)])
