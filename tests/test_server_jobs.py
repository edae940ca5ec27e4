"""Uploads and jobs: files come whole or not at all, and a job goes on after whatever ends the server."""

import json
import os
import time
from contextlib import ExitStack, closing

import httpx
import pytest
from PIL import Image

from ingest import pipeline
from rag import KnowledgeBase
from rag.config import Settings
from rag.server.app import create_app
from rag.server.job_runner import JobRunner
from rag.server.job_store import JobFile, JobStore
from rag.server.native.base_routes import failed_file_id
from rag.server.native.ingestion_routes import MOST_WAITING
from rag.server.problems import HTTPProblem
from rag.server.state import ServerOptions
from rag.server.uploads import MOST_FILES, Upload, UploadLimits, finish, safe_name, sweep, unused_path
from rag.types import FileResult
from tests.fakes.processes import FORKED
from tests.fakes.uvicorn_server import URL, running
from tests.fakes.waiting import wait_until

MUSEUM = "/api/bases/museum"
SETTINGS = Settings(ocr="off", llm="openai/none", rerank_top_n=0)
MANY = 24  # files that keep a job at work for a while
LIMITS = UploadLimits(1000, 5000)
BOUNDARY = "multipart/form-data; boundary=edge"


@pytest.fixture(autouse=True)
def small_steps(monkeypatch):
    """A job writes after every few files, so that a small one can be met half done."""
    monkeypatch.setattr(pipeline, "_BATCH", 4)
    monkeypatch.setattr(pipeline, "_WRITE_S", 0.1)


def app(folder, **options):
    return create_app([folder / "museum"], ServerOptions(folder / "state", is_open=True, **options), settings=SETTINGS)


def pictures(folder, number):
    """Files that take a few seconds together, as parts of a form."""
    folder.mkdir()
    for n in range(number):
        Image.effect_noise((320, 240), 10 + n % 200).save(folder / f"noise-{n:03}.png")
    return [("files", (file.name, file.read_bytes())) for file in sorted(folder.iterdir())]


def part(name, content, field="files"):
    head = f'--edge\r\nContent-Disposition: form-data; name="{field}"; filename="{name}"\r\n\r\n'
    return head.encode() + content + b"\r\n"


async def pieces(body, size):
    for start in range(0, len(body), size):
        yield body[start : start + size]


def until(http, job, is_enough):
    """Return the job once it is far enough; a job that is over comes no further."""
    found = wait_until(lambda: http.get(f"/api/jobs/{job}").json(), lambda found: is_enough(found) or is_over(found))
    assert is_enough(found), found
    return found


def events(http, job, last=""):
    """Ids and data of a job's events."""
    with http.stream("GET", f"/api/jobs/{job}/events", headers={"Last-Event-ID": last} if last else {}) as response:
        assert response.headers["Content-Type"].startswith("text/event-stream")
        blocks = response.read().decode().strip().split("\n\n")
    return [tuple(line.split(": ", 1)[1] for line in block.splitlines()) for block in blocks if "data" in block]


def is_over(job):
    return job["finished"] is not None


def has_begun(job):
    return job["done"] > 0


def uploaded(folder):
    return sorted(file.name for file in (folder / "museum" / "uploads").rglob("*") if file.is_file())


@pytest.fixture
def server(tmp_path):
    with running(app(tmp_path), tmp_path) as server:
        yield server


