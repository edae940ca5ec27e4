"""A collection as a whole: what lies near what, what is strange, what has nothing near."""

from xml.etree import ElementTree

import numpy as np
import pytest

from rag import KnowledgeBase
from rag.errors import QueryError
from rag.evaluation.explore import CollectionMap, MapPoint, collection_map, coverage, drift
from rag.explanation import Explanation
from rag.segments import segment_id
from rag.types import Hit, ImageRegion, Segment

BAD = "<script>alert(1)</script>\"'&"


def paths_with(base, name):
    return sorted(str(asset.path) for asset in base.contents.assets() if name in str(asset.path))


def test_vectors_are_those_of_the_joint_space(demo_base):
    hits = list(demo_base.contents.segments())
    held = demo_base.contents.vectors(hits)
    assert set(held) <= {segment_id(hit.segment) for hit in hits}
    assert all(np.linalg.norm(vector) == pytest.approx(1, abs=1e-3) for vector in held.values())


def test_frames_of_one_scene_lie_together_on_the_map(demo_base):
    found = {point.hit.segment.locator: point for point in collection_map(demo_base).points}
    frames = sorted((p.hit.segment.locator.at_s, p) for p in found.values() if p.hit.segment.kind == "frame")
    bee = [point for at_s, point in frames if 32 <= at_s < 41]
    others = [point for at_s, point in frames if at_s < 20]
    assert len(bee) > 1

    def apart(one, other):
        return np.hypot(one.x - other.x, one.y - other.y)

    assert apart(bee[0], bee[1]) < 0.3 * min(apart(bee[0], other) for other in others)


def test_the_map_is_one_picture_with_thumbnails_and_no_script(demo_base):
    drawn = collection_map(demo_base)
    text = drawn._repr_html_()
    tree = ElementTree.fromstring(text)
    names = [element.tag.rpartition("}")[2] for element in tree.iter()]
    assert names.count("g") == len(drawn.points)
    assert names.count("image") > 8
    assert "script" not in names
    assert len(text) < 200_000
    assert "http" not in text.replace("http://www.w3.org", "")


def test_a_map_is_bounded(demo_base):
    drawn = collection_map(demo_base, most=10)
    assert len(drawn.points) == 10
    assert drawn.left_out == demo_base.contents.count() - 10


def test_text_of_files_is_escaped_on_the_map():
    hit = Hit(
        Segment("6e0ff3f0-5b0c-5d0e-9f5e-3b1f6c1d7a10", 0, "image", "picture", ImageRegion(), BAD),
        Explanation(0.0),
        BAD,
    )
    tree = ElementTree.fromstring(CollectionMap((MapPoint(hit, 0.5, 1.0),), 1.0)._repr_html_())
    assert not [element for element in tree.iter() if element.tag.endswith("script")]


def test_a_segment_unlike_everything_before_has_a_low_cosine(demo_base):
    drifted = drift(demo_base, paths_with(demo_base, "film.mp4"))
    assert {segment.hit.segment.modality for segment in drifted.segments} == {"video"}
    assert all(segment.nearest.path != segment.hit.path for segment in drifted.segments)
    bee = [s for s in drifted.segments if s.hit.segment.kind == "frame" and 32 <= s.hit.segment.locator.at_s < 41]
    apes = [s for s in drifted.segments if s.hit.segment.kind == "frame" and 3 <= s.hit.segment.locator.at_s < 13]
    assert max(s.cosine for s in bee) < min(s.cosine for s in apes)
    assert "film.mp4" in drifted._repr_html_()


def test_drift_needs_both_new_and_old(demo_base, tmp_path):
    with pytest.raises(QueryError):
        drift(demo_base, tmp_path)
    with pytest.raises(QueryError):
        drift(demo_base, "/")


def test_a_question_about_nothing_here_has_nothing_near(demo_base):
    covered = coverage(demo_base, ["Which photo shows an orangutan?", "How do I reset my password?"])
    assert [(row.question[:3], row.is_covered) for row in covered.questions] == [("How", False), ("Whi", True)]
    assert "no better than nonsense" in covered._repr_html_()
    assert repr(covered) == "<Coverage: 1 of 2 questions>"


def test_a_map_of_nothing_is_refused(tmp_path):
    with KnowledgeBase.open(tmp_path / "kb") as empty, pytest.raises(QueryError):
        collection_map(empty)
