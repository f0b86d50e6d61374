"""`skylift logs`: whoever reads it may go at any time."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from skylift.cli.logs import while_read


async def test_it_ends_with_its_reader_though_nothing_is_written() -> None:
    reading, writing = os.pipe()
    work = asyncio.ensure_future(while_read(writing, forever()))
    await asyncio.sleep(0)
    assert not work.done()
    os.close(reading)
    with pytest.raises(BrokenPipeError):
        await asyncio.wait_for(work, 10)
    os.close(writing)


async def test_it_goes_on_while_somebody_reads() -> None:
    reading, writing = os.pipe()
    done: list[str] = []

    async def write() -> None:
        for _ in range(3):
            os.write(writing, b"line\n")
            await asyncio.sleep(0.01)
        done.append("all")

    await while_read(writing, write())
    assert done == ["all"]
    os.close(reading)
    os.close(writing)


async def test_a_file_and_a_terminal_have_no_reader_that_goes(tmp_path: Path) -> None:
    control, terminal = os.openpty()
    with (tmp_path / "out").open("w") as file:
        await while_read(file.fileno(), asyncio.sleep(0))
    os.write(control, b"keys that somebody types\n")
    await while_read(terminal, asyncio.sleep(0.01))
    os.close(control)
    os.close(terminal)


async def forever() -> None:
    await asyncio.Event().wait()