def test_files_become_assets_and_failed_ones_have_reasons(server, tmp_path):
    http = server.http()
    files = [
        ("files", ("lamps.md", b"# Lamps\n\nThe keeper of the lamp wrote about whales.")),
        ("files", ("nothing.txt", b"")),
        ("files", ("again.md", b"# Lamps\n\nThe keeper of the lamp wrote about whales.")),
    ]
    accepted = http.post(f"{MUSEUM}/files", files=files)
    assert accepted.status_code == 202
    done = until(http, accepted.json()["job"], is_over)
    assert (done["state"], done["done"], done["total"], done["error"]) == ("done", 3, 3, "")
    results = {result["name"]: result for result in done["results"]}
    assert (results["lamps.md"]["state"], results["lamps.md"]["segments"]) in (("indexed", 1), ("unchanged", 1))
    assert results["nothing.txt"]["reason"] == "It is empty (0 bytes)."
    assert results["again.md"]["reason"] in ("", "same content as lamps.md")
    assert str(tmp_path) not in json.dumps(done)
    (failed,) = http.get(MUSEUM).json()["failed"]
    assert failed["name"] == "nothing.txt"
    hits = http.post(f"{MUSEUM}/search", json={"query": "whales"}).json()["hits"]
    assert hits[0]["text"].endswith("whales.")
    # What was uploaded goes from the disk with its asset: both copies, and the file that failed.
    assert http.delete(f"{MUSEUM}/assets/{hits[0]['asset_id']}").status_code == 204
    assert uploaded(tmp_path) == ["nothing.txt"]
    assert http.delete(f"{MUSEUM}/assets/{failed['id']}").status_code == 204
    assert uploaded(tmp_path) == []
    assert http.get(MUSEUM).json()["failed"] == []


def test_events_follow_a_job_to_its_end(server):
    http = server.http()
    job = http.post(f"{MUSEUM}/files", files={"files": ("a.md", b"# A note on tides")}).json()["job"]
    seen = events(http, job)
    states = [json.loads(data) for _, data in seen]
    assert states[-1]["state"] == "done"
    assert [one["done"] for one in states] == sorted(one["done"] for one in states)
    assert len({name for name, _ in seen}) == len(seen)
    assert [one["id"] for one in http.get(f"{MUSEUM}/jobs").json()["jobs"]] == [job]
    # Who comes again is told where the job is now, or nothing where that is known.
    assert events(http, job) == events(http, job, "something older") == seen[-1:]
    known = http.get(f"/api/jobs/{job}/events", headers={"Last-Event-ID": seen[-1][0]})
    assert (known.status_code, known.text) == (204, "")


def test_a_cancelled_job_leaves_only_finished_files(server, tmp_path):
    http = server.http()
    first = http.post(f"{MUSEUM}/files", files=pictures(tmp_path / "many", MANY)).json()["job"]
    second = http.post(f"{MUSEUM}/files", files={"files": ("later.md", b"# Later")}).json()["job"]
    until(http, first, has_begun)
    assert http.get(f"/api/jobs/{second}").json()["state"] == "queued"
    assert http.delete(f"/api/jobs/{second}").status_code == 204
    assert http.get(f"/api/jobs/{second}").json()["state"] == "cancelled"
    assert http.delete(f"/api/jobs/{first}").status_code == 204
    ended = until(http, first, is_over)
    assert ended["state"] == "cancelled"
    assert 0 < ended["done"] < MANY
    assert uploaded(tmp_path) == sorted(result["name"] for result in ended["results"])
    assert http.get(MUSEUM).json()["assets"]["indexed"] == ended["done"]
    assert http.delete(f"/api/jobs/{first}").status_code == 204  # a second time changes nothing
    # The next one finds its way free.
    third = http.post(f"{MUSEUM}/files", files={"files": ("next.md", b"# Next")}).json()["job"]
    assert until(http, third, is_over)["state"] == "done"


def test_while_a_job_runs_questions_are_answered_and_assets_deleted(server, tmp_path):
    http = server.http()
    note = http.post(f"{MUSEUM}/files", files={"files": ("tides.md", b"# Tides\n\nThe moon makes them.")}).json()["job"]
    until(http, note, is_over)
    job = http.post(f"{MUSEUM}/files", files=pictures(tmp_path / "many", MANY)).json()["job"]
    until(http, job, has_begun)
    (hit, *_) = http.post(f"{MUSEUM}/search", json={"query": "the moon", "to": ["text"]}).json()["hits"]
    assert hit["name"] == "tides.md"
    assert http.delete(f"{MUSEUM}/assets/{hit['asset_id']}").status_code == 204
    assert http.get(f"/api/jobs/{job}").json()["state"] == "running"
    assert until(http, job, is_over)["state"] == "done"
    assert http.get(MUSEUM).json()["assets"]["indexed"] == MANY


