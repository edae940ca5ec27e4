"""Why a hit was found, for people: words and a small plot, harmless whatever documents say."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from rag.explanation import ChannelScore, Explanation
from rag.index.bm25 import matching_words
from rag.types import Hit, ImageRegion, Segment

FOUND = Explanation(
    0.62, (ChannelScore("text", 1, 0.66, 0.91), ChannelScore("image #2", 3, 0.24, 0.4, 0.7)), ("dogs", "red"), 0.25, 1.5
)


def test_in_words() -> None:
    assert str(FOUND).splitlines() == [
        "score 0.620",
        "text: place 1, 0.660, believed 0.91",
        "image #2: place 3, 0.240, believed 0.40, weight 0.7",
        "words: dogs, red",
        "not wanted: 0.25",
        "verdict: +1.5 log-odds, 82%",
    ]
    assert str(Explanation(0.5)) == "score 0.500"
    assert FOUND.places == "text #1, image #2 #3"


def test_as_a_plot() -> None:
    plot = ElementTree.fromstring(FOUND._repr_html_())
    bars = [element for element in plot.iter() if element.tag.endswith("rect")]
    assert [float(bar.get("width", "")) for bar in bars] == pytest.approx([145.6, 64, 40, 130.8, 99.2])


def test_nothing_in_it_is_markup() -> None:
    bad = "<script>alert(1)</script>\"'&"
    plot = Explanation(2.0, (ChannelScore(bad, 1, 0.5, -3.0),), (bad,))._repr_html_()
    assert "<script" not in plot
    ElementTree.fromstring(plot)


def test_a_hit_says_why() -> None:
    hit = Hit(Segment("a", 0, "image", "picture", ImageRegion()), FOUND)
    assert (hit.score, hit.channels, hit.relevance) == (0.62, FOUND.channels, 1.5)
    assert FOUND.probability == pytest.approx(0.818, abs=1e-3)
    assert Explanation(0.5).probability is None


def test_matched_words_are_those_of_the_text_by_their_stems() -> None:
    text = "The Dogs were running; a DOG ran to the café of the Running Hound."
    assert matching_words("Where do dogs run, and to which cafe?", text) == ("dogs", "running", "dog", "café")
    assert matching_words("what is the", text) == ()
    assert matching_words("zebra", "") == ()


def test_a_hit_below_the_noise_floor_says_so() -> None:
    hit = Hit(Segment("a", 0, "image", "picture", ImageRegion()), Explanation(0.62, noise_floor=0.62))
    assert not hit.is_above_noise
    assert str(hit.why) == "score 0.620, and nonsense up to 0.620"
    hit = Hit(hit.segment, Explanation(0.63, noise_floor=0.62))
    assert hit.is_above_noise
    assert str(hit.why) == "score 0.630"
