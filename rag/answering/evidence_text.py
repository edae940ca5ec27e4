"""What a language model is shown of a hit: what it is, where it is, and the sentences that matter to the question.

Everything here is one line without markers or chat tokens, so that text in a file can pass for nothing but itself.
"""

from __future__ import annotations

import contextlib
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rag.answering.citations import neutralised, sentences
from rag.errors import MediaError
from rag.retrieval import moments
from rag.segments import place
from rag.types import CharSpan, Hit, Kind

if TYPE_CHECKING:
    from PIL.Image import Image

    from rag.llm import LanguageModel

Count = Callable[[str], int]
# The pixels of a hit; None for words and sound. May raise MediaError.
Picture = Callable[[Hit], "Image | None"]


@dataclass(frozen=True, slots=True)
class Shown:
    """What a language model that sees is given beside words: how to get a hit's pixels, and the question's pictures."""

    picture: Picture | None = None
    asked_with: Sequence[Image] = ()


NOUNS: dict[Kind, str] = {
    "passage": "Passage",
    "speech": "Speech",
    "sound": "Sound",
    "picture": "Picture",
    "figure": "Figure",
    "frame": "Video frame",
    "moment": "Video",
}
_WORD = re.compile(r"\w+")
_STEM = 4
_MOST_TAGS = 5
_LEAST_TOKENS = 8
_MOST_FRAMES = 5  # of a moment
# Name, place and headings are given these at least, which is what they mostly need.
_HEAD_TOKENS = 16
# What a chat template adds to a message, generously.
_MESSAGE_TOKENS = 12
# What a picture of 1024 px costs: 765 tokens at OpenAI, 1,400 at Anthropic, 1,300 with Qwen-VL.
_PICTURE_TOKENS = 1500
# Of the context, for all that is counted: tokenizers of cloud models are known only roughly.
_COUNTED_SHARE = 0.8


def where(hit: Hit) -> str:
    """A hit's place in words for people: ``page 3 of x.pdf``, ``0:12–0:31 of y.mp3``, ``photo.jpg``."""
    spot = place(hit.segment)
    return f"{spot} of {_name(hit)}" if spot else _name(hit)


def described(hit: Hit, question: str, count: Count, most_tokens: int) -> str:
    """A hit in words, in at most `most_tokens`: what it is, where it is, and what it says of the question.

    Where the budget is too small for that, a few words of it are given all the same.
    """
    segment = hit.segment
    # Numbers of characters mean nothing to a model; headings do.
    spot = _name(hit) if isinstance(segment.locator, CharSpan) else where(hit)
    heading = segment.title.partition(" › ")[2]
    head = ", ".join(part for part in (NOUNS[segment.kind], spot, heading) if part)
    head = next(_halved(head, count, max(most_tokens - _LEAST_TOKENS, _HEAD_TOKENS)))
    if segment.kind == "moment":
        return _described_moment(hit, head, question, count, most_tokens)
    if segment.kind in ("passage", "speech"):
        said = excerpt(segment.searchable_text, question, count, max(most_tokens - count(head), _LEAST_TOKENS))
        return plain(f"{head}: {said}")
    verb = "Sounds" if segment.kind == "sound" else "Looks"
    tags = f"{verb} like: {', '.join(segment.tags[:_MOST_TAGS])}." if segment.tags else ""
    left = max(most_tokens - count(f"{head}. {tags}"), _LEAST_TOKENS)
    caption = excerpt(segment.caption, question, count, left)
    left -= count(caption)
    text = excerpt(segment.text, question, count, left) if left > _LEAST_TOKENS else ""
    parts = [f"{head}.", tags, caption and f"Caption: {caption}", text and f"Text in it: {text}"]
    return plain(" ".join(part for part in parts if part))