def serve_until_killed(folder):
    pipeline._BATCH, pipeline._WRITE_S = 4, 0.1
    with running(app(folder), folder):
        time.sleep(600)


def test_a_job_goes_on_after_the_server_was_killed(tmp_path):
    files = pictures(tmp_path / "many", MANY)
    (tmp_path / "state").mkdir()
    process = FORKED.Process(target=serve_until_killed, args=(tmp_path,))
    process.start()
    wait_until(lambda: (tmp_path / "s").exists() or not process.is_alive())
    with httpx.Client(transport=httpx.HTTPTransport(uds=str(tmp_path / "s"), retries=5), base_url=URL) as http:
        job = http.post(f"{MUSEUM}/files", files=files, timeout=60).json()["job"]
        before = until(http, job, has_begun)
    process.kill()
    process.join()
    (tmp_path / "s").unlink()
    with running(app(tmp_path), tmp_path) as server:
        http = server.http()
        found = http.get(f"/api/jobs/{job}").json()
        assert found["done"] >= before["done"]
        done = until(http, job, is_over)
        assert (done["state"], done["done"]) == ("done", MANY)
        assert {result["state"] for result in done["results"]} <= {"indexed", "unchanged"}
        assert http.get(MUSEUM).json()["assets"] == {"indexed": MANY, "empty": 0, "failed": 0}


def test_a_job_goes_on_after_the_server_was_stopped(tmp_path):
    with running(app(tmp_path), tmp_path) as server:
        job = server.http().post(f"{MUSEUM}/files", files=pictures(tmp_path / "many", MANY)).json()["job"]
        until(server.http(), job, has_begun)
    with running(app(tmp_path), tmp_path) as server:
        assert until(server.http(), job, is_over)["state"] == "done"
        assert server.http().get(MUSEUM).json()["assets"]["indexed"] == MANY


def test_too_many_waiting_jobs_are_refused(tmp_path):
    with running(app(tmp_path, allow_urls=True), tmp_path) as server:
        http = server.http()
        jobs = server.app.state.exhibit.runner.jobs
        first = http.post(f"{MUSEUM}/files", files=pictures(tmp_path / "many", MANY)).json()["job"]
        until(http, first, has_begun)
        for _ in range(MOST_WAITING):
            jobs.add("museum", [])
        for refused in (
            http.post(f"{MUSEUM}/files", files={"files": ("a.md", b"# A")}),
            http.post(f"{MUSEUM}/urls", json={"urls": ["http://a.example/"]}),
        ):
            assert refused.status_code == 429
            assert refused.headers["Retry-After"] == "60"


def test_uploads_have_bounds_of_their_own(tmp_path):
    with running(app(tmp_path, max_request_mb=0.01, max_upload_mb=0.1), tmp_path) as server:
        http = server.http()
        job = http.post(f"{MUSEUM}/files", files={"files": ("a.txt", b"x " * 6_000)})
        assert job.status_code == 202
        until(http, job.json()["job"], is_over)
        assert http.post(f"{MUSEUM}/files", files={"files": ("b.txt", b"x " * 60_000)}).status_code == 413
        unstated = http.post(
            f"{MUSEUM}/files",
            content=iter([part("c.txt", b"x" * 200_000), b"--edge--\r\n"]),
            headers={"Content-Type": BOUNDARY},
        )
        assert unstated.status_code == 413
        # What is no form is held in memory, so that it has the bounds of every request.
        json_like = {"Content-Type": "application/json"}
        assert http.post(f"{MUSEUM}/files", content=b" " * 20_000, headers=json_like).status_code == 413
        assert uploaded(tmp_path) == ["a.txt"]


