"""Whose a socket is, by both ways in which the kernel says it. Other users' are in tests/real/test_strangers.py."""

from __future__ import annotations

import asyncio
import os
import socket
from pathlib import Path

import botocore.session
import pytest
from botocore.exceptions import EndpointConnectionError

from skylift.client.errors import UsageError
from skylift.client.remote import socket_owner
from skylift.client.remote.api import send_only_to
from skylift.client.remote.socket_owner import Owned, is_owner, listener_at
from skylift.client.watch.forward import Forward, Forwards
from skylift.console.address import listen


@pytest.fixture(params=["asked", "looked up"], autouse=True)
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A kernel may have no socket diagnostics."""
    if request.param == "looked up":
        monkeypatch.setattr(socket_owner, "_SOCK_DIAG", 31)
    else:
        monkeypatch.setattr(socket_owner, "_PROC", Path("/nowhere"))


@pytest.fixture
def silent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither way is there, as where a profile closes both."""
    monkeypatch.setattr(socket_owner, "_SOCK_DIAG", 31)
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


@pytest.mark.parametrize(
    ("bound", "asked"), [("0.0.0.0", "127.0.0.1"), ("0.0.0.0", "127.9.8.7"), ("::", "127.0.0.1"), ("::", "::1")]
)
def test_who_listens_at_all_addresses_gets_what_comes_to_one(bound: str, asked: str) -> None:
    with socket.socket(socket.AF_INET6 if ":" in bound else socket.AF_INET) as server:
        if ":" in bound:
            server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        server.bind((bound, 0))
        server.listen()
        here = asked, server.getsockname()[1]
        assert listener_at(here) == number(server)
        with socket.create_connection(here) as client:
            assert is_owner(client.getsockname()[:2], here, {os.geteuid()})
        if bound == "0.0.0.0":
            assert listener_at(("::1", here[1])) is None


def test_who_listens_at_the_address_itself_comes_first() -> None:
    with socket.socket() as everywhere, socket.socket() as here:
        for each in (everywhere, here):
            each.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        everywhere.bind(("0.0.0.0", 0))
        here.bind(("127.0.0.1", everywhere.getsockname()[1]))
        for each in (everywhere, here):
            each.listen()
        assert listener_at(here.getsockname()) == number(here)
        assert listener_at(("127.9.8.7", here.getsockname()[1])) == number(everywhere)


@pytest.mark.usefixtures("silent")
def test_where_the_kernel_does_not_tell_it_is_said() -> None:
    """And nobody is taken for an owner, nor is nobody said to listen."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        here = server.getsockname()
        with pytest.raises(OSError, match="neither netlink nor /proc/net/tcp says"):
            listener_at(here)
        with socket.create_connection(here) as client:
            assert not is_owner(client.getsockname(), here, {os.geteuid()})


@pytest.mark.usefixtures("silent")
def test_what_needs_to_know_it_says_so_before_it_begins(tmp_path: Path) -> None:
    words = "neither netlink nor /proc/net/tcp says here"
    with pytest.raises(UsageError, match=words):
        listen(tmp_path, "mine")
    with pytest.raises(UsageError, match=words):
        asyncio.run(Forwards([Forward(0, 80)]).open())
    session = botocore.session.Session()
    send_only_to({0}, session)
    client = session.create_client(
        "sts", "eu-west-1", endpoint_url="http://127.0.0.1:1", aws_access_key_id="a", aws_secret_access_key="b"
    )
    with pytest.raises(EndpointConnectionError, match=words) as caught:
        client.get_caller_identity()
    assert "Nothing was sent there." in str(caught.value)
