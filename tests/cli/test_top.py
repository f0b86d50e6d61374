"""`skylift top` on a terminal: drawn on its other screen, in its width, with nothing in it that a terminal obeys."""

from __future__ import annotations

import asyncio

import pytest
from support.on_terminal import shown_on_terminal

from skylift.cli.top_screen import TopScreen, describe, job_row
from skylift.client.jobs.usage import UsageReading
from skylift.contract.usage import Process, Usage

HOSTILE = Process(7, 0.98, 62, 512 << 20, "python job.py \x1b[2J")
USAGE = Usage(0.5, 2.0, 37 << 20, 2 << 30, 3 << 30, 8 << 30, 1000, 20, 30, 4000, (HOSTILE,), 1)
READING = UsageReading("train-7k2f", "running", 0.0, "i-0123", "t3.small", usage=USAGE)


@pytest.mark.parametrize("alone", [True, False])
def test_it_is_drawn_and_the_terminal_is_as_it_was(alone: bool) -> None:
    def show() -> None:
        screen = TopScreen(lambda: [READING], alone=alone)

        async def once() -> None:
            with screen.shown(lambda: None):
                screen.draw()

        asyncio.run(once())

    shown = shown_on_terminal(80, show)
    assert "37 MiB of 2.0 GiB" in shown
    assert "\x1b[2J" not in shown
    assert ("python job.py \\x1b[2J" in shown) == alone
    assert shown.startswith("\x1b[?1049h")
    assert shown.endswith("\x1b[?25h\x1b[?1049l")


def test_what_is_in_the_way_is_told() -> None:
    away = UsageReading("x", "running", 0.0, trouble="The server has no public address.")
    assert describe(away, 0.0)[-1] == "The server has no public address."
    assert job_row(away)[:2] == ("x", "running")
