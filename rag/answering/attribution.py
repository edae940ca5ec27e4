"""Whether the exhibit that a statement cites is the one that holds its words, as far as words can tell.

Small models often write the right statement and name the exhibit beside the one they read: post-hoc attribution (Bohnet
et al., 2022) looks the statement up among all that was shown. A word counts less the more exhibits hold it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from rag.segments import describe_place
from rag.text import new_stems, stems
from rag.types import Hit

# Share of a statement's words that another exhibit must hold beyond those that the cited one holds.
_CLEARLY = 0.5


def holder(statement: str, cited: int, question: str, hits: Sequence[Hit]) -> int:
    """Which exhibit, from 1, a statement should cite: the cited one, unless another clearly holds more of its words."""
    held = [stems(_words(hit)) for hit in hits]
    common = Counter(stem for words in held for stem in words)
    said = new_stems(statement, question)
    weights = {stem: 1 / max(common[stem], 1) for stem in said}
    shares = [sum(weights[stem] for stem in said & words) for words in held]
    best = max(range(len(hits)), key=shares.__getitem__)
    clearly = _CLEARLY * sum(weights.values())
    return best + 1 if said and shares[best] - shares[cited - 1] >= clearly else cited


def _words(hit: Hit) -> str:
    segment = hit.segment
    return " ".join([segment.searchable_text, *segment.tags, segment.title, describe_place(hit)])
