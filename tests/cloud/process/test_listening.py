"""The endpoint's port, when another cloud wants the same one."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any

import pytest
from support.ports import quiet_port

from skylift.cloud.process.cannot_start import CannotStart
from skylift.cloud.process.listening import listening


@pytest.fixture
def port() -> int:
    """One that is free, and that nobody is given by chance."""
    return quiet_port()


@pytest.fixture
def rival(monkeypatch: pytest.MonkeyPatch, port: int) -> Iterator[None]:
    """Another process that binds the port before we listen, and listens first."""
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)

        class Raced(socket.socket):
            def bind(self, address: Any) -> None:
                super().bind(address)
                if address[1] == port:
                    other.bind(address)
                    other.listen()

        monkeypatch.setattr(socket, "socket", Raced)
        yield


@pytest.mark.usefixtures("rival")
def test_of_two_that_start_at_once_one_goes_elsewhere(port: int) -> None:
    with listening([port, 0]) as listener:
        assert listener.getsockname()[1] != port


@pytest.mark.usefixtures("rival")
def test_a_port_that_was_asked_for_and_is_taken_meanwhile_is_named(port: int) -> None:
    with pytest.raises(CannotStart, match=f"Port {port} on 127.0.0.1: Address already in use"), listening([port]):
        pass
