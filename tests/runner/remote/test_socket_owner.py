"""Whose a socket is, by both ways in which the kernel says it. Other users' are in tests/real/test_strangers.py."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from skylift.runner.remote import socket_owner
from skylift.runner.remote.socket_owner import Owned, is_owner, listener_at


@pytest.fixture(params=["asked", "looked up"], autouse=True)
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A kernel may have no socket diagnostics."""
    if request.param == "looked up":
        monkeypatch.setattr(socket_owner, "_SOCK_DIAG", 31)
    else:
        monkeypatch.setattr(socket_owner, "_PROC", Path("/nowhere"))


def number(of: socket.socket) -> Owned:
    return Owned(os.geteuid(), os.fstat(of.fileno()).st_ino)


@pytest.mark.parametrize("address", ["127.0.0.1", "127.9.8.7", "::1"])
def test_who_listens_and_who_is_connected(address: str) -> None:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.create_server((address, 0), family=family) as server:
        here = server.getsockname()[:2]
        assert listener_at(here) == number(server)
        with socket.create_connection(here) as client:
            there = client.getsockname()[:2]
            assert is_owner(there, here, {os.geteuid()})
            assert not is_owner(there, here, {os.geteuid() + 1})
            assert not is_owner(here, here, {os.geteuid()})
            assert listener_at(there) is None
    assert listener_at(here) is None


def test_a_client_that_reaches_an_address_of_ipv4_by_ipv6() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        here = server.getsockname()
        with socket.create_connection((f"::ffff:{here[0]}", here[1])) as client:
            assert is_owner(("127.0.0.1", client.getsockname()[1]), here, {os.geteuid()})
