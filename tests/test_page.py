"""The web page in a real browser: before a scripted server, and once before the real one with its models."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright
from starlette.types import ASGIApp, Receive, Scope, Send

from rag.server import web_page
from rag.server.app import create_app
from rag.server.state import ServerOptions
from tests.fakes.native_api import HOSTILE, Site
from tests.fakes.uvicorn_server import served

pytestmark = pytest.mark.allow_hosts(["127.0.0.1"])

UI = Path(web_page.__file__).parent / "ui"
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
PHONE = {"width": 390, "height": 844}
DESKTOP = {"width": 1280, "height": 800}
PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
expect.set_options(timeout=20_000)  # a busy machine is no failure
PICTURE = {"name": "asked.png", "mimeType": "image/png", "buffer": PIXEL}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        pytest.skip("There is no Chromium here; on Debian: apt-get install chromium.")
    arguments = ["--no-sandbox", "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=arguments)
        yield browser
        browser.close()


@pytest.fixture
def site(demo_folder: Path, tmp_path: Path) -> Iterator[Site]:
    site = Site(demo_folder, tmp_path)
    yield site
    site.going_on.set()
    site.history.close()


class CurrentSite:
    """The app of one server for all tests; each test gives it a site of its own."""

    app: ASGIApp

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan":
            await self.app(scope, receive, send)


@pytest.fixture(scope="module")
def current_site() -> CurrentSite:
    return CurrentSite()


@pytest.fixture(scope="module")
def server_url(current_site: CurrentSite) -> Iterator[str]:
    with served(current_site) as url:
        yield url


@pytest.fixture
def url(server_url: str, current_site: CurrentSite, site: Site) -> str:
    current_site.app = site.app()
    return server_url


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    context = browser.new_context(viewport=DESKTOP)
    context.set_default_timeout(20_000)
    yield context
    context.close()


@pytest.fixture
def page(context: BrowserContext, url: str) -> Iterator[Page]:
    """The page, which reports neither errors of its own nor what its security policy refused."""
    page = context.new_page()
    wrong: list[str] = []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("console", lambda said: said.type == "error" and "status of 4" not in said.text and wrong.append(said.text))
    page.goto(url)
    yield page
    page.close()  # a server that ends while a film is being read leaves a socket open
    assert not wrong


def ask(page: Page, question: str) -> None:
    page.get_by_label("Your question").fill(question)
    page.keyboard.press("Enter")


def go(page: Page, view: str) -> None:
    page.get_by_role("navigation", name="Views").get_by_role("link", name=view).click()


def evidence(page: Page) -> Page:
    return page.get_by_label("Evidence", exact=True)  # type: ignore[return-value]


def is_drawn(page: Page, selector: str) -> None:
    page.wait_for_function("s => { const i = document.querySelector(s); return i && i.naturalWidth > 0 }", arg=selector)


def test_an_answer_cites_the_picture_and_shows_it(page: Page) -> None:
    ask(page, "Which photo shows an orangutan?")
    answer = page.locator(".answer")
    expect(answer).to_have_text("The fourth photo shows an orangutan 1.")
    expect(answer.get_by_role("button", name="Exhibit 1: photo-04.jpg")).to_be_enabled()
    is_drawn(page, ".panel .enlarge img")
    evidence(page).get_by_role("button", name="Enlarge: Picture: orangutan").click()
    expect(page.get_by_role("dialog", name="photo-04.jpg").get_by_role("img")).to_be_visible()


def test_a_recording_plays_from_the_cited_second_and_its_words_run_along(page: Page) -> None:
    ask(page, "What did Goodall call him?")
    panel = evidence(page)
    expect(panel).to_contain_text("0:13–0:19 of audio-guide.m4a")
    assert "/evidence/audio-guide.m4a:t=13.000,19.000/clip" in page.locator("audio").get_attribute("src")
    expect(panel.locator(".near")).to_have_text(["David ", "was ", "near. "])  # the sentence that says so
    page.locator("audio").evaluate("audio => { audio.playbackRate = 0.1 }")  # a busy machine shall not miss its end
    panel.get_by_role("button", name="Play from 0:15").click()
    page.wait_for_function("() => document.querySelector('audio').currentTime > 2.1")
    panel.get_by_role("button", name="Pause").click()
    panel.get_by_label("Position in the recording").fill("15.7")
    expect(panel.locator("[aria-current=true]")).to_have_text("was ")
    panel.get_by_text("Goodall", exact=True).click()
    page.wait_for_function("() => Math.abs(document.querySelector('audio').currentTime - 0.4) < 0.05")
    expect(panel.locator("[aria-current=true]")).to_have_text("Goodall ")


def test_frames_of_a_moment_seek_the_video(page: Page) -> None:
    ask(page, "Where is a bee?")
    frames = evidence(page).get_by_role("list", name="Frames of this moment").get_by_role("button")
    expect(frames).to_have_count(3)
    page.wait_for_function("() => document.querySelector('video').readyState >= 1")
    frames.nth(1).click()
    page.wait_for_function("() => Math.abs(document.querySelector('video').currentTime - 3) < 0.05")
    expect(evidence(page)).to_contain_text("In the video: 0:35, from 0:32 to 0:41")


def test_a_video_has_captions_in_full_screen(page: Page) -> None:
    ask(page, "Where is a bee?")
    expect(page.locator("video track")).to_be_attached()
    page.evaluate("document.querySelector('video').textTracks[0].mode = 'hidden'")
    page.wait_for_function("() => document.querySelector('video').textTracks[0].cues?.length === 2")
    cue = page.evaluate(
        "(({ text, startTime, endTime }) => [text, startTime, endTime])"
        "(document.querySelector('video').textTracks[0].cues[0])"
    )
    assert cue == ["A bee.", 0.5, pytest.approx(1.2)]


def test_a_page_has_its_box_and_a_citation_leads_to_its_evidence(page: Page) -> None:
    ask(page, "What do they use as spears?")
    is_drawn(page, ".panel .enlarge img[src$='/marked']")
    page.get_by_role("button", name="Exhibit 2: notes.md").click()
    expect(page.locator("#exhibit-2")).to_be_focused()
    expect(page.locator("#exhibit-2")).to_contain_text("Primates grasp.")


def test_what_is_not_supported_has_a_sign_and_its_reason(page: Page) -> None:
    ask(page, "What is judged?")
    expect(page.locator(".answer .cite")).to_have_text(["1", "2", "3", "4", "1"])
    signs = page.locator(".answer .doubt")
    expect(signs).to_have_text(
        [f"? (Not checked: {HOSTILE})", "≠ (The evidence says otherwise: It is a gibbon.)"][::-1]
    )
    expect(signs.last).to_have_attribute("title", f"Not checked: {HOSTILE}")
    expect(page.locator(".answer .cite + .doubt")).to_have_count(2)
    expect(page.locator(".answer")).not_to_contain_text("Not checked: no words")
    expect(page.locator("#exhibit-1 .doubted")).to_have_text(f"?Not checked: {HOSTILE}")
    expect(page.locator("#exhibit-2 .doubted")).to_have_count(0)
    assert page.evaluate("window.broken") is None


def test_the_words_and_seconds_of_a_verdict_are_marked(page: Page) -> None:
    ask(page, "What is judged?")
    expect(page.locator("#exhibit-2 mark")).to_have_text("Primates  grasp.")
    expect(page.locator(".answer .cite").nth(1)).to_have_attribute("title", "“Primates grasp.”")
    expect(page.locator("#exhibit-3 .transcript .near")).to_have_text(["was ", "near. "])
    expect(page.get_by_role("button", name="Play from 0:15")).to_be_visible()


def test_an_answer_from_before_verdicts_has_no_signs(page: Page) -> None:
    ask(page, "What was said before verdicts?")
    expect(page.locator(".answer .cite")).to_have_text(["1"])
    expect(page.locator("#exhibit-1")).to_be_visible()
    expect(page.locator(".doubt")).to_have_count(0)


def test_a_declined_answer_is_marked_and_offers_a_search(page: Page) -> None:
    ask(page, "How much does a gorilla weigh?")
    expect(page.get_by_text("Not in the collection")).to_be_visible()
    expect(evidence(page)).to_have_count(0)
    page.get_by_role("link", name="Search for it").click()
    expect(page.get_by_label("What to search for")).to_have_value("How much does a gorilla weigh?")
    expect(page.get_by_role("list", name="Found", exact=True).get_by_role("button")).to_have_count(4)


def test_a_chat_survives_a_reload(page: Page, site: Site) -> None:
    ask(page, "Which photo shows an orangutan?")
    expect(page.locator("article[aria-busy=false]")).to_have_count(1)
    ask(page, "How much does it weigh?")
    expect(page.locator("article[aria-busy=false]")).to_have_count(2)
    first, second = site.requests
    assert first["model"] == "museum"
    assert first["conversation"] == second["conversation"]
    page.reload()
    expect(page.locator(".answer")).to_have_text(
        ["The fourth photo shows an orangutan 1.", re.compile("does not say how much")]
    )
    expect(page.get_by_text("Not in the collection")).to_have_count(1)
    is_drawn(page, ".panel .enlarge img")
    page.get_by_role("button", name="New chat").click()
    expect(page.get_by_role("heading", name="Ask museum")).to_be_visible()
    ask(page, "Where is a bee?")
    expect(page.locator("article[aria-busy=false]")).to_have_count(1)
    assert site.requests[-1]["conversation"] != first["conversation"]


def test_earlier_chats_can_be_listed_opened_and_deleted(page: Page) -> None:
    for question in ("Which photo shows an orangutan?", "Where is a bee?"):
        ask(page, question)
        expect(page.locator("article[aria-busy=false]")).to_have_count(1)
        page.get_by_role("button", name="New chat").click()
    page.get_by_role("button", name="Chats").click()
    chats = page.get_by_role("dialog", name="Chats").get_by_role("list", name="Chats").get_by_role("listitem")
    expect(chats).to_contain_text(["Where is a bee?", "Which photo shows an orangutan?"])
    chats.nth(0).get_by_role("button", name="Delete").click()
    expect(page.get_by_role("button", name="Keep it")).to_be_focused()
    chats.nth(0).get_by_role("button", name="Delete", exact=True).click()
    expect(chats).to_have_count(1)
    chats.get_by_role("button", name="Which photo").first.click()
    expect(page.get_by_role("dialog")).to_have_count(0)
    expect(page.locator(".answer")).to_have_text("The fourth photo shows an orangutan 1.")
    page.get_by_role("button", name="Chats").click()
    chats.get_by_role("button", name="Delete").click()
    chats.get_by_role("button", name="Delete", exact=True).click()
    expect(page.get_by_text("No chats yet")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("heading", name="Ask museum")).to_be_visible()


def test_a_chat_that_is_gone_gives_way_to_a_new_one(page: Page) -> None:
    page.evaluate("sessionStorage.setItem('exhibit-chat-museum', 'conv_gone')")
    page.reload()
    expect(page.get_by_role("heading", name="Ask museum")).to_be_visible()
    assert page.evaluate("sessionStorage.length") == 0


def test_questions_are_suggested_that_the_files_answer(page: Page, site: Site) -> None:
    suggested = page.get_by_role("list", name="Suggested questions").get_by_role("button")
    expect(suggested).to_have_text(["What is said about Tools?", "Which picture shows an orangutan?"])
    suggested.nth(1).click()
    expect(page.locator(".answer")).to_have_text("The fourth photo shows an orangutan 1.")
    assert site.requests[-1]["input"] == "Which picture shows an orangutan?"


def test_an_answer_is_copied_with_its_sources(page: Page, context: BrowserContext) -> None:
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    ask(page, "What do they use as spears?")
    page.get_by_role("button", name="Copy").click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    copied = "They use sticks [1], and grasp [2].\n\n[1] page 3 of catalogue.pdf\n[2] notes.md"
    assert page.evaluate("navigator.clipboard.readText()") == copied


def test_evidence_is_downloaded(page: Page) -> None:
    ask(page, "Which photo shows an orangutan?")
    with page.expect_download() as downloading:
        evidence(page).get_by_role("link", name="Download photo-04.jpg").click()
    assert downloading.value.suggested_filename == "photo-04.jpg.jpg"
    assert downloading.value.path().read_bytes()[:3] == b"\xff\xd8\xff"


def test_a_draft_and_search_results_survive_a_change_of_view(page: Page) -> None:
    page.get_by_label("Your question").fill("Half a quest")
    page.get_by_label("Pictures and recordings").set_input_files(PICTURE)
    go(page, "Search")
    page.get_by_label("What to search for").fill("primates")
    page.keyboard.press("Enter")
    expect(page.get_by_role("list", name="Found", exact=True).get_by_role("listitem")).to_have_count(4)
    go(page, "Ask")
    expect(page.get_by_label("Your question")).to_have_value("Half a quest")
    expect(page.get_by_role("list", name="Attachments").get_by_role("img")).to_have_count(1)
    go(page, "Search")
    expect(page.get_by_label("What to search for")).to_have_value("primates")
    expect(page.get_by_role("list", name="Found", exact=True).get_by_role("listitem")).to_have_count(4)


def test_words_run_in_the_direction_of_their_script(page: Page) -> None:
    ask(page, "متى يفتح المتحف؟")
    expect(page.locator(".asked p")).to_have_css("direction", "rtl")
    expect(page.locator(".answer p")).to_have_css("direction", "ltr")


def test_an_answer_goes_on_during_a_change_of_view(page: Page, site: Site) -> None:
    ask(page, "Tell me slowly of the orangutan")
    expect(page.locator(".answer")).to_have_text("The fou")
    go(page, "Library")
    site.going_on.set()
    go(page, "Ask")
    expect(page.locator(".answer")).to_have_text("The fourth photo shows an orangutan 1.")


def test_a_picture_can_be_picked_dropped_or_pasted(page: Page, site: Site) -> None:
    page.get_by_label("Pictures and recordings").set_input_files(PICTURE)
    for kind in ("drop", "paste"):
        page.get_by_label("Your question").evaluate(
            """(box, [kind, data]) => {
                const bytes = Uint8Array.from(atob(data), (c) => c.charCodeAt(0));
                const held = new DataTransfer();
                held.items.add(new File([bytes], `${kind}.png`, { type: 'image/png' }));
                const how = { bubbles: true, cancelable: true };
                box.dispatchEvent(kind === 'drop' ? new DragEvent('drop', { ...how, dataTransfer: held })
                    : new ClipboardEvent('paste', { ...how, clipboardData: held }));
            }""",
            [kind, base64.b64encode(PIXEL).decode()],
        )
    expect(page.get_by_role("list", name="Attachments").get_by_role("img")).to_have_count(3)
    page.get_by_role("button", name="Remove paste.png").click()
    ask(page, "An orangutan like this?")
    expect(page.locator(".answer")).to_contain_text("orangutan")
    words, *pictures = site.requests[-1]["input"][-1]["content"]
    assert words == {"type": "text", "text": "An orangutan like this?"}
    urls = [picture["image_url"]["url"] for picture in pictures]
    assert urls == [f"data:image/png;base64,{base64.b64encode(PIXEL).decode()}"] * 2


def test_other_attachments_are_refused_with_a_hint(page: Page) -> None:
    page.get_by_label("Pictures and recordings").set_input_files(
        PICTURE | {"name": "a.pdf", "mimeType": "application/pdf"}
    )
    expect(page.get_by_role("alert")).to_contain_text("“a.pdf” is neither a picture nor a recording")


def test_a_question_can_be_recorded(page: Page, site: Site) -> None:
    page.get_by_role("button", name="Record a question").click()
    page.get_by_role("button", name=re.compile(r"^Stop recording, 0:(?!00)")).click()  # at whichever second that is
    expect(page.get_by_label("Recording", exact=True)).to_be_visible()
    page.get_by_role("button", name="Ask", exact=True).click()
    expect(page.locator("article[aria-busy=false]")).to_have_count(1)
    (spoken,) = site.requests[-1]["input"][-1]["content"]
    assert spoken["input_audio"]["format"] == "webm"
    assert base64.b64decode(spoken["input_audio"]["data"])[:4] == b"\x1aE\xdf\xa3"  # as every WebM file begins


def test_text_of_a_model_is_never_markup(page: Page) -> None:
    ask(page, "A foreign answer, please")
    answer = page.locator(".answer")
    expect(answer.locator("strong")).to_have_text("bold")
    expect(answer).to_contain_text("1 < 2 & 3")
    expect(answer).to_contain_text("<img src=x onerror=")
    expect(answer.locator("img, a")).to_have_count(0)
    assert page.evaluate("window.broken") is None


def test_after_an_overload_the_question_can_be_sent_again(page: Page, site: Site) -> None:
    site.failing = 429
    ask(page, "Which photo shows an orangutan?")
    expect(page.get_by_role("alert")).to_contain_text("Too many questions at once.")
    again = page.get_by_role("button", name="Try again", exact=True)
    again.click()
    expect(page.locator(".answer")).to_contain_text("orangutan")
    expect(page.get_by_role("alert")).to_have_count(0)


def test_a_failure_in_the_middle_of_an_answer_is_an_alert(page: Page) -> None:
    ask(page, "This breaks, orangutan")
    expect(page.locator(".answer")).to_have_text("The fou")
    expect(page.get_by_role("alert")).to_contain_text("The language model failed.")


def test_a_lost_connection_is_an_alert(page: Page) -> None:
    ask(page, "This is cut off, orangutan")
    expect(page.get_by_role("alert")).to_contain_text("The connection to the server was lost.")


def test_an_answer_can_be_stopped(page: Page) -> None:
    ask(page, "Tell me slowly of the orangutan")
    expect(page.locator(".answer")).to_have_text("The fou")
    page.get_by_role("button", name="Stop").click()
    expect(page.get_by_text("Stopped.")).to_be_visible()
    expect(page.get_by_role("button", name="Ask", exact=True)).to_be_visible()


def test_an_unreachable_server_is_an_alert(page: Page) -> None:
    expect(page.get_by_label("Your question")).to_be_visible()  # by then it has asked what it needs to begin
    page.evaluate("() => { window.fetch = () => Promise.reject(new TypeError('network')) }")
    ask(page, "Anyone there?")
    expect(page.get_by_role("alert")).to_contain_text("The server cannot be reached")


def test_a_key_is_requested_and_stored_in_the_tab(page: Page, site: Site) -> None:
    site.key = "exhibit-secret"
    page.reload()
    field = page.get_by_label("API key")
    expect(page.get_by_role("dialog")).to_contain_text("A key is needed. Ask the operator of this server")
    field.fill("wrong")
    page.get_by_role("button", name="Use this key").click()
    expect(page.get_by_role("dialog")).to_contain_text("The server does not accept this key.")
    field.fill("exhibit-secret")
    page.get_by_role("button", name="Use this key").click()
    expect(page.get_by_role("heading", name="Ask museum")).to_be_visible()
    assert page.evaluate("Object.values(sessionStorage)") == ["exhibit-secret"]
    assert page.evaluate("Object.values(localStorage)") == []


def test_a_search_shows_hits_by_medium_and_can_be_limited_to_one(page: Page, site: Site) -> None:
    go(page, "Search")
    page.get_by_label("What to search for").fill("primates")
    page.keyboard.press("Enter")
    found = page.get_by_role("list", name="Found", exact=True).get_by_role("button")
    expect(found).to_have_count(4)
    expect(page.get_by_role("list", name="Weaker matches").get_by_role("button")).to_have_count(1)
    page.get_by_text("Audio", exact=True).click()
    expect(found).to_have_count(1)
    assert site.requests[-1] == {"query": "primates", "to": ["audio"], "where": {}, "top_k": 24, "rerank": False}
    found.first.click()
    dialog = page.get_by_role("dialog", name="0:13–0:19 of audio-guide.m4a")
    expect(dialog.get_by_role("button", name="Play from 0:13")).to_be_visible()
    dialog.get_by_text("Why it was found").click()
    expect(dialog).to_contain_text("place 1")


def test_a_search_that_finds_nothing_and_one_that_fails(page: Page, site: Site) -> None:
    go(page, "Search")
    page.get_by_label("What to search for").fill("nothing")
    page.keyboard.press("Enter")
    expect(page.get_by_text("Nothing found")).to_be_visible()
    site.failing = 422
    page.get_by_role("button", name="Search", exact=True).click()
    expect(page.get_by_role("alert")).to_contain_text("The index cannot be reached.")
    page.get_by_role("button", name="Try again", exact=True).click()
    expect(page.get_by_text("Nothing found")).to_be_visible()


def test_files_are_added_with_progress_and_with_reasons_where_they_fail(page: Page, site: Site) -> None:
    go(page, "Library")
    page.get_by_label("Files to add").set_input_files([PICTURE, PICTURE | {"name": "broken.png"}])
    uploads = page.get_by_role("region", name="Uploads")
    expect(uploads.get_by_role("progressbar")).to_have_attribute("max", "2")
    expect(uploads).to_contain_text("Adding asked.png (0 of 2)")
    go(page, "Ask")  # it goes on while something else is shown
    site.going_on.set()
    go(page, "Library")
    expect(uploads).to_contain_text("2 files: done")
    expect(uploads).to_contain_text("broken.png It is no picture that can be read.")
    expect(page.get_by_role("list", name="Files").get_by_text("asked.png")).to_be_visible()
    uploads.get_by_role("button", name="Dismiss").click()
    expect(uploads).to_have_count(0)


def test_an_upload_survives_a_reload(page: Page, site: Site) -> None:
    go(page, "Library")
    page.get_by_label("Files to add").set_input_files(PICTURE)
    uploads = page.get_by_role("region", name="Uploads")
    expect(uploads).to_contain_text("Adding asked.png (0 of 1)")
    page.reload()
    expect(uploads).to_contain_text("Adding asked.png (0 of 1)")
    site.going_on.set()
    expect(uploads).to_contain_text("asked.png: done")
    expect(page.get_by_role("list", name="Files").get_by_text("asked.png")).to_be_visible()


def test_an_upload_can_be_cancelled_or_refused(page: Page) -> None:
    go(page, "Library")
    page.get_by_label("Files to add").set_input_files(PICTURE)
    page.get_by_role("button", name="Cancel").click()
    expect(page.get_by_role("region", name="Uploads")).to_contain_text("asked.png: cancelled")
    page.get_by_label("Files to add").set_input_files(PICTURE | {"name": "huge.mp4"})
    expect(page.get_by_role("alert")).to_contain_text("larger than 32 MB")


def test_files_can_be_filtered_opened_and_deleted(page: Page, site: Site) -> None:
    go(page, "Library")
    rows = page.get_by_role("list", name="Files").get_by_role("listitem")
    expect(rows).to_have_count(5)
    page.get_by_label("Find by name").fill("photo")
    expect(rows).to_have_count(2)
    page.get_by_label("Find by name").fill("")
    page.get_by_label("Medium").select_option("video")
    expect(rows).to_have_count(1)
    rows.get_by_text("film.mp4").click()
    segments = page.get_by_role("dialog", name="film.mp4").get_by_role("button", expanded=False)
    expect(segments).to_have_count(3)
    page.keyboard.press("Escape")
    page.get_by_label("Medium").select_option("image")
    page.get_by_role("button", name="Delete photo-04.jpg").click()
    page.get_by_role("dialog", name="Delete photo-04.jpg?").get_by_role("button", name="Delete").click()
    expect(page.get_by_role("button", name="Delete photo-04.jpg")).to_have_count(0)
    expect(page.get_by_text("4 files,")).to_be_visible()
    assert "photo-04.jpg" not in [asset["id"] for asset in site.assets["museum"]]


def test_a_refused_deletion_is_an_alert(page: Page) -> None:
    go(page, "Library")
    page.get_by_role("button", name="Delete film.mp4").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(page.get_by_role("alert")).to_contain_text("This key may only read.")


def test_files_that_failed_stand_with_their_reasons_and_can_be_forgotten(page: Page) -> None:
    go(page, "Library")
    page.get_by_text("1 file could not be added").click()
    expect(page.get_by_text("locked.pdf: It is encrypted")).to_be_visible()
    page.get_by_role("button", name="Remove locked.pdf").click()
    expect(page.get_by_text("could not be added")).to_have_count(0)


def test_another_knowledge_base_is_chosen_and_stays_chosen(page: Page) -> None:
    page.get_by_label("Knowledge base").select_option("empty")
    expect(page.get_by_role("heading", name="There is nothing in empty yet")).to_be_visible()
    page.reload()
    expect(page.get_by_role("heading", name="There is nothing in empty yet")).to_be_visible()
    page.get_by_role("main").get_by_role("link", name="library").click()
    expect(page.get_by_text("No files yet")).to_be_visible()


def test_everything_is_within_the_width_of_a_phone(page: Page) -> None:
    page.set_viewport_size(PHONE)
    ask(page, "What do they use as spears, in a word-of-so-many-letters-that-no-phone-has-room-for-them-all?")
    expect(page.locator("article[aria-busy=false]")).to_have_count(1)
    for view in ("ask", "search", "library"):
        go(page, view)
        expect(page).to_have_title(re.compile(view, re.I))
        assert page.evaluate("document.documentElement.scrollWidth") == PHONE["width"]


def test_on_a_phone_a_citation_opens_a_sheet_and_escape_leads_back(page: Page) -> None:
    page.set_viewport_size(PHONE)
    ask(page, "Which photo shows an orangutan?")
    cite = page.locator(".answer").get_by_role("button", name="Exhibit 1: photo-04.jpg")
    cite.click()
    is_drawn(page, "dialog .enlarge img")
    expect(evidence(page)).to_have_count(0)
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    expect(cite).to_be_focused()


def test_the_keyboard_is_enough(page: Page) -> None:
    expect(page.get_by_role("heading", name="Ask museum")).to_be_visible()
    page.keyboard.press("/")
    page.keyboard.type("What do they use as spears?")
    page.keyboard.press("Shift+Enter")
    page.keyboard.type("Tell me.")
    page.keyboard.press("Enter")
    cite = page.locator(".answer").get_by_role("button", name="Exhibit 1")
    expect(cite).to_be_enabled()
    for _ in range(20):
        page.keyboard.press("Shift+Tab")
        if cite.evaluate("button => button === document.activeElement"):
            break
    page.keyboard.press("Enter")
    expect(page.locator("#exhibit-1")).to_be_focused()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog")).to_be_visible()


def test_it_is_dark_where_the_system_is_or_the_user_wants_it(page: Page) -> None:
    body, light = page.locator("body"), "rgb(250, 248, 244)"
    expect(body).to_have_css("background-color", light)
    page.emulate_media(color_scheme="dark")
    expect(body).to_have_css("background-color", "rgb(23, 21, 18)")
    page.get_by_role("button", name="Colours: system. Change to light").click()
    expect(body).to_have_css("background-color", light)
    page.reload()
    expect(page.get_by_role("button", name="Colours: light. Change to dark")).to_be_visible()
    expect(body).to_have_css("background-color", light)


def test_only_its_own_scripts_run_and_only_versioned_files_are_cached(site: Site, url: str) -> None:
    with httpx.Client(base_url=url) as client:
        answer = client.get("/")
        policy = answer.headers["Content-Security-Policy"]
        assert "default-src 'none'; script-src 'self'; style-src 'self';" in policy
        assert "unsafe" not in policy
        assert answer.headers["Cache-Control"] == "no-store"
        names = re.findall(r'(?:src|href)="\./(assets/[^"]+)"', answer.text)
        assert len(names) >= 3
        assert "://" not in answer.text
        for name in names:
            assert "immutable" in client.get(f"/{name}").headers["Cache-Control"]
        assert client.get("/assets/../index.html").status_code == 404
        assert client.get("/assets/missing.js").status_code == 404


def test_the_built_page_matches_its_sources() -> None:
    source = UI / "source"
    files = [str(file.relative_to(source)) for file in (source / "src").rglob("*") if file.is_file()]
    digest = hashlib.sha256()
    for name in sorted([*files, "index.html", "package-lock.json"]):
        digest.update(name.encode() + (source / name).read_bytes())
    built = (UI / "built" / "index.html").read_text()
    assert f'content="{digest.hexdigest()}"' in built, "run `npm ci && npm run build` in rag/server/ui/source"
    assert sum(file.stat().st_size for file in (UI / "built").rglob("*") if file.is_file()) < 400_000


def test_the_packages_of_the_page_are_named_without_a_registry() -> None:
    lock = json.loads((UI / "source" / "package-lock.json").read_text())
    assert lock["packages"]
    assert not [name for name, package in lock["packages"].items() if "resolved" in package]


def test_every_package_of_the_page_is_locked_for_every_machine() -> None:
    """`npm ci` refuses a lock file in which one is missing, even one for other machines."""
    packages = json.loads((UI / "source" / "package-lock.json").read_text())["packages"]
    wanted = {name for package in packages.values() for name in package.get("optionalDependencies", {})}
    assert wanted
    assert not wanted - {name.rpartition("node_modules/")[2] for name in packages}


@pytest.mark.language_model
def test_the_real_server_answers_with_the_picture(context: BrowserContext, demo_template: Path, tmp_path: Path) -> None:
    museum = shutil.copytree(demo_template, tmp_path / "museum")
    page = context.new_page()
    with served(create_app([museum], ServerOptions(tmp_path / "state", is_open=True))) as url:
        page.goto(url)
        ask(page, "Which photo shows an orangutan?")
        expect(page.locator("article[aria-busy=false]")).to_have_count(1, timeout=300_000)
        expect(page.locator(".answer")).to_contain_text("photo-04")
        is_drawn(page, ".panel .enlarge img")
        go(page, "Search")
        page.get_by_label("What to search for").fill("how a dynamo works")
        page.keyboard.press("Enter")
        expect(page.locator(".hit").first).to_be_visible(timeout=60_000)
        go(page, "Library")
        expect(page.get_by_role("list", name="Files").get_by_role("listitem")).to_have_count(12)
        page.goto("about:blank")
