"""Names that are looked up again and again, and what is opened for them."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from ipaddress import IPv4Address

from skylift.cloud.compute.network.egress_policy import EgressPolicy
from skylift.cloud.compute.server.destinations import Destination
from skylift.cloud.domain.opening import Opening, OpenNow, parse_openings
from skylift.cloud.wiring.firewall_exceptions import FirewallExceptions

INDEX = Destination("index.example.test", 443, "package index (UV_INDEX)")


class Machine:
    """Names with addresses, and what the network was last told."""

    def __init__(self, **names: str) -> None:
        self.names = names
        self.open: list[str] = []
        self.published: list[list[OpenNow]] = []

    def resolve(self, host: str) -> list[IPv4Address]:
        return [IPv4Address(address) for address in self.names.get(host.partition(".")[0], "").split()]

    def close_off(self, openings: Sequence[Opening]) -> EgressPolicy:
        self.open = sorted(map(str, openings))
        return EgressPolicy(openings=tuple(openings))

    def publish(self, entries: Sequence[OpenNow]) -> None:
        self.published.append(list(entries))

    def openings(self, *destinations: Destination, allow: Sequence[str] = ()) -> FirewallExceptions:
        return FirewallExceptions(parse_openings(allow), destinations, self.close_off, self.publish, self.resolve)


def test_a_name_is_open_at_its_addresses_and_at_its_port_alone() -> None:
    machine = Machine(index="10.0.0.7 10.0.0.8")
    machine.openings(INDEX, allow=["192.168.1.0/24"]).step()
    assert machine.open == ["10.0.0.7:443", "10.0.0.8:443", "192.168.1.0/24"]
    assert machine.published == [
        [
            OpenNow("192.168.1.0/24", "asked for with --allow", ("192.168.1.0/24",)),
            OpenNow("index.example.test:443", "package index (UV_INDEX)", ("10.0.0.7:443", "10.0.0.8:443")),
        ]
    ]


def test_what_is_on_the_internet_is_no_exception() -> None:
    machine = Machine(index="151.101.0.1")
    machine.openings(INDEX).step()
    assert machine.published == [[OpenNow("index.example.test:443", "package index (UV_INDEX)")]]


def test_a_name_that_moves_is_followed_and_its_last_address_stays_for_a_while() -> None:
    machine = Machine(index="10.0.0.7")
    openings = machine.openings(INDEX)
    openings.step()
    machine.names["index"] = "10.0.0.9"
    openings.step()
    assert machine.open == ["10.0.0.7:443", "10.0.0.9:443"]
    machine.names.clear()
    openings.step()
    assert machine.open == ["10.0.0.7:443", "10.0.0.9:443"]
    assert len(machine.published) == 2


def test_loopback_is_never_opened() -> None:
    machine = Machine(index="127.0.0.1 169.254.169.254 0.0.0.0")
    machine.openings(INDEX).step()
    assert machine.open == []
    assert "127.0.0.1 means something else in a server" in machine.published[0][0].problem


def test_what_has_no_address_is_said() -> None:
    machine = Machine()
    machine.openings(INDEX).step()
    assert machine.published[0][0].problem == "its name is not known here"


def test_a_start_does_not_wait_for_a_name_server_for_ever() -> None:
    answered = threading.Event()
    machine = Machine(index="10.0.0.7")

    def resolve(host: str) -> list[IPv4Address]:
        answered.wait()
        return machine.resolve(host)

    openings = FirewallExceptions(
        parse_openings(["10.9.9.9"]), [INDEX], machine.close_off, machine.publish, resolve, 0.01
    )
    openings.start()
    openings.await_names()
    assert [one.wanted for one in machine.published[-1]] == ["10.9.9.9"]
    openings.stop()
    answered.set()
    openings.thread.join()
    # It was stopped meanwhile: the network may be somebody else's by now.
    assert machine.open == []


def test_a_start_does_not_wait_for_names_and_who_boots_servers_does() -> None:
    asked, answered = threading.Event(), threading.Event()

    def resolve(host: str) -> list[IPv4Address]:
        asked.set()
        assert answered.wait(30)
        return [IPv4Address("10.0.0.7")]

    machine = Machine()
    openings = FirewallExceptions((), [INDEX], machine.close_off, machine.publish, resolve, patience=30)
    openings.start()
    assert asked.wait(30)
    waiting = threading.Thread(target=openings.await_names)
    waiting.start()
    waiting.join(0.2)
    assert waiting.is_alive()
    answered.set()
    waiting.join(30)
    assert machine.open == ["10.0.0.7:443"]
    openings.stop()


def test_who_waits_for_names_hears_that_there_will_be_none() -> None:
    answered = threading.Event()

    def resolve(host: str) -> list[IPv4Address]:
        assert answered.wait(30)
        return []

    machine = Machine()
    openings = FirewallExceptions((), [INDEX], machine.close_off, machine.publish, resolve, patience=300)
    openings.start()
    waiting = threading.Thread(target=openings.await_names)
    waiting.start()
    ending = threading.Thread(target=openings.stop)
    ending.start()
    waiting.join(30)
    assert not waiting.is_alive()
    answered.set()
    ending.join(30)
