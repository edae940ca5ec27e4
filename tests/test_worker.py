"""The reader process: it may crash, hang or run out of memory without taking the run with it."""

import os
import queue
import signal
import subprocess
import sys
import threading
import time
from contextlib import closing

import numpy as np
import pytest

from ingest.audio_video.decode import AudioPiece
from ingest.audio_video.shots import sample_frame, select_shots
from ingest.audio_video.sounds import SoundMonitor
from ingest.audio_video.voice_activity import transcribe_speech
from ingest.reading import heartbeat
from ingest.reading.protocol import (
    BeatEvent,
    BeatMessage,
    EndEvent,
    EndMessage,
    ErrorEvent,
    ItemEvent,
    ItemMessage,
)
from ingest.reading.worker import Worker, WorkerPool
from rag.config import Settings
from rag.errors import DamagedMedia, MediaError, MediaTooLarge, UnsupportedMedia
from tests.fakes.media import JFK, samples_of
from tests.fakes.speech import ScriptedTranscriber


@pytest.fixture
def worker():
    with closing(Worker(Settings())) as worker:
        yield worker


@pytest.fixture
def note(tmp_path):
    path = tmp_path / "note.txt"
    path.write_text("The dynamo hums.\n\nThe lamp glows.\n")
    return path


def pid(worker):
    return worker._process._process.pid


def test_values_come_back_whole_and_in_order(worker, note):
    (source,) = worker.run("identify", note)
    assert (source.title, source.media_type) == ("note.txt", "text/plain")
    (extracted,) = worker.run("extract", source)
    assert extracted.segment.text == "The dynamo hums.\n\nThe lamp glows."


def test_an_error_keeps_its_class_and_message(worker, tmp_path):
    with pytest.raises(MediaError) as caught:
        list(worker.run("identify", tmp_path / "missing"))
    assert type(caught.value) is MediaError
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UnsupportedMedia):
        list(worker.run("identify", tmp_path / "pipe"))


def test_a_crash_fails_one_file_and_the_next_still_comes(worker, note):
    note.write_text("The dynamo hums.\n\n" * 100_000)
    (source,) = worker.run("identify", note)
    reading = worker.run("extract", source)
    next(reading)
    os.kill(pid(worker), signal.SIGKILL)
    with pytest.raises(DamagedMedia, match=r"\b9\b"):
        list(reading)
    assert list(worker.run("identify", note)) == [source]


def test_the_death_of_an_idle_reader_does_not_fail_the_next_file(worker, note):
    list(worker.run("identify", note))
    before = worker._process
    os.kill(pid(worker), signal.SIGKILL)
    while not before.has_ended:
        time.sleep(0.01)
    (source,) = worker.run("identify", note)
    assert source.path == note


def test_a_silent_reader_is_stopped(note):
    with (
        closing(Worker(Settings(file_timeout_s=0.01))) as worker,
        pytest.raises(DamagedMedia, match=r"0\.01 s"),
    ):
        list(worker.run("identify", note))


class ScriptedProcess:
    """Sends its messages over and over, with a pause before each."""

    has_ended = False

    def __init__(self, pause_s, *messages):
        self.pause_s, self.messages, self.items = pause_s, messages, self
        self.sent = 0

    def get(self, timeout):
        if self.pause_s > timeout:
            time.sleep(timeout)
            raise queue.Empty
        time.sleep(self.pause_s)
        self.sent += 1
        return self.messages[(self.sent - 1) % len(self.messages)]

    def send(self, request):
        pass

    def kill(self):
        pass


@pytest.mark.parametrize("sign", [ItemMessage(1), BeatMessage(0.0)])
def test_a_reader_that_never_ends_is_stopped_despite_signs_of_life(sign):
    worker = Worker(Settings(file_timeout_s=0.05))
    worker._process = ScriptedProcess(0.01, sign)
    with pytest.raises(DamagedMedia, match="EXHIBIT_FILE_TIMEOUT_S"):
        list(worker.run("extract"))


def test_a_reader_that_works_is_not_silent_and_the_loading_of_a_model_does_not_count():
    worker = Worker(Settings(file_timeout_s=0.05))
    worker._process = ScriptedProcess(0.03, *[BeatMessage(0.1)] * 20, ItemMessage("heard"), EndMessage(1.5))
    assert list(worker.run("extract")) == ["heard"]


@pytest.fixture
def reports():
    """The signs of life that a test gives."""
    reports = []
    heartbeat.report_to(reports.append)
    yield reports
    heartbeat.report_to(lambda excused_s: None)


