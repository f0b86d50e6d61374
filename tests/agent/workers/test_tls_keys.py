"""Keys that a server makes for the parts of a map: parts know each other by them, and nobody else."""

from __future__ import annotations

import json
import os
import ssl
import time
from pathlib import Path

import pytest

from skylift.agent.workers.tls_keys import CannotIssue, issue
from skylift.client.dask.authority import issue as issue_here

PARTS = ("scheduler", "worker")


def made(folder: Path, *, now: float | None = None, lasts: float = 600.0) -> dict[str, dict[str, str]]:
    now = time.time() if now is None else now
    return issue("nightly-20261128-0200", PARTS, now, now + lasts, folder)


def side(folder: Path, identity: dict[str, str], *, server: bool) -> ssl.SSLContext:
    """As Dask has it, and as strict as Python 3.13 is by itself."""
    purpose = ssl.Purpose.CLIENT_AUTH if server else ssl.Purpose.SERVER_AUTH
    context = ssl.create_default_context(purpose, cadata=identity["ca"])
    context.verify_flags |= ssl.VerifyFlags.VERIFY_X509_STRICT
    context.check_hostname, context.verify_mode = False, ssl.CERT_REQUIRED
    both = folder / "both.pem"
    both.write_text(identity["cert"] + identity["key"])
    context.load_cert_chain(both)
    both.unlink()
    return context


def shake_hands(server: ssl.SSLContext, client: ssl.SSLContext) -> None:
    """Raises SSLError."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    one = server.wrap_bio(to_server, to_client, server_side=True)
    other = client.wrap_bio(to_client, to_server)
    left = [one, other]
    while left:
        for each in tuple(left):
            try:
                each.do_handshake()
                left.remove(each)
            except ssl.SSLWantReadError:
                continue
    one.write(b"hello")
    assert other.read() == b"hello"


def test_parts_know_each_other(tmp_path: Path) -> None:
    found = made(tmp_path)
    assert sorted(found) == ["scheduler", "worker"]
    assert found["scheduler"]["ca"] == found["worker"]["ca"]
    shake_hands(side(tmp_path, found["scheduler"], server=True), side(tmp_path, found["worker"], server=False))
    # The key of the authority, and all else, is gone.
    assert list(tmp_path.iterdir()) == []
    assert "CA:TRUE" not in json.dumps(found)


def test_what_another_map_has_is_not_known(tmp_path: Path) -> None:
    own, others = made(tmp_path), made(tmp_path)
    assert own["worker"]["key"] != others["worker"]["key"]
    for mixed in (others["worker"], {**others["worker"], "ca": own["worker"]["ca"]}):
        with pytest.raises(ssl.SSLError):
            shake_hands(side(tmp_path, own["scheduler"], server=True), side(tmp_path, mixed, server=False))


def test_a_part_may_vouch_for_nobody(tmp_path: Path) -> None:
    """Whoever has a worker's key has no authority by that."""
    own = made(tmp_path)
    forged = {**made(tmp_path)["worker"], "ca": own["worker"]["ca"]}
    forged["cert"] += own["worker"]["cert"]
    with pytest.raises(ssl.SSLError):
        shake_hands(side(tmp_path, own["scheduler"], server=True), side(tmp_path, forged, server=False))


@pytest.mark.parametrize("begins", [-30 * 86400.0, 30 * 86400.0])
def test_they_hold_for_a_time_only(tmp_path: Path, begins: float) -> None:
    found = made(tmp_path, now=time.time() + begins)
    with pytest.raises(ssl.SSLError, match=r"expired|not yet valid"):
        shake_hands(side(tmp_path, found["scheduler"], server=True), side(tmp_path, found["worker"], server=False))


def test_they_are_as_those_that_a_client_makes(tmp_path: Path) -> None:
    """In form: what reads the ones reads the others."""
    ours = made(tmp_path)["worker"]
    theirs = issue_here("x", PARTS, time.time(), time.time() + 600)["worker"].encode()
    assert sorted(ours) == sorted(theirs)
    assert [ours[each].splitlines()[0] for each in sorted(ours)] == [
        theirs[each].splitlines()[0] for each in sorted(theirs)
    ]


@pytest.mark.parametrize("program", ["no-such-openssl", "false"])
def test_an_image_without_openssl(tmp_path: Path, program: str) -> None:
    with pytest.raises(CannotIssue, match="OpenSSL's program"):
        issue("x", PARTS, time.time(), time.time() + 600, tmp_path, program)
    assert list(tmp_path.iterdir()) == []


def test_the_users_openssl_is_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A map's server is root, and the PATH that it was started with begins with folders of the user's."""
    ran = plant(tmp_path / "home/.local/bin", "openssl")
    monkeypatch.setenv("PATH", f"{tmp_path / 'home/.local/bin'}:{os.environ['PATH']}")
    monkeypatch.setenv("OPENSSL_MODULES", str(tmp_path))
    monkeypatch.setenv("LD_LIBRARY_PATH", str(tmp_path))
    place = tmp_path / "map"
    place.mkdir()
    assert sorted(made(place)) == ["scheduler", "worker"]
    assert not ran.exists()


def test_openssl_gets_nothing_of_the_jobs_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKEN", "of the job")
    program, told = tmp_path / "program", tmp_path / "told"
    program.write_text(f"#!/bin/sh\n/usr/bin/env >{told}\nexit 1\n")
    program.chmod(0o755)
    with pytest.raises(CannotIssue):
        issue("x", PARTS, time.time(), time.time() + 600, tmp_path, str(program))
    assert {line.partition("=")[0] for line in told.read_text().splitlines()} <= {
        "PATH", "OPENSSL_CONF", "LANG", "PWD", "OLDPWD", "SHLVL", "_",
    }  # fmt: skip


def plant(folder: Path, name: str) -> Path:
    """A program of the user's, and the file that it makes when it runs."""
    folder.mkdir(parents=True)
    ran = folder / "ran"
    (folder / name).write_text(f"#!/bin/sh\ntouch {ran}\nexit 1\n")
    (folder / name).chmod(0o755)
    return ran
