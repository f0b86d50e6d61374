"""`skylift console`: which console a link leads to. The pages are in tests/real."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from skylift.cli.main import perform

ARNS = {
    "AKIDONE": "arn:aws:iam::111111111111:user/one",
    "AKIDTWO": "arn:aws:iam::222222222222:user/two",
    "ASIAFIRST": "arn:aws:sts::111111111111:assumed-role/reader/first",
    "ASIASECOND": "arn:aws:sts::111111111111:assumed-role/reader/second",
}
CONFIG = "\n".join(
    f"[{key.lower()}]\naws_access_key_id = {key}\naws_secret_access_key = x\nregion = eu-west-1" for key in ARNS
)


class Identities(BaseHTTPRequestHandler):
    """STS: who the key is of that the request is signed with."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        found = re.search(r"Credential=(\w+)/", self.headers["Authorization"])
        assert found is not None
        arn = ARNS[found[1]]
        body = (
            '<GetCallerIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><GetCallerIdentityResult>'
            f"<Arn>{arn}</Arn><UserId>x</UserId><Account>{arn.split(':')[4]}</Account>"
            "</GetCallerIdentityResult></GetCallerIdentityResponse>"
        ).encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/xml")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture(autouse=True)
def aws(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    (tmp_path / "credentials").write_text(CONFIG)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SKYLIFT_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("AWS_PROFILE", "akidone")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    with ThreadingHTTPServer(("127.0.0.1", 0), Identities) as server:
        threading.Thread(target=server.serve_forever).start()
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", f"http://127.0.0.1:{server.server_address[1]}")
        yield
        server.shutdown()


@pytest.fixture
def up(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """The consoles that are up: they listen, and show nothing."""
    listeners: list[Any] = []
    monkeypatch.setattr("skylift.console.main.serve", lambda place, listener, find, control: listeners.append(listener))
    yield listeners
    for each in listeners:
        each.close()


def link(capfd: pytest.CaptureFixture[str], *words: str) -> str:
    """The console that the command's link leads to."""
    assert perform(["console", "--on", "aws", "--no-browser", *words]) == 0
    return capfd.readouterr().out.partition("/enter?")[0]


def test_a_link_leads_to_the_account_that_was_asked_for(up: list[Any], capfd: pytest.CaptureFixture[str]) -> None:
    first = link(capfd)
    assert link(capfd, "--profile", "akidone") == first
    assert len(up) == 1, "the console that is up takes another link of its own"
    assert link(capfd, "--profile", "akidtwo") != first
    assert len(up) == 2


def test_a_link_leads_to_the_region_that_was_asked_for(up: list[Any], capfd: pytest.CaptureFixture[str]) -> None:
    first = link(capfd)
    assert link(capfd, "--region", "us-east-1") != first
    assert link(capfd, "--region", "eu-west-1") == first
    assert len(up) == 2


def test_a_region_that_is_named_needs_no_other(
    up: list[Any], capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    credentials = tmp_path / "credentials"
    credentials.write_text(credentials.read_text().replace("region = eu-west-1", ""))
    assert link(capfd, "--region", "us-east-1").startswith("http://127.")


def test_sessions_of_one_role_have_one_console(up: list[Any], capfd: pytest.CaptureFixture[str]) -> None:
    """And none with whoever else is in the account: he may do other things."""
    user = link(capfd)
    first = link(capfd, "--profile", "asiafirst")
    assert first != user
    assert link(capfd, "--profile", "asiasecond") == first
    assert len(up) == 2


def test_a_place_that_the_environment_names(
    up: list[Any], capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    named = link(capfd)
    monkeypatch.setenv("SKYLIFT_ON", "aws")
    assert perform(["console", "--no-browser"]) == 0
    assert capfd.readouterr().out.partition("/enter?")[0] == named
    assert len(up) == 1
