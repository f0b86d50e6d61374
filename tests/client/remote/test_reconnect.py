"""A cloud that may be away: told once, brought back where that is possible, and not taken for another one."""

from __future__ import annotations

from typing import Any

import pytest

from skylift.client.errors import NotNow, NotPermitted, RunError, Unreachable
from skylift.client.remote.patience import Patience
from skylift.client.remote.reconnect import Reconnect


class Api:
    def __init__(self) -> None:
        self.moved: list[str] = []
        self.patience = Patience()

    def move(self, endpoint: str) -> None:
        self.moved.append(endpoint)


class Watcher:
    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


def away() -> None:
    raise Unreachable("no route")


def stranger(code: str) -> None:
    raise NotPermitted(code, "who are you", "describe_instances", "")


def reconnect(revive: Any) -> tuple[Reconnect, Api, Watcher]:
    api, watcher = Api(), Watcher()
    return Reconnect(api, watcher, revive), api, watcher  # type: ignore[arg-type]


async def test_an_outage_is_told_once_and_ended_by_a_revival() -> None:
    line, api, watcher = reconnect(lambda: "http://127.0.0.1:1")
    for _ in range(2):
        with pytest.raises(Unreachable):
            await line.once(away)
    assert api.moved == ["http://127.0.0.1:1"] * 2
    assert await line.once(lambda: 7) == 7
    assert [note.split(".")[0] for note in watcher.notes] == ["The cloud does not answer", "The cloud answers again"]


@pytest.mark.parametrize("code", ["AuthFailure", "InvalidClientTokenId", "InvalidAccessKeyId"])
async def test_another_cloud_at_the_same_port_is_not_taken_for_ours(code: str) -> None:
    line, api, watcher = reconnect(lambda: "http://127.0.0.1:2")
    with pytest.raises(Unreachable):
        await line.once(stranger, code)
    assert api.moved == ["http://127.0.0.1:2"]
    assert "Something else answers in its place" in watcher.notes[0]


async def test_a_refusal_stays_one_where_nothing_can_be_revived() -> None:
    line, _, _ = reconnect(None)
    with pytest.raises(NotPermitted):
        await line.once(stranger, "AuthFailure")


async def test_a_revival_that_fails_is_told_once() -> None:
    def fail() -> str:
        raise RunError("It was taken down.", "Start it.")

    line, _, watcher = reconnect(fail)
    for _ in range(3):
        with pytest.raises(Unreachable):
            await line.once(away)
    assert len(watcher.notes) == 2
    assert "It was taken down." in watcher.notes[1]


async def test_a_cloud_that_only_asks_to_wait_is_not_started_again() -> None:
    def busy() -> None:
        raise NotNow("SlowDown", "Please reduce your request rate.", "get_object")

    line, api, watcher = reconnect(lambda: "http://127.0.0.1:1")
    with pytest.raises(Unreachable):
        await line.once(busy)
    assert api.moved == []
    assert len(watcher.notes) == 1
    assert api.patience.tell == watcher.note, "who waits within a call tells the same user"
