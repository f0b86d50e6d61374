"""Text that many tabs look at, each at its own pace."""

from __future__ import annotations

import asyncio

import pytest

from skylift.console.scrollback import Scrollback


def test_each_reader_has_all_that_is_kept_in_its_order() -> None:
    text = Scrollback(keep=100)
    for number in range(50):
        text.append(f"{number:02d}")
    first, offset = text.read(0, 30)
    rest, end = text.read(offset, 1000)
    assert first + rest == "".join(f"{number:02d}" for number in range(50))
    assert (end, text.read(end, 10)) == (100, ("", 100))


def test_a_slow_reader_passes_over_what_is_not_kept_and_memory_stays_bounded() -> None:
    text = Scrollback(keep=1000)
    for number in range(10_000):
        text.append(f"{number:06d}\n")
    found, end = text.read(0, 1 << 20)
    assert end == text.end == 70_000
    assert 1000 <= len(found) <= 2000
    assert found.endswith("009999\n")


@pytest.mark.parametrize("size", [1, 7, 1 << 15, 1 << 20])
def test_pieces_of_any_size_are_one_text(size: int) -> None:
    whole = "".join(f"{number:07d}" for number in range(300_000))
    text = Scrollback(keep=len(whole))
    for start in range(0, len(whole), size * 100 if size < 10 else size):
        text.append(whole[start : start + (size * 100 if size < 10 else size)])
    assert text.read(0, len(whole)) == (whole, len(whole))
    for start in (0, 1, 32_767, 32_768, 32_769, 1_000_003, len(whole) - 1):
        assert text.read(start, 70_001) == (whole[start : start + 70_001], min(start + 70_001, len(whole)))


async def test_who_waits_is_told_of_news_and_never_waits_for_what_is_there() -> None:
    text = Scrollback()
    waiting = asyncio.create_task(text.wait(0, 60))
    await asyncio.sleep(0)
    text.append("news")
    await asyncio.wait_for(waiting, 10)
    await asyncio.wait_for(text.wait(0, 60), 10)
