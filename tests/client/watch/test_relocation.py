"""What somebody who watches a spot job is told of its moves."""

from __future__ import annotations

from typing import Literal

from skylift.client.watch.relocation import Relocation
from skylift.contract.states import State
from skylift.contract.status import ProgramTry, SpotNotice, Status


class Notes:
    def __init__(self) -> None:
        self.told: list[str] = []

    def begin(self, step: str) -> None:
        raise AssertionError(step)

    def done(self, step: str, detail: str, seconds: float) -> None:
        raise AssertionError(step)

    def progress(self, step: str, done: int, total: int, files: tuple[int, int] | None = None) -> None:
        raise AssertionError(step)

    def output(self, stream: Literal["stdout", "stderr"], data: bytes) -> None:
        raise AssertionError(stream)

    def take_back(self, stream: Literal["stdout", "stderr"], size: int) -> bool:
        raise AssertionError(stream)

    def note(self, text: str) -> None:
        self.told.append(text)


def test_a_notice_and_its_end_are_told_once() -> None:
    notes, first = Notes(), Status(State.RUNNING, instance="i-1", started="2026-01-31T12:00:00.000Z")
    moves = Relocation(notes)
    noticed = first._replace(notice=SpotNotice(1769860800.0))
    for status in (first, noticed, noticed, first, first):
        moves.see(status)
    assert [text.partition(" at ")[0] for text in notes.told] == [
        "EC2 says that i-1 will be taken away",
        "EC2 has withdrawn its notice: i-1 stays.",
    ]


def test_the_next_server_takes_back_nothing() -> None:
    notes, first = Notes(), Status(State.RUNNING, instance="i-1", started="2026-01-31T12:00:00.000Z")
    moves = Relocation(notes)
    noticed = first._replace(notice=SpotNotice(1769860800.0))
    second = first._replace(attempt=2, instance="i-2")
    for status in (
        noticed,
        noticed._replace(state=State.INTERRUPTED),
        second._replace(state=State.BOOTING),
        second,
        second,
    ):
        moves.see(status)
    assert notes.told[1:] == [
        "The job has left i-1; another server will continue it.",
        "Attempt 2, on i-2, begins anew.",
    ]


def test_a_checkpoint_that_is_refused_is_told_once_and_does_not_reach_the_terminal_as_it_is() -> None:
    notes, first = Notes(), Status(State.RUNNING, instance="i-1", started="2026-01-31T12:00:00.000Z")
    moves = Relocation(notes)
    refused = first._replace(checkpoint_refused="x\x1b[2J is a FIFO.")
    for status in (first, refused, refused, first):
        moves.see(status)
    assert notes.told == ["The new checkpoint is refused, the previous one stays: x\\x1b[2J is a FIFO."]


def test_each_failure_after_which_it_begins_again_is_told_once() -> None:
    notes, first = Notes(), Status(State.RUNNING, instance="i-1", started="2026-01-31T12:00:00.000Z")
    moves = Relocation(notes)
    failed = ProgramTry(75, 1, reason="It exited with \x1b[2J75.", pause=1.0)
    once = first._replace(tries=(failed,))
    twice = first._replace(tries=(failed, ProgramTry(1, 1, reason="It exited with 1.", pause=2.0)))
    ended = twice._replace(
        state=State.SUCCEEDED, final=True, tries=(*twice.tries, ProgramTry(0, 1, reason="It exited with 0."))
    )
    for status in (first, once, once, twice, ended):
        moves.see(status)
    assert notes.told == [
        "Attempt 1: It exited with \\x1b[2J75. The next one begins in 1.00 s.",
        "Attempt 2: It exited with 1. The next one begins in 2.00 s.",
    ]