async def test_files_are_the_same_however_the_form_is_cut(tmp_path):
    body = part("a.txt", b"one\r\n--edg") + part("a.txt", b"") + part("ß/../b.txt", b"two") + b"--edge--\r\n"
    for size in (1, 7, len(body)):
        upload = Upload(tmp_path, f"job{size}", LIMITS)
        found = await upload.receive(BOUNDARY, len(body), pieces(body, size))
        finish(tmp_path, f"job{size}")
        finish(tmp_path, f"job{size}")  # a second time does nothing
        assert [file.name for file in found] == ["a.txt", "a (2).txt", "b.txt"]
        assert [file.read_bytes() for file in found] == [b"one\r\n--edg", b"", b"two"]


@pytest.mark.parametrize(
    ("body", "status", "match"),
    [
        (part("a.txt", b"one"), 400, None),
        (part("a.txt", b"one") + part("b.txt", b"two")[:30], 400, None),
        (b"--edge--\r\n", 400, "`files`"),
        (b"nothing like a form", 400, None),
        (part("a.txt", b"one", field="other") + b"--edge--\r\n", 400, "`files`"),
        (b'--edge\r\nContent-Disposition: form-data; name="files"\r\n\r\nx\r\n--edge--\r\n', 400, "`files`"),
        (part("a.txt", b"x" * 1001) + b"--edge--\r\n", 413, "`a.txt`"),
        (part("a.txt", b"x" * 900) * 6 + b"--edge--\r\n", 413, None),
    ],
)
async def test_a_malformed_form_leaves_nothing(tmp_path, body, status, match):
    with pytest.raises(HTTPProblem, match=match) as refused:
        await Upload(tmp_path, "job", LIMITS).receive(BOUNDARY, 0, pieces(body, 100))
    assert refused.value.status_code == status
    assert list((tmp_path / "uploads").iterdir()) == []


async def test_the_form_of_an_upload_is_bounded(tmp_path):
    body = part("a.txt", b"") * (MOST_FILES + 1) + b"--edge--\r\n"
    with pytest.raises(HTTPProblem, match=str(MOST_FILES)):
        await Upload(tmp_path, "job", UploadLimits(1000, 10_000_000)).receive(BOUNDARY, 0, pieces(body, 10_000))
    with pytest.raises(HTTPProblem, match="multipart/form-data"):
        await Upload(tmp_path, "job", LIMITS).receive("application/json", 0, pieces(b"{}", 2))
    with pytest.raises(HTTPProblem, match="413"):
        await Upload(tmp_path, "job", LIMITS).receive(BOUNDARY, 5001, pieces(b"", 1))
    assert list((tmp_path / "uploads").iterdir()) == []


@pytest.mark.parametrize(
    ("given", "safe"),
    [
        ("photo.jpg", "photo.jpg"),
        ("Élan vital (3).PDF", "Élan vital (3).PDF"),
        ("../../etc/passwd", "passwd"),
        ("C:\\Users\\me\\talk.mp4", "talk.mp4"),
        (".hidden", "hidden"),
        ("..", "file"),
        ("", "file"),
        ("a\x00b\nc?.txt", "a_b_c_.txt"),
        ("evil\u202egpj.exe", "evil_gpj.exe"),
        ("con.txt", "_con.txt"),
        ("e\u0301.txt", "é.txt"),
    ],
)
def test_file_names_are_made_safe(given, safe):
    assert safe_name(given) == safe


def test_a_long_name_keeps_its_ending(tmp_path):
    name = safe_name("ü" * 300 + ".webm")
    assert name.endswith("ü.webm")
    assert len(name.encode()) <= 180
    for _ in range(3):
        unused_path(tmp_path, "ü" * 300 + ".webm").touch()
    assert len(list(tmp_path.iterdir())) == 3


def test_abandoned_uploads_are_deleted_after_an_hour(tmp_path):
    folder, long_ago = tmp_path / "uploads", time.time() - 4000
    for name in ("known.part", "old.part", "growing.part", "whole"):
        (folder / name).mkdir(parents=True)
        (folder / name / "a.txt").touch()
        if name != "growing.part":
            os.utime(folder / name / "a.txt", (long_ago, long_ago))
        os.utime(folder / name, (long_ago, long_ago))
    sweep(tmp_path, {"known"})
    assert sorted(kept.name for kept in folder.iterdir()) == ["growing.part", "known.part", "whole"]
    finish(tmp_path, "known")
    assert (folder / "known" / "a.txt").exists()


