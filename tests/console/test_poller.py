"""One look for all tabs: who listens is told what is different, and nothing else."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from dataclasses import replace

import pytest

from skylift.client.errors import Unreachable
from skylift.console.poller import Change, Topic, pause
from skylift.console.rows import KeyPairRow, Row

ONE = KeyPairRow("key-1", "one", "ed25519", "aa", "2026-01-01 00:00:00", "")
TWO = KeyPairRow("key-2", "two", "rsa", "bb", "2026-01-02 00:00:00", ":x=<b>")


class Cloud:
    def __init__(self, *rows: Row) -> None:
        self.rows: tuple[Row, ...] = rows
        self.looks = 0
        self.down = self.odd = False

    def fetch(self) -> Sequence[Row]:
        self.looks += 1
        if self.odd:
            raise KeyError("State")
        if self.down:
            raise Unreachable("The cloud does not answer.", "Start it: skylift cloud up")
        return self.rows


class Tab:
    def __init__(self) -> None:
        self.told: list[Change] = []
        self.open = True
        self._news = asyncio.Event()

    def hear(self, change: Change) -> bool:
        if self.open and change.news:
            self.told.append(change)
            self._news.set()
        return self.open

    async def next(self) -> Change:
        await asyncio.wait_for(self._news.wait(), 10)
        self._news.clear()
        return self.told[-1]


async def test_only_differences_are_told() -> None:
    cloud, tab = Cloud(ONE), Tab()
    topic = Topic(cloud.fetch, 0.01)
    topic.listen(tab.hear)
    assert [row["id"] for row in (await tab.next()).added] == ["key-1"]
    cloud.rows = (replace(ONE, name="new"), TWO)
    change = await tab.next()
    assert [row["name"] for row in change.updated] == ["new"]
    assert [row["tags"] for row in change.added] == [":x=<b>"]
    cloud.rows = (TWO,)
    change = await tab.next()
    assert change.removed == ("key-1",)
    assert not change.added and not change.updated
    tab.open = False


def test_a_long_list_is_looked_at_more_rarely() -> None:
    assert pause(0.9, 0.01) == 0.9
    assert pause(0.9, 0.5) == 4.5


async def test_a_second_tab_costs_no_second_look() -> None:
    cloud, first, second = Cloud(ONE), Tab(), Tab()
    topic = Topic(cloud.fetch, 3600)
    topic.listen(first.hear)
    await first.next()
    looks = cloud.looks
    topic.listen(second.hear)
    assert [row["id"] for row in (await second.next()).added] == ["key-1"]
    assert cloud.looks == looks
    first.open = second.open = False
    topic.look_soon()


async def test_who_asks_once_has_what_is_there_and_costs_no_second_look() -> None:
    cloud, tab = Cloud(ONE), Tab()
    topic = Topic(cloud.fetch, 3600)
    await topic.look_once(3600)
    await topic.look_once(3600)
    assert (topic.rows, cloud.looks) == ((ONE,), 1)
    cloud.rows = (ONE, TWO)
    await topic.look_once(0)
    assert (topic.rows, cloud.looks) == ((ONE, TWO), 2)
    cloud.down = True
    await topic.look_once(0)
    assert topic.rows == (ONE, TWO), "what was seen last is worth more than nothing"
    cloud.down = False
    # While somebody listens, there are looks anyway.
    topic.listen(tab.hear)
    await topic.look_once(0)
    assert topic.looking is not None
    tab.open = False
    topic.looking.cancel()


async def test_an_older_look_that_takes_longer_brings_nothing_back() -> None:
    old, new = threading.Event(), threading.Event()
    begun: list[threading.Event] = []

    def fetch() -> Sequence[Row]:
        answer, rows = (new, (ONE,)) if begun else (old, (ONE, TWO))
        begun.append(answer)
        assert answer.wait(30)
        return rows

    topic, tab = Topic(fetch, 3600), Tab()
    searched = asyncio.create_task(topic.look_once(3600))
    while not begun:
        await asyncio.sleep(0.001)
    topic.listen(tab.hear)
    new.set()
    for _ in range(20):
        # The newer look would be over by then, if it did not wait for the older one.
        await asyncio.to_thread(len, begun)
    old.set()
    await searched
    while len(begun) < 2 or topic.rows != (ONE,):
        await tab.next()
    assert [row["id"] for row in tab.told[0].added] == ["key-1", "key-2"]
    assert tab.told[1].removed == ("key-2",)
    assert topic.looking is not None
    tab.open = False
    topic.looking.cancel()


async def test_nobody_listening_is_nobody_looking() -> None:
    cloud, tab = Cloud(ONE), Tab()
    topic = Topic(cloud.fetch, 0.001)
    topic.listen(tab.hear)
    await tab.next()
    tab.open = False
    looking = topic.looking
    assert looking is not None
    await asyncio.wait_for(looking, 10)
    looks = cloud.looks
    again = Tab()
    topic.listen(again.hear)
    await again.next()
    cloud.rows = (ONE, TWO)
    await again.next()
    assert cloud.looks > looks
    again.open = False


async def test_who_has_heard_enough_is_told_nothing_of_what_comes() -> None:
    cloud, tab = Cloud(ONE), Tab()
    topic = Topic(cloud.fetch, 0.005)
    topic.listen(tab.hear)
    await tab.next()
    told: list[Change] = []

    def hears_once(change: Change) -> bool:
        told.append(change)
        return False

    topic.listen(hears_once)
    cloud.rows = (ONE, TWO)
    assert [row["id"] for row in (await tab.next()).added] == ["key-2"]
    assert [[row["id"] for row in each.added] for each in told] == [["key-1"]]
    tab.open = False
    looking = topic.looking
    assert looking is not None
    await asyncio.wait_for(looking, 10)
    topic.listen(hears_once)
    assert topic.looking is looking, "nobody looks for those who have heard enough"


async def test_a_tab_that_fails_keeps_no_other_from_its_news(caplog: pytest.LogCaptureFixture) -> None:
    cloud, tab = Cloud(ONE), Tab()
    topic = Topic(cloud.fetch, 0.005)
    failed: list[Change] = []

    def fails(change: Change) -> bool:
        if not change.news:
            return True
        failed.append(change)
        raise RuntimeError("the page is half made")

    topic.listen(fails)
    topic.listen(tab.hear)
    assert [row["id"] for row in (await tab.next()).added] == ["key-1"]
    cloud.rows = (ONE, TWO)
    assert [row["id"] for row in (await tab.next()).added] == ["key-2"]
    assert len(failed) == 2, "it is told of what comes next, too"
    assert [str(each.exc_info[1]) for each in caplog.records if each.exc_info] == ["the page is half made"] * 2
    assert topic.looking is not None and not topic.looking.done()
    tab.open = False
    topic.looking.cancel()


async def test_a_cloud_that_is_down_is_told_once_and_seen_again() -> None:
    cloud, tab = Cloud(ONE), Tab()
    topic = Topic(cloud.fetch, 0.005)
    topic.listen(tab.hear)
    await tab.next()
    cloud.down = True
    trouble = await tab.next()
    assert (trouble.trouble, trouble.advice) == ("The cloud does not answer.", "Start it: skylift cloud up")
    looks = cloud.looks
    while cloud.looks < looks + 3:
        await asyncio.sleep(0)
    assert tab.told[-1] == trouble, "what is wrong stays on the page"
    cloud.down, cloud.rows = False, (ONE, TWO)
    assert [row["id"] for row in (await tab.next()).added] == ["key-2"]
    assert sum(bool(each.trouble) for each in tab.told) == 1
    tab.open = False


async def test_an_answer_that_nobody_expected_ends_no_looks(caplog: pytest.LogCaptureFixture) -> None:
    cloud, tab = Cloud(ONE), Tab()
    topic = Topic(cloud.fetch, 0.005)
    topic.listen(tab.hear)
    await tab.next()
    cloud.odd = True
    trouble = await tab.next()
    assert trouble.trouble == "The console cannot read this list: KeyError('State')."
    cloud.odd, cloud.rows = False, (ONE, TWO)
    assert [row["id"] for row in (await tab.next()).added] == ["key-2"]
    assert sum(bool(each.trouble) for each in tab.told) == 1
    tab.open = False
