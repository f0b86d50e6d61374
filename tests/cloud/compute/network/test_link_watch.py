"""In a network namespace of the test's own."""

from __future__ import annotations

import os
import secrets
import socket
from collections.abc import Iterator

import pytest

from skylift.cloud.compute.network.error import NetlinkRefused
from skylift.cloud.compute.network.link_watch import LinkWatch
from skylift.cloud.compute.network.namespace import Namespace, create_namespace, remove_namespace
from skylift.cloud.compute.network.netlink import add_veth, delete_link, link_up

pytestmark = [pytest.mark.real, pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root")]


@pytest.fixture
def namespace() -> Iterator[Namespace]:
    name = f"skytest-{secrets.token_hex(4)}"
    create_namespace(name)
    opened = Namespace.open(name)
    yield opened
    opened.close()
    remove_namespace(name)


def pair(namespace: Namespace, name: str) -> tuple[int, int]:
    """The indexes of two links that are each other's ends, both down."""
    namespace.netlink.do(add_veth(name, mtu=1500, peer=f"{name}p", peer_namespace=namespace.descriptor))
    ends = [namespace.netlink.link_index(name), namespace.netlink.link_index(f"{name}p")]
    assert ends[0] is not None and ends[1] is not None
    return ends[0], ends[1]


@pytest.fixture
def watch(namespace: Namespace) -> Iterator[LinkWatch]:
    made = namespace.run(LinkWatch)
    yield made
    made.close()


def test_a_link_is_waited_for_until_it_runs(namespace: Namespace, watch: LinkWatch) -> None:
    here, there = pair(namespace, "a")
    namespace.netlink.do(link_up(here), link_up(there))
    watch.until_running(here)


def test_a_link_that_goes_is_not_waited_for(namespace: Namespace, watch: LinkWatch) -> None:
    here, _ = pair(namespace, "a")
    namespace.netlink.do(delete_link("a"))
    watch.until_running(here)


@pytest.mark.parametrize("gone", [False, True], ids=["runs", "gone"])
def test_changes_that_the_kernel_had_to_drop_are_asked_for(
    namespace: Namespace, monkeypatch: pytest.MonkeyPatch, gone: bool
) -> None:
    made = socket.socket

    class Small(made):  # type: ignore[misc, valid-type]
        def bind(self, address: object) -> None:
            self.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
            super().bind(address)

    with monkeypatch.context() as context:
        context.setattr(socket, "socket", Small)
        watch = namespace.run(LinkWatch)
    try:
        here, there = pair(namespace, "a")
        for _ in range(20):
            pair(namespace, "b")
            namespace.netlink.do(delete_link("b"))
        namespace.netlink.do(delete_link("a") if gone else link_up(here), *([] if gone else [link_up(there)]))
        watch.until_running(here)
    finally:
        watch.close()


def test_a_link_that_stays_down_is_an_error(
    namespace: Namespace, watch: LinkWatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, _ = pair(namespace, "a")
    watch._socket.settimeout(0.05)
    with pytest.raises(NetlinkRefused, match=f"bring up link {here}"):
        watch.until_running(here)
