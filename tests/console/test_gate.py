"""The gate of the console: each attack, without a browser."""

from __future__ import annotations

import asyncio
import json
from collections.abc import MutableMapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from skylift.client.job.settings import Secret
from skylift.console.address import Place, find_running, listen
from skylift.console.entry import COOKIE, COOKIE_SECONDS, LINK_SECONDS, SignIn
from skylift.console.gate import Gate

PLACE = Place("127.230.1.2", 4530, Secret("ab" * 32))
PEER = ("127.0.0.1", 50000)


@dataclass
class Answer:
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: str = ""
    passed: bool = False


@dataclass
class Console:
    """The gate, with a site behind it that lets everybody in."""

    time: float = 1_800_000_000.0
    owner: bool = True

    def __post_init__(self) -> None:
        self.seen: list[MutableMapping[str, Any]] = []
        self.entry = SignIn(PLACE.key, lambda: self.time)
        self.gate = Gate(self._site, PLACE, self.entry, lambda peer: self.owner and peer == PEER)
        self.cookie = f"{COOKIE}={self.entry.make_cookie()}"

    async def _site(self, scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        self.seen.append(scope)
        if scope["type"] == "websocket":
            await send({"type": "websocket.accept"})
        else:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"the site"})

    def ask(
        self, path: str = "/", *, method: str = "GET", kind: str = "http", headers: dict[str, str] | None = None
    ) -> Answer:
        given = {"host": PLACE.host, "cookie": self.cookie, **(headers or {})}
        path, _, query = path.partition("?")
        scope: dict[str, Any] = {
            "type": kind,
            "path": path,
            "query_string": query.encode(),
            "headers": [(name.encode(), value.encode()) for name, value in given.items() if value],
            "client": PEER,
            **({"method": method} if kind == "http" else {}),
        }
        answer, before = Answer(), len(self.seen)

        async def receive() -> dict[str, str]:
            return {"type": "websocket.connect"}

        async def send(message: MutableMapping[str, Any]) -> None:
            answer.status = message.get("status", answer.status)
            answer.headers |= {name.decode(): value.decode() for name, value in message.get("headers", [])}
            answer.body += message.get("body", b"").decode()

        asyncio.run(self.gate(scope, receive, send))
        answer.passed = len(self.seen) > before
        return answer


@pytest.fixture
def console() -> Console:
    return Console()


def test_a_link_lets_one_browser_in_once(console: Console) -> None:
    token = console.entry.make_token()
    entered = console.ask(f"/enter?token={token}", headers={"cookie": ""})
    assert entered.status == 200
    cookie, *attributes = entered.headers["set-cookie"].split("; ")
    assert {"HttpOnly", "SameSite=Strict", "Path=/"} <= set(attributes)
    assert console.ask(headers={"cookie": cookie}).passed
    again = console.ask(f"/enter?token={token}", headers={"cookie": ""})
    assert again.status == 403
    assert "set-cookie" not in again.headers
    assert "skylift console" in again.body


def test_a_link_lives_a_minute(console: Console) -> None:
    token = console.entry.make_token()
    console.time += LINK_SECONDS + 1
    assert console.ask(f"/enter?token={token}", headers={"cookie": ""}).status == 403


@pytest.mark.parametrize("token", ["", "x", "1.2.3", "{}", "%00", f"1800000000.{'0' * 32}.{'0' * 64}"])
def test_a_token_of_nobody_opens_nothing(console: Console, token: str) -> None:
    assert console.ask(f"/enter?token={token}", headers={"cookie": ""}).status == 403


def test_a_cookie_is_no_link_and_a_link_no_cookie(console: Console) -> None:
    assert console.ask(f"/enter?token={console.entry.make_cookie()}", headers={"cookie": ""}).status == 403
    assert console.ask(headers={"cookie": f"{COOKIE}={console.entry.make_token()}"}).status == 401


@pytest.mark.parametrize("kind", ["http", "websocket"])
def test_without_a_cookie_nothing_is_shown(console: Console, kind: str) -> None:
    origin = {"origin": PLACE.origin}
    forged = SignIn(Secret("cd" * 32), lambda: console.time).make_cookie()
    changed = console.cookie[:-1] + ("0" if console.cookie[-1] != "0" else "1")
    for cookie in ("", f"{COOKIE}=", f"{COOKIE}={forged}", changed, "a=\x00;;", f"other={console.cookie}"):
        assert not console.ask("/_nicegui/3/static/nicegui.js", kind=kind, headers={"cookie": cookie, **origin}).passed
    assert console.ask(kind=kind, headers=origin).passed


def test_a_cookie_is_not_good_for_ever(console: Console) -> None:
    console.time += COOKIE_SECONDS
    assert console.ask().passed
    console.time += 1
    assert console.ask().status == 401


