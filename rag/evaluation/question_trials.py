"""Measure a knowledge base on questions: its search before and after reranking, and what it declines."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from rag.errors import LLMUnavailable, MediaError, QueryError
from rag.evaluation.labelled_questions import Question
from rag.evaluation.metrics import intervals
from rag.evaluation.perturb import VARIANTS, Variant
from rag.evaluation.results import (
    DECLINED,
    PLAIN,
    SHOWN,
    ChannelDistributions,
    EvalOptions,
    JudgedQuery,
    ScoreRow,
    Trial,
    judge,
)
from rag.evaluation.retrieval_sets import Item
from rag.segments import from_fragment, to_fragment
from rag.types import Box, CharSpan, FrameRegion, Hit, ImageRegion, Locator, PageBox, TimeSpan
from rag.verification.caution import thresholds

if TYPE_CHECKING:
    from rag.evaluation.cached_vectors import OnProgress
    from rag.knowledge_base import KnowledgeBase

RERANKED = ", reranked"
_LEAST_DEPTH = 50  # hits of a search
_HITS_A_FILE = 5  # several may be of one file
_PICTURES = (".jpg", ".jpeg", ".png", ".webp", ".gif", ".tif", ".tiff", ".bmp", ".avif")

Search = Callable[[str], Sequence[Hit]]


def run_trials(
    base: KnowledgeBase, questions: Sequence[Question], run: str, options: EvalOptions, on_progress: OnProgress
) -> tuple[list[Trial], list[ScoreRow], list[ChannelDistributions]]:
    """Ask a knowledge base; return the trials, the rows of declined questions and the scores of each channel.

    Args:
        base: the knowledge base, with its settings.
        questions: answerable and unanswerable ones.
        run: the name of this configuration.
        options: cut-offs, and whether to ask also with typos and vague wording.
        on_progress: called with the number of questions asked so far.

    Raises:
        QueryError: none of the questions is answerable.
        IndexUnavailable, LLMError: the store or the language model failed.
    """
    answerable = [question for question in questions if question.answerable]
    if not answerable:
        raise QueryError("None of these questions is answerable, so there is nothing to find.")
    made: list[Trial] = []
    channels: list[ChannelDistributions] = []
    depth = max(_LEAST_DEPTH, _HITS_A_FILE * options.ks[-1])
    for variant in (None, *(v for v in VARIANTS if options.robust and "text" in v.media)):
        label = variant.name if variant else "searching"
        found = [
            base.search(words, top_k=depth) for words in _questions_as_words(answerable, variant, label, on_progress)
        ]
        channels = channels if variant else channel_distributions(answerable, found, base.calibration.null_scores())
        made += _compared(base, answerable, found, run, variant.name if variant else PLAIN, options)
    if not base.settings.rerank_top_n:
        return made, [], channels
    judged_hits = [
        base.search(q, top_k=depth, rerank=True) for q in _questions_as_words(questions, None, "reranking", on_progress)
    ]
    of_answerable = [hits for question, hits in zip(questions, judged_hits, strict=True) if question.answerable]
    _check_judged(judged_hits, base.settings.llm)
    reranked = _compared(base, answerable, of_answerable, run, PLAIN, options)
    made += [replace(trial, direction=trial.direction + RERANKED) for trial in reranked]
    return made, _declined(questions, judged_hits, thresholds(base.settings).relevance, run, options), channels


def channel_distributions(
    questions: Sequence[Question], found: Sequence[Sequence[Hit]], null_scores: Mapping[str, Sequence[float]]
) -> list[ChannelDistributions]:
    """Return the scores of each channel for unrelated questions and for files that answer.

    Channels that found no right file are left out.

    Args:
        questions: the questions.
        found: the hits of each question.
        null_scores: by channel, its best scores for unrelated questions.
    """
    right: dict[str, list[float]] = {}
    for question, hits in zip(questions, found, strict=True):
        best: dict[str, float] = {}
        for hit in hits:
            for channel in hit.channels if question.names(hit.path) else ():
                best[channel.name] = max(channel.score, best.get(channel.name, channel.score))
        for name, score in best.items():
            right.setdefault(name, []).append(score)
    return [ChannelDistributions(name, scores, right[name]) for name, scores in null_scores.items() if name in right]


def _check_judged(found: Iterable[Sequence[Hit]], llm: str) -> None:
    """Raise if the language model judged no hit of a ranking: its failure would look like a poor reranker."""
    if any(hits and all(hit.relevance is None for hit in hits) for hits in found):
        raise LLMUnavailable(f"`{llm}` did not judge the hits; `exhibit search WORDS --rerank` may give the reason.")


def _questions_as_words(
    questions: Sequence[Question], variant: Variant | None, label: str, on_progress: OnProgress
) -> Iterator[str]:
    for number, question in enumerate(questions):
        on_progress(label, number, len(questions))
        words = question.question
        yield words if variant is None else variant.change(words, Item(words, "text").seed)
    on_progress(label, len(questions), len(questions))


def _compared(
    base: KnowledgeBase,
    questions: Sequence[Question],
    found: Sequence[Sequence[Hit]],
    run: str,
    variant: str,
    options: EvalOptions,
) -> Iterator[Trial]:
    """Yield a trial of the files of all questions, and one of the places of those questions that name some."""
    pairs = list(zip(questions, found, strict=True))
    files = [_judged(base, question, hits, question.assets, options, _file) for question, hits in pairs]
    yield Trial("question>file", run, variant, files)
    if placed := [(question, hits) for question, hits in pairs if question.locators]:
        places = [_judged(base, question, hits, question.locators, options, _place) for question, hits in placed]
        yield Trial("question>place", run, variant, places)


def _judged(
    base: KnowledgeBase,
    question: Question,
    hits: Sequence[Hit],
    wanted: Sequence[str],
    options: EvalOptions,
    key: Callable[[Question, Hit], str],
) -> JudgedQuery:
    words, about = question.question, question.assets[0]
    query = Item(words, "text", words, family=words, slice=question.modality, cluster=about)
    found: dict[str, Hit] = {}
    for hit in hits:
        found.setdefault(key(question, hit), hit)
    ranking, expected = ([Item(name, "text", name) for name in names] for names in (found, wanted))
    one = judge(query, ranking, expected, options.ks, {})
    return _illustrated(base, question, one, found) if one.missed(options.ks[-1]) else one


def _illustrated(base: KnowledgeBase, question: Question, missed: JudgedQuery, found: Mapping[str, Hit]) -> JudgedQuery:
    """Return a missed query for the report: the expected and the first items, with pictures and reasons."""
    first = [_hit_item(base, found[thing.id], thing.id) for thing in missed.ranking[:SHOWN]]
    expected = [_expected(base, question, thing.id, found.get(thing.id)) for thing in missed.expected[:SHOWN]]
    why = {thing.id: _why(found[thing.id]) for thing in (*first, *expected) if thing.id in found}
    ranking, wanted = [*first, *missed.ranking[SHOWN:]], [*expected, *missed.expected[SHOWN:]]
    return replace(missed, ranking=ranking, expected=wanted, why=why)


def _why(hit: Hit) -> str:
    """Return the channels that found a hit, with its place in each, and the verdict."""
    return hit.why.places if hit.relevance is None else f"{hit.why.places}; judged {hit.relevance:+.1f}"


def _file(question: Question, hit: Hit) -> str:
    return question.names(hit.path) or hit.path or hit.segment.asset_id


def _place(question: Question, hit: Hit) -> str:
    """Return the question's locator if the hit overlaps that place of a right file, or else the hit's."""
    here = f"#{to_fragment(hit.segment.locator)}"
    if question.names(hit.path):
        for wanted in question.locators:
            if overlap(from_fragment(wanted.removeprefix("#")), hit.segment.locator):
                return wanted
    return f"{hit.path}{here}"


def overlap(a: Locator, b: Locator) -> bool:
    """Return whether two places of one file overlap, as the speech and the frames of one second do."""
    match a, b:
        case CharSpan(start_a, end_a), CharSpan(start_b, end_b):
            return start_a < end_b and start_b < end_a
        case PageBox(page_a, box_a), PageBox(page_b, box_b):
            return page_a == page_b and _boxes_meet(box_a, box_b)
        case ImageRegion(box_a), ImageRegion(box_b):
            return _boxes_meet(box_a, box_b)
        case TimeSpan(start_a, end_a), TimeSpan(start_b, end_b):  # the next passage begins where one ends
            return start_a < end_b and start_b < end_a
        case (TimeSpan(start_s, end_s), FrameRegion(at_s)) | (FrameRegion(at_s), TimeSpan(start_s, end_s)):
            return start_s <= at_s <= end_s
        case FrameRegion(at_a), FrameRegion(at_b):
            return at_a == at_b
    return False


def _boxes_meet(a: Box | None, b: Box | None) -> bool:
    if a is None or b is None:
        return True
    return a.x < b.x + b.w and b.x < a.x + a.w and a.y < b.y + b.h and b.y < a.y + a.h


def _hit_item(base: KnowledgeBase, hit: Hit, name: str) -> Item:
    """Return a hit for the report: its thumbnail if it has pixels, or else its words."""
    words = " ".join((hit.segment.searchable_text or ", ".join(hit.segment.tags) or name).split())
    if hit.picture_segment:
        try:
            thumbnail = base.media.thumbnail(hit)
        except MediaError:  # the file has gone; show its words
            thumbnail = None
        if thumbnail is not None:
            return Item(name, "image", words, thumbnail)
    return Item(name, "text", words)


def _expected(base: KnowledgeBase, question: Question, name: str, found: Hit | None) -> Item:
    """Return the expected item, with its picture if it was found or its file can be opened."""
    if found and (shown := _hit_item(base, found, name)).path:
        return shown
    asset = name if name in question.assets else next(iter(question.assets))
    data = base.settings.data
    for path in (Path(asset), *([data / asset] if data else ())):
        if path.suffix.lower() in _PICTURES and path.is_file():
            return Item(name, "image", name, path.absolute())
    return Item(name, "text", name)


def _declined(
    questions: Sequence[Question], found: Iterable[Sequence[Hit]], least: float, run: str, options: EvalOptions
) -> list[ScoreRow]:
    """Return the share of questions without a relevant hit, for answerable and for unanswerable questions.

    The language model may decline more questions when it writes; `exhibit eval --answers` counts those.
    """
    made = []
    for name, answerable in (("answerable", True), ("unanswerable", False)):
        given = [hits for question, hits in zip(questions, found, strict=True) if question.answerable is answerable]
        if given:
            none = [float(all(hit.relevance is None or hit.relevance < least for hit in hits)) for hits in given]
            share = intervals({DECLINED: none}, seed=options.seed)
            made.append(ScoreRow("declined", run, PLAIN, name, len(none), share))
    return made
