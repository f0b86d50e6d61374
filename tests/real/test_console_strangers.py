"""Other users of the machine listen where the console is, was or will be, and connect to it. The tests are root, so
that these users can be others."""

from __future__ import annotations

import json
import os
import socket
import threading
from collections.abc import Callable, Iterator, MutableMapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from playwright.sync_api import Browser, Error, expect
from support.browser import Tab
from support.shown_console import Console
from support.strangers import UID, as_stranger, ask, squatter

from skylift.client.job.settings import Secret
from skylift.client.remote.socket_owner import is_owner, listener_at, owners
from skylift.console.address import LOCAL, Place, find_running, listen
from skylift.console.entry import COOKIE, SignIn
from skylift.console.gate import Gate

pytestmark = pytest.mark.real


@contextmanager
def shown(place: Place, listener: socket.socket, seen: list[str] | None = None) -> Iterator[SignIn]:
    """The console's own gate at this place, with a small site behind it."""

    async def site(scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        if seen is not None:
            seen.append(scope["path"])
        script = scope["path"].endswith(".js")
        kind = b"text/javascript" if script else b"text/html"
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", kind)]})
        await send({"type": "http.response.body", "body": b"" if script else b"<title>ours</title>the console itself"})

    entry = SignIn(place.key)
    gate = Gate(site, place, entry, lambda peer: is_owner(peer, (place.address, place.port), owners()))
    server = uvicorn.Server(uvicorn.Config(gate, log_level="warning", lifespan="off"))
    thread = threading.Thread(target=server.run, args=([listener],))
    thread.start()
    try:
        yield entry
    finally:
        server.should_exit = True
        thread.join()


@pytest.mark.parametrize("everywhere", [True, False])
def test_who_listens_where_the_console_was_is_told_nothing(tmp_path: Path, everywhere: bool) -> None:
    """Before, the next `skylift console` took him for the one that is up, and gave him its link."""
    first, listener = listen(tmp_path, LOCAL)
    assert find_running(tmp_path, LOCAL) == first
    listener.close()
    with squatter(("0.0.0.0" if everywhere else first.address, first.port)) as (_, heard):
        assert find_running(tmp_path, LOCAL) is None
        second, listener = listen(tmp_path, LOCAL)
        with listener:
            assert find_running(tmp_path, LOCAL) == second
            assert (second.address, second.port) != (first.address, first.port)
            assert second.key.reveal() != first.key.reveal()
        assert heard() == b""


def test_who_relays_to_the_console_is_not_taken_for_it(tmp_path: Path) -> None:
    place, listener = listen(tmp_path, LOCAL)
    file = tmp_path / f"console-{LOCAL}.json"
    with shown(place, listener), squatter(("127.0.0.1", 0), answer=relay((place.address, place.port))) as (ends, heard):
        content = file.read_text().replace(place.address, ends[0][0]).replace(f"{place.port},", f"{ends[0][1]},")
        file.write_text(content)
        assert find_running(tmp_path, LOCAL) is None
        assert heard() == b""


@pytest.mark.parametrize("theirs", ["listener", "file"])
def test_what_another_user_names_or_holds_is_not_the_console(tmp_path: Path, theirs: str) -> None:
    """Were the state directory open to others, they could have put the file there."""
    place, listener = listen(tmp_path, LOCAL)
    file = tmp_path / f"console-{LOCAL}.json"
    with listener, squatter((place.address, 0)) as (((_, port),), _):
        assert find_running(tmp_path, LOCAL) == place
        if theirs == "file":
            os.chown(file, UID, UID)
        else:
            found = listener_at((place.address, port))
            assert found is not None
            file.write_text(json.dumps({**json.loads(file.read_text()), "port": port, "socket": found.number}))
        assert find_running(tmp_path, LOCAL) is None


def test_a_page_whose_console_has_ended_is_empty_and_silent(browser: Browser, console: Console) -> None:
    """Whoever listens there next may answer it, and their pages are of its origin."""
    tab = Tab(browser)
    tab.page.goto(console.link())
    navigation = tab.page.get_by_role("navigation")
    expect(navigation).to_be_visible()
    # The page may be there before its connection, by which the console says that it ends.
    tab.page.wait_for_function("window.socket?.connected")
    console.end()
    expect(tab.page.locator("h1")).to_contain_text("The console has ended")
    expect(navigation).to_have_count(0)
    assert tab.page.evaluate("window.socket.active") is False
    tab.context.close()


def test_another_socket_of_the_same_user_is_not_the_console(tmp_path: Path) -> None:
    place, listener = listen(tmp_path, LOCAL)
    listener.close()
    with socket.create_server((place.address, place.port)):
        assert find_running(tmp_path, LOCAL) is None


def relay(end: tuple[str, int]) -> Callable[[bytes], bytes]:
    return lambda heard: ask(end, heard)


def test_a_link_and_a_cookie_are_of_no_use_to_another_user(tmp_path: Path) -> None:
    place, listener = listen(tmp_path, LOCAL)
    end, seen = (place.address, place.port), list[str]()
    with shown(place, listener, seen) as entry:
        cookie = f"Host: {place.host}\r\nCookie: {COOKIE}={entry.make_cookie()}\r\nConnection: close\r\n\r\n"
        page = f"GET /page HTTP/1.1\r\n{cookie}".encode()
        enter = f"GET /enter?token={entry.make_token()} HTTP/1.1\r\nHost: {place.host}\r\nConnection: close\r\n\r\n"
        assert as_stranger(lambda: ask(end, page)).startswith(b"HTTP/1.1 403")
        assert as_stranger(lambda: ask(end, enter.encode())).startswith(b"HTTP/1.1 403")
        assert as_stranger(lambda: say_and_close(end, page)) == b""
        assert as_stranger(lambda: ask_by_ipv6(end, page)).startswith(b"HTTP/1.1 403")
        with squatter(("127.0.0.1", 0), answer=relay(end)) as (ends, _):
            assert ask(ends[0], page).startswith(b"HTTP/1.1 403")
        assert seen == []
        assert ask(end, page).startswith(b"HTTP/1.1 200")
        assert ask_by_ipv6(end, page).startswith(b"HTTP/1.1 200")
        assert ask(end, enter.encode()).startswith(b"HTTP/1.1 200")


def say_and_close(end: tuple[str, int], words: bytes) -> bytes:
    with socket.create_connection(end) as line:
        line.sendall(words)
    return b""


def ask_by_ipv6(end: tuple[str, int], words: bytes) -> bytes:
    return ask((f"::ffff:{end[0]}", end[1]), words)


# A service worker, which a browser keeps for an address and a port.

WORKER = b"""
self.addEventListener("install", () => self.skipWaiting());
self.addEventListener("activate", (event) => event.waitUntil(clients.claim()));
self.addEventListener("fetch", (event) => event.respondWith(fetch(event.request)));
"""
PAGE = b"""<title>theirs</title><script>
const workers = navigator.serviceWorker;
workers.register("/worker.js").then(() => workers.ready).then(() => document.title = "kept");
</script>"""


def trap(heard: bytes) -> bytes:
    """Their site, which leaves a service worker in the browser."""
    kind, body = (b"text/javascript", WORKER) if heard.startswith(b"GET /worker.js") else (b"text/html", PAGE)
    head = b"HTTP/1.1 200 OK\r\nContent-Type: %s\r\nContent-Length: %d\r\nConnection: close\r\n\r\n"
    return head % (kind, len(body)) + body


def workers(tab: Tab) -> int:
    found = tab.page.evaluate("navigator.serviceWorker.getRegistrations().then((all) => all.length)")
    assert isinstance(found, int)
    return found


def test_a_service_worker_of_another_users_is_gone_before_the_first_page(browser: Browser) -> None:
    """The next console has another address, so that there is none. Here it has the very one that a stranger had."""
    with squatter(("127.230.7.7", 0), answer=trap) as (((address, port),), _):
        tab = Tab(browser)
        tab.page.goto(f"http://{address}:{port}/")
        tab.page.wait_for_function("document.title === 'kept'")
        assert workers(tab) == 1
    listener = socket.create_server((address, port))
    place = Place(address, port, Secret("ab" * 32))
    with shown(place, listener) as entry:
        tab.page.goto(f"{place.origin}/enter?token={entry.make_token()}")
        tab.page.wait_for_function("document.title === 'ours'")
        assert workers(tab) == 0
        assert tab.page.evaluate("navigator.serviceWorker.controller") is None
        with pytest.raises(Error, match=r"SecurityError|TypeError"):
            tab.page.evaluate("navigator.serviceWorker.register('/worker.js')")
        assert workers(tab) == 0
        tab.context.close()
