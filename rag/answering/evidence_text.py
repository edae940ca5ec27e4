"""What a language model reads of a hit: what it is, where it is, and the sentences that matter to the question.

All text from here is one line without markers or chat tokens, so that words in a file cannot pose as anything else.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from typing import TYPE_CHECKING, Any

from rag.answering.markers import plain_line
from rag.errors import MediaError
from rag.llm.base import picture_part
from rag.retrieval import moments
from rag.segments import KIND_NAMES, describe_place, file_name, place
from rag.text import Count, excerpt, halve
from rag.types import CharSpan, Hit

if TYPE_CHECKING:
    from PIL.Image import Image

    from rag.llm import LanguageModel

# Returns the pixels of a hit, or None for words and sound. May raise MediaError.
LoadPicture = Callable[[Hit], "Image | None"]

_MOST_TAGS = 5
_LEAST_TOKENS = 8
_MOST_FRAMES = 5  # of a moment
# Name, place and headings get at least these, which mostly suffice.
_HEAD_TOKENS = 16
# What a chat template adds to a message, generously.
_MESSAGE_TOKENS = 12
# What a picture of 1024 px costs: 765 tokens at OpenAI, 1,400 at Anthropic, 1,300 with Qwen-VL.
_PICTURE_TOKENS = 1500
# Of the context, for all that is counted: tokenizers of cloud models are known only roughly.
_COUNTED_SHARE = 0.8
# Credits of pictures, such as "(credit: Ann Lee/flickr, CC BY 2.0)": models take the photographer for the subject.
_CREDIT = re.compile(
    r"\s?\((?:(?:photo|image|picture|figure)\s)?(?:credits?|courtesy)\b(?:[^()]|\([^()]*\)){0,300}\)", re.I
)
_ASKS_FOR_CREDIT = re.compile(r"\b(?:credit|photographer|photographed|courtesy|licen[cs]e|copyright|took|source)", re.I)


@dataclass(frozen=True, slots=True)
class PromptPictures:
    """The pictures that a prompt may hold, for a language model that sees.

    Attributes:
        load: loads the pixels of a hit; None to show no hits.
        of_question: the question's own pictures.
    """

    load: LoadPicture | None = None
    of_question: Sequence[Image] = ()


def describe(hit: Hit, question: str, count: Count, max_tokens: int, focus: str = "") -> str:
    """Describe a hit in at most `max_tokens`: what it is, where it is, and what it says on the question.

    Where the budget is too small for that, a few words of it are included all the same. What does not fit is cut around
    `focus`, the part of the words that answers best, if that is known.
    """
    segment = hit.segment
    # Numbers of characters mean nothing to a model; headings do.
    where = file_name(hit) if isinstance(segment.locator, CharSpan) else describe_place(hit)
    heading = segment.title.partition(" › ")[2]
    head = ", ".join(part for part in (KIND_NAMES[segment.kind], where, heading) if part)
    head = next(halve(head, count, max(max_tokens - _LEAST_TOKENS, _HEAD_TOKENS)))
    if segment.kind == "moment":
        return _describe_moment(hit, head, question, count, max_tokens)
    if segment.kind in ("passage", "speech"):
        left = max(max_tokens - count(head), _LEAST_TOKENS)
        words = excerpt(_without_credits(segment.searchable_text, question), question, count, left, focus)
        return plain_line(f"{head}: {words}")
    verb = "Sounds" if segment.kind == "sound" else "Looks"
    tags = f"{verb} like: {', '.join(segment.tags[:_MOST_TAGS])}." if segment.tags else ""
    left = max(max_tokens - count(f"{head}. {tags}"), _LEAST_TOKENS)
    caption = excerpt(_without_credits(segment.caption, question), question, count, left, focus)
    left -= count(caption)
    text = excerpt(segment.text, question, count, left, focus) if left > _LEAST_TOKENS else ""
    parts = [f"{head}.", tags, caption and f"Caption: {caption}", text and f"Text in it: {text}"]
    return plain_line(" ".join(part for part in parts if part))


def _describe_moment(hit: Hit, head: str, question: str, count: Count, max_tokens: int) -> str:
    """Describe what is on screen, and at which seconds, if that is what matched; and what is said.

    "Video frames at 0:03, 0:08" makes the bundled model say Yes to unrelated moments less often, by 0.8 in log-odds,
    than a time span with the frames behind what they show.
    """
    frames = [part.segment for part in hit.parts if part.segment.kind == "frame"]
    by_looks = bool(hit.parts) and hit.parts[0].segment.kind == "frame"
    # What happens to be on screen while something is said would only distract.
    frames = sorted(frames, key=lambda frame: moments.time_span(frame).start_s)[:_MOST_FRAMES] if by_looks else []
    if frames:
        times = ", ".join(place(frame).removeprefix("frame at ") for frame in frames)
        head = f"Video frames at {times} of {file_name(hit)}"
    tags = list(dict.fromkeys(tag for frame in frames for tag in frame.tags))[:_MOST_TAGS]
    looks = f"Looks like: {', '.join(tags)}." if tags else ""
    left = max(max_tokens - count(f"{head}. {looks}"), _LEAST_TOKENS)
    on_screen = excerpt("\n".join(frame.searchable_text for frame in frames), question, count, left // 2)
    spoken = "\n".join(part.segment.searchable_text for part in hit.parts if part.segment.kind == "speech")
    speech = excerpt(spoken, question, count, max(left - count(on_screen), _LEAST_TOKENS))
    parts = [f"{head}.", looks, on_screen and f"Text in it: {on_screen}", speech and f"Said: {speech}"]
    return plain_line(" ".join(part for part in parts if part))


def _without_credits(text: str, question: str) -> str:
    return text if _ASKS_FOR_CREDIT.search(question) else _CREDIT.sub("", text)


def has_text(hit: Hit) -> bool:
    """Return whether a hit has anything to read beside its name and place: words, a caption or tags."""
    return any(part.segment.searchable_text.strip() or part.segment.tags for part in hit.parts or (hit,))


def split_budget(needs: Sequence[int], budget: int) -> list[int]:
    """Split a budget fairly: a need below an equal share leaves the rest to the others."""
    shares = [0] * len(needs)
    for left, n in enumerate(sorted(range(len(needs)), key=needs.__getitem__)):
        shares[n] = min(needs[n], budget // (len(needs) - left))
        budget -= shares[n]
    return shares


def free_tokens(messages: Sequence[Mapping[str, Any]], llm: LanguageModel, reply_tokens: int) -> int:
    """Return the tokens of the context that text messages and the reply leave free; below 0 if they are too long."""
    used = sum(llm.count_tokens(message["content"]) + _MESSAGE_TOKENS for message in messages)
    return int(llm.context_tokens * _COUNTED_SHARE) - used - reply_tokens


def add_pictures(
    messages: Sequence[Mapping[str, Any]],
    hits: Sequence[Hit],
    llm: LanguageModel,
    pictures: PromptPictures,
    *,
    reply_tokens: int,
) -> list[dict[str, Any]]:
    """Put the pictures of the hits and of the question before the words of the last message, if the model sees.

    There are as many as the context has room for; those of the question and of the best hits go first. A picture whose
    file cannot be read is left out: its description stays.
    """
    copies = [dict(message) for message in messages]
    if not llm.sees_images:
        return copies
    most = max(free_tokens(messages, llm, reply_tokens) // _PICTURE_TOKENS, 0)
    of_question = [("The picture of the question:", pixels) for pixels in pictures.of_question[:most]]
    of_hits = islice(_load_pictures(hits, pictures.load), most - len(of_question))
    parts = [({"type": "text", "text": name}, picture_part(pixels)) for name, pixels in [*of_hits, *of_question]]
    if parts:
        copies[-1]["content"] = [*chain(*parts), {"type": "text", "text": copies[-1]["content"]}]
    return copies


def _load_pictures(hits: Sequence[Hit], load: LoadPicture | None) -> Iterator[tuple[str, Image]]:
    if load is None:
        return
    for hit in hits:
        with contextlib.suppress(MediaError):
            if (pixels := load(hit)) is not None:
                yield plain_line(f"{describe_place(hit)}:"), pixels
