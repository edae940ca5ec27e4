"""Take the README's pictures of the page: `python -m tests.measure.page` while the demo's collection is served."""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

from playwright.sync_api import Browser, Page, expect, sync_playwright

from rag.server import web_page

_FOLDER = Path(web_page.__file__).parent / "ui" / "source" / "shown"
_MOST_BYTES = 60_000
_QUESTIONS = (
    "Which photo shows an orangutan?",
    "What name did Jane Goodall give to the first chimpanzee that let her come near?",
)
_TIMEOUT_S = 600


def main() -> None:
    """Ask the demo's questions on a wide and on a narrow screen, and save screenshots."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", default="http://127.0.0.1:8000")
    url = parser.parse_args().url
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        _desktop(browser, url)
        _phone(browser, url)
        browser.close()


def _desktop(browser: Browser, url: str) -> None:
    page = browser.new_page(viewport={"width": 1280, "height": 800})
    page.goto(url)
    for number, question in enumerate(_QUESTIONS, 1):
        page.get_by_label("Your question").fill(question)
        page.keyboard.press("Enter")
        expect(page.locator("article[aria-busy=false]")).to_have_count(number, timeout=1000 * _TIMEOUT_S)
    _save_screenshot(page, "desktop")


def _phone(browser: Browser, url: str) -> None:
    """Open the stored chat and its evidence."""
    page = browser.new_page(viewport={"width": 390, "height": 844}, color_scheme="dark")
    page.goto(url)
    page.get_by_role("button", name="Chats").click()
    page.get_by_role("list", name="Chats").get_by_role("button").first.click()
    page.locator(".answer").last.locator(".cite").last.click()
    _save_screenshot(page, "phone")


def _save_screenshot(page: Page, name: str) -> None:
    page.wait_for_function("() => document.querySelector('audio').readyState >= 1")
    page.wait_for_timeout(1000)  # until nothing fades or scrolls
    for quality in range(80, 30, -5):
        file = _FOLDER / f"{name}.jpg"
        page.screenshot(path=file, type="jpeg", quality=quality)
        if file.stat().st_size < _MOST_BYTES:
            print(f"{file.name}: {file.stat().st_size} bytes, quality {quality}")
            return


if __name__ == "__main__":
    main()
