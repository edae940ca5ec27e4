"""The reader process: it may crash, hang or run out of memory without taking the run with it."""

import os
import signal
from contextlib import closing

import pytest

from ingest.worker import Worker, Workers
from rag.config import Settings
from rag.errors import DamagedMedia, MediaError, UnsupportedMedia


@pytest.fixture
def worker():
    with closing(Worker(Settings.load())) as worker:
        yield worker


@pytest.fixture
def note(tmp_path):
    path = tmp_path / "note.txt"
    path.write_text("The dynamo hums.\n\nThe lamp glows.\n")
    return path


def pid(worker):
    return worker._process._process.pid


def test_values_come_back_whole_and_in_order(worker, note):
    (source,) = worker.run("identify", note, ("a caption",))
    assert (source.title, source.media_type, source.captions) == ("note.txt", "text/plain", ("a caption",))
    (extracted,) = worker.run("extract", source)
    assert extracted.segment.text == "The dynamo hums.\n\nThe lamp glows."


def test_an_error_keeps_its_class_and_message(worker, tmp_path):
    with pytest.raises(MediaError, match="no such file"):
        list(worker.run("identify", tmp_path / "missing", ()))
    (tmp_path / "pipe").touch()
    os.remove(tmp_path / "pipe")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UnsupportedMedia, match="named pipe"):
        list(worker.run("identify", tmp_path / "pipe", ()))


def test_a_crash_fails_one_file_and_what_was_started_behind_it_still_comes(worker, note):
    list(worker.run("identify", note, ()))
    os.kill(pid(worker), signal.SIGSTOP)
    worker.start("identify", note, ())
    worker.start("identify", note, ())
    os.kill(pid(worker), signal.SIGKILL)
    with pytest.raises(DamagedMedia, match="crashed \\(signal 9\\)"):
        list(worker.results())
    (source,) = worker.results()
    assert source.path == note


def test_a_silent_reader_is_stopped(note):
    with (
        closing(Worker(Settings.load(file_timeout_s=0.01))) as worker,
        pytest.raises(DamagedMedia, match="fell silent"),
    ):
        list(worker.run("identify", note, ()))


def test_memory_is_bounded(tmp_path):
    big = tmp_path / "big.txt"
    big.write_text("word " * 30_000_000)
    with closing(Worker(Settings.load(reader_memory_gb=0.3))) as worker:
        (source,) = worker.run("identify", big, ())
        with pytest.raises(MediaError):
            list(worker.run("extract", source))


def test_a_folder_of_the_same_name_where_the_user_is_is_not_run(note, tmp_path, monkeypatch):
    (tmp_path / "ingest").mkdir()
    (tmp_path / "ingest" / "__init__.py").write_text("raise SystemExit('not this one')")
    monkeypatch.chdir(tmp_path)
    with closing(Worker(Settings.load())) as worker:
        (source,) = worker.run("identify", note, ())
    assert source.path == note


def test_readers_side_by_side_answer_in_order_and_a_crash_costs_one_file(tmp_path):
    notes = [tmp_path / f"{n}.txt" for n in range(9)]
    for path in notes:
        path.write_text(path.name)
    with closing(Workers(Settings.load(threads=3))) as workers:
        for path in notes:
            workers.start("identify", path, ())
        assert [worker.unfinished > 0 for worker in workers._workers] == [True] * 3
        assert len({pid(worker) for worker in workers._workers}) == 3
        assert [source.path for _ in notes for source in workers.results()] == notes
        assert [worker.unfinished for worker in workers._workers] == [0] * 3
        os.kill(pid(workers._workers[0]), signal.SIGSTOP)
        for path in notes[:3]:
            workers.start("identify", path, ())
        os.kill(pid(workers._workers[0]), signal.SIGKILL)
        with pytest.raises(DamagedMedia, match="crashed"):
            list(workers.results())
        assert [source.path for _ in notes[1:3] for source in workers.results()] == notes[1:3]


def test_the_seconds_of_an_operation_are_those_of_its_reader(worker, note):
    reading = worker.run("identify", note, ())
    next(reading)
    with pytest.raises(StopIteration) as end:
        next(reading)
    assert 0 < end.value.value < 60
