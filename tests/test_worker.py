"""The reader process: it may crash, hang or run out of memory without taking the run with it."""

import os
import signal
import threading
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


def test_a_crash_fails_one_file_and_the_next_still_comes(worker, note):
    list(worker.run("identify", note, ()))
    os.kill(pid(worker), signal.SIGKILL)
    with pytest.raises(DamagedMedia, match="crashed \\(signal 9\\)"):
        list(worker.run("identify", note, ()))
    (source,) = worker.run("identify", note, ())
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


@pytest.fixture
def sources(worker, tmp_path):
    found = []
    for n in range(6):
        path = tmp_path / f"{n}.txt"
        path.write_text(f"Note {n}")
        found += worker.run("identify", path, ())
    path.unlink()
    return found


def test_readers_side_by_side_tell_of_each_argument(sources):
    with closing(Workers(Settings.load(threads=3))) as workers:
        events = list(workers.each("extract", sources))
        assert len({pid(worker) for worker in workers._workers}) == 3
    for source in sources[:5]:
        (item, end) = [(what, value) for about, what, value in events if about == source]
        assert (item[0], item[1].segment.text) == ("item", f"Note {source.path.stem}")
        assert end[0] == "end"
    ((what, value),) = [(what, value) for about, what, value in events if about == sources[5]]
    assert what == "error"
    assert isinstance(value, MediaError)
    assert "gone" in str(value)


def test_whoever_stops_listening_stops_the_readers(sources):
    before = set(threading.enumerate())
    with closing(Workers(Settings.load(threads=2))) as workers:
        events = workers.each("extract", sources * 100)
        next(events)
        events.close()
        assert not [thread for thread in threading.enumerate() if thread not in before and not thread.daemon]


def test_what_is_not_wanted_is_not_taken_for_the_next(worker, sources):
    assert next(worker.run("extract", sources[0])).segment.text == "Note 0"
    assert [extracted.segment.text for extracted in worker.run("extract", sources[1])] == ["Note 1"]


def test_the_seconds_of_an_operation_are_those_of_its_reader(worker, note):
    reading = worker.run("identify", note, ())
    next(reading)
    with pytest.raises(StopIteration) as end:
        next(reading)
    assert 0 < end.value.value < 60