@pytest.mark.parametrize("kind", ["http", "websocket"])
@pytest.mark.parametrize(
    "host", ["", "localhost:4530", "127.230.1.2", "127.230.1.2:80", "evil.example:4530", "127.230.1.2:4530.evil"]
)
def test_the_host_has_to_be_ours_exactly(console: Console, kind: str, host: str) -> None:
    """A name of a stranger's may resolve to our address."""
    assert not console.ask(kind=kind, headers={"host": host, "origin": PLACE.origin}).passed
    assert console.ask(f"/enter?token={console.entry.make_token()}", headers={"host": host}).status == 403


@pytest.mark.parametrize(
    "origin", ["", "null", "http://127.0.0.1:8888", "http://127.230.1.2:9999", "https://a.example"]
)
def test_what_changes_things_comes_from_our_own_pages(console: Console, origin: str) -> None:
    """Another port at our address is another user's, perhaps, and a browser sends our cookie there."""
    assert not console.ask(kind="websocket", headers={"origin": origin}).passed
    assert not console.ask("/upload", method="POST", headers={"origin": origin}).passed
    if origin:
        assert not console.ask(headers={"origin": origin}).passed
    assert console.ask("/upload", method="POST", headers={"origin": PLACE.origin}).passed


def test_the_long_poll_that_answers_all_origins_is_closed(console: Console) -> None:
    assert console.ask("/_nicegui_ws/socket.io/?transport=polling").status == 403


def test_another_user_of_the_machine_gets_nothing(console: Console) -> None:
    console.owner = False
    assert not console.ask().passed
    assert console.ask(f"/enter?token={console.entry.make_token()}").status == 403
    assert not console.ask(kind="websocket", headers={"origin": PLACE.origin}).passed


def test_each_answer_says_what_a_page_may_do(console: Console) -> None:
    first, second = console.ask(), console.ask()
    policy = first.headers["content-security-policy"]
    assert f"'nonce-{console.seen[0]['nonce']}'" in policy
    assert policy != second.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    scripts = next(part for part in policy.split("; ") if part.startswith("script-src"))
    assert "unsafe-inline" not in scripts
    assert "http" not in scripts


def test_a_proxy_s_words_are_not_passed_on(console: Console) -> None:
    console.ask(headers={"x-forwarded-prefix": "//evil.example", "x-forwarded-host": "evil.example"})
    assert not [name for name, _ in console.seen[-1]["headers"] if name.startswith(b"x-forwarded")]


def test_no_script_becomes_a_service_worker(console: Console) -> None:
    """It would answer in the console's name, also in that of one that comes later."""
    for kind in ("script", "x"):
        assert not console.ask("/console/console.js", headers={"service-worker": kind}).passed
    assert "worker-src 'none'" in console.ask().headers["content-security-policy"]


def test_what_was_at_this_origin_before_is_cleared_at_the_first_entry_only(console: Console) -> None:
    """The choice of dark or light is kept there."""
    for cookie, cleared in (("", '"storage"'), (console.cookie, None)):
        entered = console.ask(f"/enter?token={console.entry.make_token()}", headers={"cookie": cookie})
        assert entered.status == 200
        assert entered.headers.get("clear-site-data") == cleared


def test_a_link_and_a_cookie_are_good_for_the_console_that_made_them_only(console: Console, tmp_path: Path) -> None:
    """The next one has another address, port and key. A stranger may have the former ones by then."""
    place, listener = listen(tmp_path, "local")
    with listener:
        other = SignIn(place.key, lambda: console.time)
        assert console.ask(f"/enter?token={other.make_token()}", headers={"cookie": ""}).status == 403
        assert console.ask(headers={"cookie": f"{COOKIE}={other.make_cookie()}"}).status == 401
    assert place.key.reveal() not in repr(place)


def test_the_console_that_is_up_is_found_and_no_other(tmp_path: Path) -> None:
    assert find_running(tmp_path, "local") is None
    first, listener = listen(tmp_path, "local")
    with listener:
        assert find_running(tmp_path, "local") == first
        assert find_running(tmp_path, "aws") is None
        assert 224 <= int(first.address.split(".")[1]) <= 253
        assert (tmp_path / "console-local.json").stat().st_mode & 0o777 == 0o600
    assert find_running(tmp_path, "local") is None
    second, listener = listen(tmp_path, "local")
    with listener:
        assert find_running(tmp_path, "local") == second
    assert first.address != second.address


@pytest.mark.parametrize(
    "damage",
    [b"", b"[]", b"{", {"port": 1 << 20}, {"port": "x"}, {"socket": 0}, {"key": "00"}, {"key": 0}, {"address": "x"}],
)
def test_a_damaged_file_names_no_console(tmp_path: Path, damage: bytes | dict[str, object]) -> None:
    _, listener = listen(tmp_path, "local")
    file = tmp_path / "console-local.json"
    with listener:
        found = json.loads(file.read_bytes())
        file.write_bytes(damage if isinstance(damage, bytes) else json.dumps(found | damage).encode())
        assert find_running(tmp_path, "local") is None


def test_a_link_in_the_place_of_the_file_is_not_followed(tmp_path: Path) -> None:
    _, listener = listen(tmp_path, "local")
    with listener:
        (tmp_path / "console-aws.json").symlink_to(tmp_path / "console-local.json")
        assert find_running(tmp_path, "aws") is None