def _described_moment(hit: Hit, head: str, question: str, count: Count, most_tokens: int) -> str:
    """What is on screen and at which seconds, where that is what found it; and what is said.

    "Video frames at 0:03, 0:08" has the bundled model say Yes to strangers by 0.8 in log-odds less often than a span of
    time with the frames behind what they show.
    """
    frames = [part.segment for part in hit.parts if part.segment.kind == "frame"]
    by_looks = bool(hit.parts) and hit.parts[0].segment.kind == "frame"
    # What happens to be on screen while something is said would only distract.
    frames = sorted(frames, key=lambda frame: moments.time_span(frame).start_s)[:_MOST_FRAMES] if by_looks else []
    if frames:
        times = ", ".join(place(frame).removeprefix("frame at ") for frame in frames)
        head = f"Video frames at {times} of {_name(hit)}"
    tags = list(dict.fromkeys(tag for frame in frames for tag in frame.tags))[:_MOST_TAGS]
    looks = f"Looks like: {', '.join(tags)}." if tags else ""
    left = max(most_tokens - count(f"{head}. {looks}"), _LEAST_TOKENS)
    shown = excerpt("\n".join(frame.searchable_text for frame in frames), question, count, left // 2)
    heard = "\n".join(part.segment.searchable_text for part in hit.parts if part.segment.kind == "speech")
    said = excerpt(heard, question, count, max(left - count(shown), _LEAST_TOKENS))
    parts = [f"{head}.", looks, shown and f"Text in it: {shown}", said and f"Said: {said}"]
    return plain(" ".join(part for part in parts if part))


def tells(hit: Hit) -> bool:
    """Whether there is anything to read of a hit beside its name and place: words, a caption or tags."""
    return any(part.segment.searchable_text.strip() or part.segment.tags for part in hit.parts or (hit,))


def plain(text: str) -> str:
    """A text on one line, without anything that passes for a marker or a chat token."""
    return " ".join(neutralised(text).split())


def room(messages: Sequence[Mapping[str, Any]], llm: LanguageModel, reply_tokens: int) -> int:
    """Tokens of the context that messages in words and the reply leave free; below 0 where they are too long."""
    taken = sum(llm.count_tokens(message["content"]) + _MESSAGE_TOKENS for message in messages)
    return int(llm.context_tokens * _COUNTED_SHARE) - taken - reply_tokens


def with_pictures(
    messages: Sequence[Mapping[str, Any]], hits: Sequence[Hit], llm: LanguageModel, shown: Shown, *, reply_tokens: int
) -> list[dict[str, Any]]:
    """The messages, the last with the pictures of the hits and of the question before its words, for a model that sees.

    As many as the context has room for, those of the question and of the best hits first. A picture whose file cannot
    be read is left out: its description stays.
    """
    from rag.llm.base import picture_part

    written = [dict(message) for message in messages]
    if not llm.sees_images:
        return written
    most = max(room(messages, llm, reply_tokens) // _PICTURE_TOKENS, 0)
    asked_with = [("The picture of the question:", pixels) for pixels in shown.asked_with[:most]]
    found = islice(_seen(hits, shown.picture), most - len(asked_with))
    parts = [({"type": "text", "text": name}, picture_part(pixels)) for name, pixels in [*found, *asked_with]]
    if parts:
        written[-1]["content"] = [*chain(*parts), {"type": "text", "text": written[-1]["content"]}]
    return written


def excerpt(text: str, question: str, count: Count, most_tokens: int) -> str:
    """The run of whole sentences, within `most_tokens`, that covers most of the question's words; the first of equals.

    A word counts less the more sentences hold it.
    """
    pieces = list(_pieces(text, count, most_tokens))
    sizes = [count(piece) for piece in pieces]
    if sum(sizes) <= most_tokens:
        return " ".join(pieces)
    asked = stems(question)
    held = [stems(piece) & asked for piece in pieces]
    common = Counter(stem for stems in held for stem in stems)

    def covered(run: tuple[int, int]) -> float:
        return sum(1 / common[stem] for stem in set().union(*held[run[0] : run[1]]))

    first, end = max(_runs(sizes, most_tokens), key=covered)
    return " ".join(pieces[first:end])


def stems(text: str) -> set[str]:
    """The beginnings of a text's words, which is how words are compared here: "feeds" finds "feed"."""
    return {word[:_STEM] for word in _WORD.findall(text.lower()) if len(word) > 2 or word.isdigit()}


def told(statement: str, question: str) -> set[str]:
    """Stems of what a statement tells: words of the question say nothing about where its answer stands."""
    return stems(statement) - stems(question) or stems(statement)


def shares(needs: Sequence[int], budget: int) -> list[int]:
    """A budget parted fairly: whoever needs less than an equal share leaves the rest to the others."""
    given = [0] * len(needs)
    for left, n in enumerate(sorted(range(len(needs)), key=needs.__getitem__)):
        given[n] = min(needs[n], budget // (len(needs) - left))
        budget -= given[n]
    return given


def _seen(hits: Sequence[Hit], picture: Picture | None) -> Iterator[tuple[str, Image]]:
    for hit in hits if picture else ():
        with contextlib.suppress(MediaError):
            if picture and (pixels := picture(hit)) is not None:
                yield plain(f"{where(hit)}:"), pixels


def _name(hit: Hit) -> str:
    return Path(hit.path).name or hit.segment.title or "an unnamed file"


def _runs(sizes: Sequence[int], most: int) -> list[tuple[int, int]]:
    """For each first sentence, the longest run from there that fits; at least one sentence."""
    runs = []
    for first in range(len(sizes)):
        end, total = first + 1, sizes[first]
        while end < len(sizes) and total + sizes[end] <= most:
            total += sizes[end]
            end += 1
        runs.append((first, end))
    return runs


def _pieces(text: str, count: Count, most_tokens: int) -> Iterator[str]:
    """The sentences; one over the budget is halved, at a space where there is one, until its parts fit."""
    for start, end in sentences(text):
        yield from _halved(" ".join(text[start:end].split()), count, most_tokens)


def _halved(text: str, count: Count, most_tokens: int) -> Iterator[str]:
    if len(text) < 2 or count(text) <= most_tokens:
        yield text
        return
    middle = len(text) // 2
    space = text.find(" ", middle)
    cut = space if 0 < space < len(text) - 1 else middle
    yield from _halved(text[:cut].strip(), count, most_tokens)
    yield from _halved(text[cut:].strip(), count, most_tokens)
