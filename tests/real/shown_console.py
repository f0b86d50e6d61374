"""`skylift console` of a cloud, as its user starts it, and what must hold of every page that it shows."""

from __future__ import annotations

import subprocess
from http.client import HTTPConnection
from urllib.parse import urlsplit

from browser import Tab
from real_cloud import RealCloud

HOSTILE = "<img src=x onerror=window.hacked=1>"


class Console:
    def __init__(self, cloud: RealCloud) -> None:
        self._cloud = cloud
        self._process = cloud.popen("console", "--no-browser", cwd=cloud.work, stdout=subprocess.PIPE)
        assert self._process.stdout is not None
        self.first_link = self._process.stdout.readline().decode().strip()
        self.host = urlsplit(self.first_link).netloc

    def link(self) -> str:
        """Another one, from the console that is up."""
        return self._cloud.skylift("console", "--no-browser").stdout.strip()

    def ask(self, path: str, **headers: str) -> int:
        connection = HTTPConnection(self.host, timeout=30)
        connection.request("GET", path, headers=headers)
        return connection.getresponse().status

    def end(self) -> int:
        self._process.terminate()
        return self._process.wait()


def check_nothing_wrong(tab: Tab, console: Console) -> None:
    """No script of a tag's ran, nothing failed, and nobody but the console was asked for anything."""
    assert tab.page.evaluate("window.hacked") is None
    assert tab.wrong == []
    assert {urlsplit(url).netloc for url in tab.asked if not url.startswith(("data:", "blob:"))} == {console.host}
