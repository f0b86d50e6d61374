"""`skylift console` of a cloud, as its user starts it, and what must hold of every page that it shows."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from http.client import HTTPConnection
from urllib.parse import urlsplit

from support.browser import Tab
from support.real_cloud import RealCloud

HOSTILE = "<img src=x onerror=window.hacked=1>"


class Console:
    """`process` prints the first link, and `another` gives the next one."""

    def __init__(self, process: subprocess.Popen[bytes], another: Callable[[], str]) -> None:
        self._process, self._another = process, another
        assert self._process.stdout is not None
        self.first_link = self._process.stdout.readline().decode().strip()
        self.host = urlsplit(self.first_link).netloc

    def link(self) -> str:
        """Another one, from the console that is up."""
        return self._another().strip()

    def ask(self, path: str, **headers: str) -> int:
        connection = HTTPConnection(self.host, timeout=30)
        connection.request("GET", path, headers=headers)
        return connection.getresponse().status

    def end(self) -> int:
        self._process.terminate()
        return self._process.wait()


def console_of(cloud: RealCloud) -> Console:
    words = ("console", "--no-browser")
    started = cloud.popen(*words, cwd=cloud.work, stdout=subprocess.PIPE)
    return Console(started, lambda: cloud.skylift(*words).stdout)


def check_nothing_wrong(tab: Tab, console: Console) -> None:
    """No script of a tag's ran, nothing failed, and nobody but the console was asked for anything."""
    assert tab.page.evaluate("window.hacked") is None
    assert not tab.wrong, tab.wrong
    assert {urlsplit(url).netloc for url in tab.asked if not url.startswith(("data:", "blob:"))} == {console.host}
