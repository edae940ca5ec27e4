"""Compare fusion with single channels and reciprocal ranks on passages, captioned figures and bare photos.

`python -m tests.measure.fusion --data DATA --kb FOLDER` ingests the textbook of ``anthropology/`` and, without any
text, the photos of the test modules of ``openstax_pairs/``, which the image encoder has not seen. A query is half the
words of a sentence (to find its passage), half the words of a caption (to find its figure), or the first sentence of a
photo's alternative text (to find the photo), all in one ranking. The figures are in `rag.retrieval.fusion`.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from rag import KnowledgeBase
from rag.config import Settings
from rag.evaluation.datasets import load
from rag.evaluation.retrieval_sets import picture
from rag.query.language import Query
from rag.retrieval.retriever import Retriever
from rag.segments import segment_id
from rag.text import sentences
from rag.types import Hit

_MOST_QUERIES = 400  # of each sort
_DEPTH = 300
_CUTS = (1, 5, 10)
_RRF_K = 60
_WORDS = range(8, 40)  # of a sentence that gives a query

Way = Callable[[Hit], float]


def channel(name: str) -> Way:
    """Return the score that ranks by one channel alone."""
    return lambda hit: {channel_score.name: 1 / channel_score.rank for channel_score in hit.channels}.get(name, 0.0)


def reciprocal(hit: Hit) -> float:
    """Return the sum of the reciprocal ranks (Cormack, Clarke and Buettcher 2009)."""
    return sum(1 / (_RRF_K + channel_score.rank) for channel_score in hit.channels)


WAYS: Mapping[str, Way] = {
    "text alone": channel("text"),
    "joint alone": channel("image"),
    "reciprocal ranks": reciprocal,
    "this one": lambda hit: hit.score,
}
_WORDLESS = "without bm25"


def questions(base: KnowledgeBase, alts: Mapping[str, str]) -> Iterator[tuple[str, str, str]]:
    """Yield sort, words, and the id of the segment that they should find."""
    rng = random.Random(0)
    hits = list(base.contents.segments())
    rng.shuffle(hits)
    for sort, kind, of in (("passage", "passage", "text"), ("figure", "picture", "caption")):
        queries = (_half(hit, of, rng) for hit in hits if hit.segment.kind == kind and "anthropology" in hit.path)
        yield from [(sort, words, key) for words, key in queries if words][:_MOST_QUERIES]
    for hit in hits:
        if alt := alts.get(Path(hit.path).name):
            start, end = next(sentences(alt))
            yield "photo", alt[start:end], segment_id(hit.segment)


def _half(hit: Hit, of: str, rng: random.Random) -> tuple[str, str]:
    """Return half the words of a sentence of a segment, none if no sentence fits, and the segment's id."""
    text = str(getattr(hit.segment, of))
    fit = [words for a, b in sentences(text) if len(words := text[a:b].split()) in _WORDS]
    words = rng.choice(fit) if fit else []
    return " ".join(word for word in words if rng.random() < 0.5), segment_id(hit.segment)


def photos(folder: Path, settings: Settings) -> dict[str, str]:
    """Write the held-out photos into a folder; return their alternative texts by file name."""
    folder.mkdir(parents=True, exist_ok=True)
    described = {}
    figures = next(d for d in load("openstax", settings).directions if d.name == "alt>figure")
    alts = {alt.id: alt.text for alt in figures.queries}
    for thing in figures.items:
        if thing.slice == "photo" and thing.id in alts:
            name = f"{thing.id.replace('/', '_')}.jpg"
            picture(thing).save(folder / name)
            described[name] = alts[thing.id]
    return described


def places(hits: Sequence[Hit], right: str) -> dict[str, int]:
    """Return the place of the right segment in each ranking of the same hits, from 0."""
    orders = {way: sorted((h for h in hits if score(h) > 0), key=lambda h: -score(h)) for way, score in WAYS.items()}
    return {way: place(order, right) for way, order in orders.items()}


def place(hits: Sequence[Hit], right: str) -> int:
    """Return the place of the right segment, from 0."""
    return next((n for n, hit in enumerate(hits) if segment_id(hit.segment) == right), _DEPTH)


def table(found: Sequence[tuple[str, Mapping[str, int]]]) -> Iterator[str]:
    """Yield recall at 1, 5 and 10 in per cent: a line for each way, a column for each sort."""
    sorts = list(dict.fromkeys(sort for sort, _ in found))
    yield f"{'':<18}" + "".join(f"{sort:>16}" for sort in sorts)
    for way in (*WAYS, _WORDLESS):
        line = f"{way:<18}"
        for sort in sorts:
            ranks = [places[way] for one, places in found if one == sort]
            line += f"{' / '.join(f'{100 * sum(rank < cut for rank in ranks) / len(ranks):.0f}' for cut in _CUTS):>16}"
        yield line


def main() -> None:
    """Ingest, search, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with anthropology/ and openstax_pairs/")
    parser.add_argument(
        "--kb", type=Path, required=True, help="folder for the knowledge base; the next run uses it again"
    )
    arguments = parser.parse_args()
    settings = Settings(data=arguments.data)
    alts = photos(arguments.kb / "photos", settings)
    with KnowledgeBase.open(arguments.kb, Settings(ocr="off")) as base:
        base.ingest([arguments.data / "anthropology", arguments.kb / "photos"])
        wordless = Retriever(base._index, base._text, base._dual, base._audio, without={"bm25"})
        found = [
            (sort, places(base.search(words, top_k=_DEPTH), right) | {_WORDLESS: place(hits, right)})
            for sort, words, right in questions(base, alts)
            for hits in (wordless.retrieve(Query(words), top_k=_DEPTH),)
        ]
    print("\n".join(table(found)))


if __name__ == "__main__":
    main()
