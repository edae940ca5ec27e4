"""What the measurement of the main job counts, and that its questions are well-formed."""

from pathlib import Path

import numpy as np
import pytest

from rag.encoders.mel import PATCH
from rag.evaluation.answer_metrics import holds, normalize, percentile, step_seconds
from rag.evaluation.labelled_questions import SHIPPED, Question, read_questions
from rag.models import ensure
from tests.fakes.shared_data import SHARED_DATA
from tests.measure.metrics import Record, outcome
from tests.measure.run import Report, tables
from tests.measure.throughput import count_node, multiply_adds

MINILM_INPUTS = ("input_ids", "attention_mask", "token_type_ids")
ALL = read_questions(SHIPPED)

ANSWERABLE = Question("Who sings?", ("a.mp3", "b.mp3"), modality="audio", answer=("a wren",))
UNANSWERABLE = Question("Who danced?", modality="text", answerable=False)


def record(text: str = "", cited: tuple[str, ...] = (), *, declined: bool = False) -> Record:
    seconds = {"retrieve": 0.1, "total": 2.0}
    return Record("Who sings?", ("c.txt", "b.mp3"), ("b.mp3", "c.txt"), text, cited, cited, declined, 1.5, seconds)


@pytest.mark.parametrize(
    ("text", "held"),
    [
        ("It was a Wren [E1].", True),
        ("A  wren’s\nsong", True),
        ("a wrench", False),
        ("extra wren", False),
        ("", False),
    ],
)
def test_phrases_are_held_as_whole_words(text: str, held: bool) -> None:
    assert holds(text, ["A Wren", "a wren's"]) is held


def test_the_number_of_a_marker_is_no_answer() -> None:
    assert not holds("I cannot say [E32].", ["32"])
    assert holds("It costs 32 cents [E1].", ["32"])


def test_a_part_of_a_number_is_no_answer() -> None:
    for text in ("It has 1,300 keepers.", "2.300", "300.5", "1300"):
        assert not holds(text, ["300"])
    assert holds("There were 300, all told; 300.", ["300"])


def test_quotes_and_spaces_are_made_plain() -> None:
    assert normalize("  The\u00a0KEEPER’s  ") == "the keeper's"


def test_outcomes_of_an_answerable_question() -> None:
    assert outcome(ANSWERABLE, record("A wren sings [E1].", ("b.mp3",))) == "correct and cited"
    assert outcome(ANSWERABLE, record("A wren sings [E1].", ("c.txt",))) == "correct, cited elsewhere"
    assert outcome(ANSWERABLE, record("A wren sings.")) == "correct, cited elsewhere"
    assert outcome(ANSWERABLE, record("A robin sings [E1].", ("b.mp3",))) == "wrong"
    assert outcome(ANSWERABLE, record("A wren? Not found.", declined=True)) == "declined wrongly"


def test_outcomes_of_an_unanswerable_question() -> None:
    assert outcome(UNANSWERABLE, record(declined=True)) == "declined correctly"
    assert outcome(UNANSWERABLE, record("A wren danced [E1].", ("b.mp3",))) == "made up"


def test_percentiles_are_values_that_occurred() -> None:
    values = [float(n) for n in range(1, 21)]
    assert (percentile(values, 50), percentile(values, 95), percentile(values, 100)) == (10.0, 19.0, 20.0)
    assert percentile([7.0], 50) == percentile([7.0], 95) == 7.0
    with pytest.raises(ValueError, match="values"):
        percentile([], 50)


def test_steps_of_one_name_are_added_up() -> None:
    assert step_seconds([("rerank", 1.0), ("answer", 2.0), ("rerank", 0.5)]) == {"rerank": 1.5, "answer": 2.0}


def test_a_report_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    report = Report(records={ANSWERABLE.question: record("A wren [E1].", ("b.mp3",))}, ingest_wall_s=3.0)
    report.save(tmp_path / "report.json", [ANSWERABLE])
    assert Report.load(tmp_path / "report.json") == report
    assert Report.load(tmp_path / "none.json") == Report()


def test_pictures_that_were_trained_on_are_counted_apart() -> None:
    questions = [Question(name, (f"media/{name}.jpg",), modality="image", answer=("x",)) for name in ("seen", "other")]
    report = Report(records={q.question: record() for q in questions}, trained=frozenset({"seen.jpg"}))
    (rows,) = [rows for title, _, rows in tables(report, questions) if title == "The right asset is found"]
    assert [row[:2] for row in rows][-2:] == [["image, not trained on", "1"], ["image, trained on", "1"]]


def test_tables_count_before_and_after_reranking() -> None:
    made = {title: rows for title, _, rows in tables(Report(records={"Who sings?": record()}), [ANSWERABLE])}
    assert made["The right asset is found"] == [["audio", "1", "0", "1", "1", "1"], ["all", "1", "0", "1", "1", "1"]]
    assert made["Seconds of a question"] == [["retrieve", "1", "0.10", "0.10"], ["total", "1", "2.00", "2.00"]]


def test_there_are_enough_questions_of_each_kind() -> None:
    assert len({normalize(q.question) for q in ALL}) == len(ALL)
    assert all(bool(q.answer) == q.answerable for q in ALL)
    counts = {m: sum(q.modality == m and q.answerable for q in ALL) for m in ("text", "image", "audio", "video")}
    assert counts["text"] <= 0.6 * sum(counts.values())
    assert counts["image"] >= 40
    assert counts["audio"] >= 25
    assert counts["video"] >= 12
    assert sum(q.answerable and q.kind == "several" for q in ALL) >= 15


@pytest.mark.skipif(not SHARED_DATA.is_dir(), reason="EXHIBIT_DATA's folder is not there")
def test_the_assets_of_the_questions_exist() -> None:
    assert [asset for q in ALL for asset in q.assets if not (SHARED_DATA / asset).is_file()] == []
    assert [q.about for q in ALL if not (SHARED_DATA / q.about).exists()] == []


def test_multiply_adds_of_minilm_are_those_of_its_sizes(home: Path) -> None:
    n = 10
    row = np.ones((1, n), np.int64)
    counted = multiply_adds(ensure("minilm", home) / "model.onnx", [dict.fromkeys(MINILM_INPUTS, row)])
    each_layer = n * (4 * 384**2 + 2 * 384 * 1536) + 2 * n**2 * 384  # projections, two layers of words, attention
    assert counted == 6 * each_layer


def test_multiply_adds_of_yamnet_are_those_that_its_authors_state(home: Path) -> None:
    patch = np.zeros((1, 1, *PATCH), np.float32)
    counted = multiply_adds(ensure("yamnet", home) / "yamnet.onnx", [{"patches": patch}])
    assert counted == pytest.approx(69.2e6, rel=0.01)  # "69.2M multiplies for each 960ms input frame"


def test_multiply_adds_of_a_convolution_are_counted_by_group() -> None:
    shapes = {"input_type_shape": [{"float": [1, 8, 4, 4]}, {"float": [8, 1, 3, 3]}]}
    assert count_node({"op_name": "Conv", **shapes, "output_type_shape": [{"float": [1, 8, 4, 4]}]}) == 8 * 4 * 4 * 9
    assert count_node({"op_name": "Relu", **shapes, "output_type_shape": [{"float": [1, 8, 4, 4]}]}) == 0