def test_long_work_on_sound_and_pictures_gives_signs_of_life(reports, monkeypatch):
    monkeypatch.setattr(heartbeat, "_EVERY_S", 0.0)
    sound = [AudioPiece(0.0, samples_of(JFK))]
    list(SoundMonitor(sound))
    assert reports == [0.0]
    list(transcribe_speech(sound, ScriptedTranscriber("words")))
    assert reports == [0.0] * 2
    black = np.zeros((144, 256, 3), np.uint8)
    list(select_shots([sample_frame(n / 8, black, None) for n in range(4)], 5.0))
    assert reports == [0.0] * 6


def test_the_loading_of_a_model_gives_signs_of_life(reports, monkeypatch):
    monkeypatch.setattr(heartbeat, "_EVERY_S", 0.01)
    with heartbeat.waiting():
        time.sleep(0.1)
    assert set(reports) == {0.01}


def test_native_code_that_never_returns_does_not_outlive_its_parent():
    code = (
        "import re, sys; from ingest.reading.child import Replies, serve\n"
        "serve(Replies(sys.stdout.buffer, 0.2), lambda: re.match('(a+)+$', 'a' * 60 + 'b'), ())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=60, check=False)
    assert done.returncode == -signal.SIGALRM


def test_memory_is_bounded(tmp_path):
    (tmp_path / "big.json").write_text(f"[{'[],' * 8_000_000}[]]")  # 24 MB; as Python's lists 500 MB
    with closing(Worker(Settings(reader_memory_gb=0.3))) as worker:
        (source,) = worker.run("identify", tmp_path / "big.json")
        with pytest.raises(MediaTooLarge, match=r"0\.3 GB"):
            list(worker.run("extract", source))
        assert worker._process is None  # what is left of its memory is of no use


def test_workers_share_the_memory_of_the_machine():
    readers = WorkerPool(Settings(threads=4, reader_memory_gb=1e6))._workers
    each = {reader._settings.reader_memory_gb for reader in readers}
    assert sum(each) * len(readers) < os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30


def test_a_folder_named_ingest_in_the_working_directory_is_not_imported(note, tmp_path, monkeypatch):
    (tmp_path / "ingest").mkdir()
    (tmp_path / "ingest" / "__init__.py").write_text("raise SystemExit('not this one')")
    monkeypatch.chdir(tmp_path)
    with closing(Worker(Settings())) as worker:
        (source,) = worker.run("identify", note)
    assert source.path == note


@pytest.fixture
def sources(worker, tmp_path):
    found = []
    for n in range(6):
        path = tmp_path / f"{n}.txt"
        path.write_text(f"Note {n}")
        found += worker.run("identify", path)
    path.unlink()
    return found


def test_workers_side_by_side_report_each_argument(sources):
    with closing(WorkerPool(Settings(threads=3))) as workers:
        events = [event for event in workers.each("extract", sources) if not isinstance(event, BeatEvent)]
        assert len({pid(worker) for worker in workers._workers}) == 3
    for source in sources[:5]:
        (item, end) = [event for event in events if event.argument == source]
        assert isinstance(item, ItemEvent)
        assert item.value.segment.text == f"Note {source.path.stem}"
        assert isinstance(end, EndEvent)
    (event,) = [event for event in events if event.argument == sources[5]]
    assert isinstance(event, ErrorEvent)
    assert type(event.error) is MediaError


def test_closing_the_events_stops_the_workers(sources):
    before = set(threading.enumerate())
    with closing(WorkerPool(Settings(threads=2))) as workers:
        events = workers.each("extract", sources * 100)
        next(events)
        events.close()
        assert not [thread for thread in threading.enumerate() if thread not in before and not thread.daemon]


def test_the_events_can_be_closed_before_the_first_value(sources):
    with closing(WorkerPool(Settings(threads=2), beat_s=0.001)) as workers:
        events = workers.each("extract", sources)  # readers take longer to start
        assert next(events) == BeatEvent()
        events.close()


def test_unused_values_do_not_leak_into_the_next_operation(worker, sources):
    assert next(worker.run("extract", sources[0])).segment.text == "Note 0"
    assert [extracted.segment.text for extracted in worker.run("extract", sources[1])] == ["Note 1"]


def test_the_seconds_of_an_operation_are_those_of_its_reader(worker, note):
    reading = worker.run("identify", note)
    next(reading)
    with pytest.raises(StopIteration) as end:
        next(reading)
    assert 0 < end.value.value < 60
