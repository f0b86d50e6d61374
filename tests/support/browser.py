"""The distribution's Chromium, told to call nobody but the page."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, BrowserType, Error, Page, Request, expect, sync_playwright

PATIENCE = 30_000
"""Milliseconds after which a test no longer believes in what it waits for."""
expect.set_options(timeout=PATIENCE)
_NETWORK_CHANGED = "net::ERR_NETWORK_CHANGED"

QUIET = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    # It asks its maker for updates and accounts all the same: there is nobody by any name.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.*",
]


@contextmanager
def chromium() -> Iterator[Browser]:
    with sync_playwright() as playwright, _launched(playwright.chromium) as browser:
        yield browser


@contextmanager
def another(browser: Browser, *options: str) -> Iterator[Browser]:
    """A process of its own, with options of its own. Playwright itself is there once in a thread."""
    with _launched(browser.browser_type, *options) as opened:
        yield opened


@contextmanager
def _launched(kind: BrowserType, *options: str) -> Iterator[Browser]:
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    assert program, "these tests need Chromium: apt-get install chromium"
    browser = kind.launch(executable_path=program, args=[*QUIET, *options])
    try:
        yield browser
    finally:
        browser.close()


class Tab:
    """A page in a context of its own, with all that goes wrong in it and all that it asks for."""

    def __init__(self, browser: Browser, *, dark: bool = False) -> None:
        self.context = browser.new_context(
            viewport={"width": 1280, "height": 760}, color_scheme="dark" if dark else "light"
        )
        self.page: Page = self.context.new_page()
        self.page.set_default_timeout(PATIENCE)
        self.wrong: list[str] = []
        self.asked: list[str] = []
        self._dropped: list[str] = []
        self.page.on("requestfailed", self._see_failure)
        self.page.on("pageerror", lambda error: self._see_error(str(error)))
        self.page.on("console", lambda said: self._see_error(said.text) if said.type == "error" else None)
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.on("websocket", lambda socket: self.asked.append(socket.url))

    def _see_failure(self, request: Request) -> None:
        if request.failure == _NETWORK_CHANGED:
            self._dropped.append(request.url)

    def _see_error(self, text: str) -> None:
        """What Chromium drops because some test has changed the machine's network is nothing wrong with a page."""
        if _NETWORK_CHANGED not in text and not any(url in text for url in self._dropped):
            self.wrong.append(text)

    def go(self, address: str) -> None:
        """As somebody who types it. If the page before lacked a part and is loaded again at that moment, Playwright
        takes this for interrupted, and the browser goes on to the address."""
        try:
            self.page.goto(address)
        except Error as error:
            if "is interrupted by another navigation" not in error.message:
                raise
            self.page.wait_for_url(address)

    def picture(self, name: str) -> None:
        """Keep what is seen, where SKYLIFT_PICTURES says so: docs/console.md has the pictures of this walk."""
        if folder := os.environ.get("SKYLIFT_PICTURES"):
            # What was told of an earlier step goes after some seconds.
            expect(self.page.locator(".notice")).to_have_count(0)
            self.page.screenshot(path=Path(folder) / f"{name}.png")
