"""Interactive programs: they have a terminal, what is typed reaches them, and all they show is in the log."""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Iterator

from support.agent_bench import Door, Machine
from support.shipped_job import WAIT_FOR_GO, Shipped
from support.waiting_job import go

from skylift.client.job.job import Program
from skylift.client.plan.plan_job import Order
from skylift.contract.record import Terminal


class Seat:
    """Somebody before the program's terminal."""

    def __init__(self, shipped: Shipped, source: str) -> None:
        self._shipped = shipped
        start(shipped, source)
        self.sit_down()

    def sit_down(self) -> None:
        self.door: Door = self._shipped.door()
        self.door.send(stream={"stdout": 0, "stderr": 0})
        self._frames: Iterator[tuple[str, bytes]] = self.door.frames()
        self.shown = b""

    def read_until(self, words: bytes) -> None:
        while words not in self.shown:
            kind, data = next(self._frames)
            assert kind != "e", data
            self.shown += data if kind == "o" else b""

    def type(self, keys: bytes) -> None:
        self.door.send(input=base64.b64encode(keys).decode())

    def read_to_the_end(self) -> None:
        for kind, data in self._frames:
            self.shown += data if kind == "o" else b""


def start(shipped: Shipped, source: str, terminal: Terminal | None = None) -> None:
    (shipped.folder / "job.py").write_text(source)
    shipped.ship_order(Order(Program("script", "job.py"), terminal=terminal or Terminal()))
    shipped.boot()


def test_it_has_a_terminal_of_the_size_that_was_asked_for(shipped: Shipped, machine: Machine) -> None:
    source = (
        "import os, sys\n"
        "print([os.isatty(n) for n in (0, 1, 2)], os.get_terminal_size(), os.environ['TERM'])\n"
        "print(os.getsid(0) == os.getpid() == os.tcgetpgrp(0), os.open('/dev/tty', os.O_RDWR) > 2)\n"
        "print(os.access(os.ttyname(0), os.R_OK | os.W_OK), file=sys.stderr)\n"
        "sys.exit(5)\n"
    )
    start(shipped, source, Terminal("vt100", 40, 132))
    machine.wait()
    lines = shipped.stream("stdout").decode().split("\r\n")
    assert lines == ["[True, True, True] os.terminal_size(columns=132, lines=40) vt100", "True True", "True", ""]
    assert shipped.stream("stderr") == b""
    assert (shipped.status()["state"], shipped.status()["exit_code"]) == ("failed", 5)


def test_what_is_typed_comes_to_it_and_ctrl_c_is_sigint(shipped: Shipped, machine: Machine) -> None:
    seat = Seat(
        shipped,
        "name = input('name? ')\n"
        "try:\n    print(f'hello {name}')\n    input()\nexcept KeyboardInterrupt:\n    print('stop')\n",
    )
    seat.read_until(b"name? ")
    seat.type("Zoë\r".encode())
    seat.read_until("hello Zoë\r\n".encode())
    seat.type(b"\x03")
    seat.read_to_the_end()
    machine.wait()
    assert shipped.stream("stdout").decode() == "name? Zoë\r\nhello Zoë\r\n^Cstop\r\n"
    assert shipped.status()["exit_code"] == 0


def test_a_signal_that_nobody_catches_is_its_end(shipped: Shipped, machine: Machine) -> None:
    seat = Seat(shipped, "import signal\nprint('up')\nsignal.signal(2, signal.SIG_DFL)\nprint('x')\nsignal.pause()\n")
    seat.read_until(b"x\r\n")
    seat.type(b"\x03")
    seat.read_to_the_end()
    machine.wait()
    assert (shipped.status()["signal"], shipped.status()["exit_code"]) == ("SIGINT", 130)


def test_it_hears_of_another_size(shipped: Shipped, machine: Machine) -> None:
    seat = Seat(
        shipped,
        "import os, signal, time\nheard = []\nsignal.signal(signal.SIGWINCH, lambda *_: heard.append(1))\nprint('up')\n"
        "while not heard: time.sleep(0.02)\n"
        "print(os.get_terminal_size())\n",
    )
    seat.read_until(b"up")
    seat.door.send(resize=[50, 200])
    seat.read_to_the_end()
    machine.wait()
    assert b"os.terminal_size(columns=200, lines=50)" in seat.shown


def test_a_paste_comes_whole_and_in_order(shipped: Shipped, machine: Machine) -> None:
    """More than a terminal holds, to a program that takes its time."""
    seat = Seat(
        shipped,
        "import hashlib, sys, time, tty\ntty.setraw(0)\nsys.stdout.write('ready'); sys.stdout.flush()\n"
        "time.sleep(0.3)\nleft, digest = 200000, hashlib.sha256()\n"
        "while left:\n    data = sys.stdin.buffer.read1(left)\n    left -= len(data)\n    digest.update(data)\n"
        "print(digest.hexdigest())\n",
    )
    seat.read_until(b"ready")
    pasted = os.urandom(200000)
    for start in range(0, len(pasted), 5000):
        seat.type(pasted[start : start + 5000])
    seat.read_to_the_end()
    machine.wait()
    assert hashlib.sha256(pasted).hexdigest().encode() in seat.shown


def test_all_it_shows_is_in_the_log_also_when_it_is_much(shipped: Shipped, machine: Machine) -> None:
    seat = Seat(shipped, WAIT_FOR_GO + "for n in range(200000): print(n)\n")
    shipped.go()
    seat.read_to_the_end()
    machine.wait()
    assert shipped.stream("stdout") == b"".join(b"%d\r\n" % n for n in range(200000))


def test_nobody_needs_to_sit_there(shipped: Shipped, machine: Machine) -> None:
    seat = Seat(
        shipped, "import os, time\nprint('up')\nwhile not os.path.exists('go'): time.sleep(0.02)\nprint(input())\n"
    )
    seat.read_until(b"up\r\n")
    seat.door.close()
    seat.sit_down()
    seat.type(b"again\r")
    go(machine)
    seat.read_to_the_end()
    machine.wait()
    assert seat.shown == b"up\r\nagain\r\nagain\r\n"


def test_the_terminal_outlives_a_supervisor_that_is_killed(shipped: Shipped, machine: Machine) -> None:
    seat = Seat(shipped, "while True:\n    word = input('> ')\n    print('got', word)\n    if word == 'end': break\n")
    seat.read_until(b"> ")
    seat.type(b"one\r")
    seat.read_until(b"got one\r\n> ")
    machine.lose_supervisor()
    seat.sit_down()
    seat.read_until(b"got one\r\n> ")
    seat.type(b"end\r")
    seat.read_to_the_end()
    machine.wait()
    assert seat.shown == b"> one\r\ngot one\r\n> end\r\ngot end\r\n"
    assert shipped.status()["exit_code"] == 0
