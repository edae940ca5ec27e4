"""Evidence as the verifier reads it."""

from __future__ import annotations

from rag.segments import file_name
from rag.types import Hit
from rag.verification.verifier import EvidencePassage


def passage_of(hit: Hit) -> EvidencePassage:
    """Return the words of a hit, and those above them: headings and the name of the file."""
    return EvidencePassage(hit.segment.searchable_text, f"{hit.segment.title} {file_name(hit)}")