def test_old_jobs_are_deleted_and_running_ones_are_not(tmp_path):
    jobs = JobStore(tmp_path / "jobs.db")
    running_one = jobs.add("museum", [JobFile(0, "a.txt", "/a.txt")])
    for _ in range(230):
        jobs.set_state(jobs.add("museum", []), "done")
    kept = jobs.newest("museum", 1000)
    assert len(kept) <= 202
    assert kept[-1].id == running_one
    assert jobs.unfinished("museum") == [running_one]
    assert jobs.counts(["museum"])["queued"] == 1
    assert jobs.counts(["zoo"])["done"] == 0
    jobs.close()


def test_one_process_runs_the_jobs_and_any_can_cancel_them(tmp_path):
    one, other = JobStore(tmp_path / "jobs.db"), JobStore(tmp_path / "jobs.db")
    first, second, third = (one.add("museum", []) for _ in range(3))
    assert one.claim("museum") == first
    assert other.claim("museum") is None  # another process runs them
    assert other.claim("zoo") is None  # which has none
    assert other.cancel(second)
    assert one.get(second).state == "cancelled"
    assert not other.cancel(first)
    assert not one.is_cancelled(third)
    assert one.is_cancelled(first)
    one.set_state(first, "cancelled")
    assert not one.is_cancelled(first)
    assert one.claim("museum") == third
    assert one.claim("museum") is None
    one.close()  # as the end of its process does, with a job half done
    assert other.claim("museum") == third
    other.close()


def test_two_servers_of_one_state_run_each_job_once(tmp_path):
    """Both have the note's knowledge base open, as with a Qdrant server; here the second is another of its name."""
    (tmp_path / "second").mkdir()
    fetched = []

    def fetch(url, folder, alive):
        fetched.append(url)
        alive()
        file = folder / "note.md"
        file.write_text(f"# {url}")
        return file

    with ExitStack() as held:
        stores = [held.enter_context(closing(JobStore(tmp_path / "jobs.db"))) for _ in range(2)]
        bases = [held.enter_context(KnowledgeBase.open(tmp_path / name, SETTINGS)) for name in ("museum", "second")]
        runners = [JobRunner(jobs, {"museum": base}, fetch) for jobs, base in zip(stores, bases, strict=True)]
        for runner in runners:
            runner.start()
            held.callback(runner.stop)
        jobs = [stores[n % 2].add("museum", [JobFile(0, str(n), url=f"http://a.example/{n}")]) for n in range(6)]
        wait_until(lambda: all(stores[0].get(job).is_over for job in jobs))
        assert sorted(fetched) == [f"http://a.example/{n}" for n in range(6)]
        assert {stores[1].get(job).state for job in jobs} == {"done"}
        assert sorted(base.status().assets["indexed"] for base in bases) == [0, 6]


def test_a_job_whose_knowledge_base_fails_says_why_without_paths(tmp_path):
    jobs = JobStore(tmp_path / "jobs.db")
    base = KnowledgeBase.open(tmp_path / "museum", SETTINGS)
    (tmp_path / "a.txt").write_text("A note.")
    runner = JobRunner(jobs, {"museum": base}, fetch=lambda url, folder, alive: folder / "never")
    job = jobs.add("museum", [JobFile(0, "a.txt", str(tmp_path / "a.txt"))])
    base.close()
    runner.queue("museum")
    runner.start()
    found = wait_until(lambda: jobs.get(job), lambda found: found.is_over)
    runner.stop()
    assert found.state == "failed"
    assert found.error
    assert str(tmp_path) not in found.error
    jobs.close()


def test_the_id_of_a_failed_file_hides_its_path():
    one, other = (failed_file_id(FileResult(path, "failed")) for path in ("/home/me/a.txt", "/home/you/a.txt"))
    assert one != other
    assert one == failed_file_id(FileResult("/home/me/a.txt", "failed"))
