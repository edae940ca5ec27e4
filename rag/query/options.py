"""The options of a question: where to look, how many hits, and for which user."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from rag.types import Filter, Modality, Where

# Where to look: one modality, several, or everywhere.
Modalities = Modality | Collection[Modality] | None
# A question and its answer.
Turn = tuple[str, str]


@dataclass(frozen=True, slots=True)
class QueryOptions:
    """The options of `rag.knowledge_base.KnowledgeBase.search` and `ask`, which document them.

    Attributes:
        modality: where to look.
        where: conditions on metadata, in the language of `rag.query.filters`.
        top_k: number of hits; None for the setting `top_k`.
        rerank: whether the language model judges the best candidates.
        quotas: number of hits of some modalities.
        user: whose preference orders the pictures; empty for nobody's.
        turns: earlier questions and answers, oldest first.
    """

    modality: Modalities = None
    where: Where | None = None
    top_k: int | None = None
    rerank: bool = False
    quotas: Mapping[Modality, int] | None = None
    user: str = ""
    turns: Sequence[Turn] = field(default=())

    @property
    def filter(self) -> Filter:
        """The segments that the options admit.

        Raises:
            QueryError: a modality is unknown.
        """
        modalities = [self.modality] if isinstance(self.modality, str) else self.modality or ()
        return Filter(modalities=frozenset(modalities), where=self.where or {})
