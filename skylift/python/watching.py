"""Watchers for runs that are started in Python: log records, files for the output, and a callback for progress."""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import IO, Any, Literal, Protocol, Self

from skylift.client.job.outcome import Outcome
from skylift.client.text.duration import spell_duration
from skylift.client.text.tail import Tail
from skylift.client.text.visible import visible, visible_lines
from skylift.client.watch.written import Written

log = logging.getLogger("skylift")
log.addHandler(logging.NullHandler())  # Python prints warnings that have no handler


class Bar(Protocol):
    """As tqdm's are."""

    def update(self, n: int, /) -> object: ...

    def close(self) -> object: ...


Progress = bool | Callable[[str, int, int], object] | type[Bar]
"""How far it is, for people. A function is called with a step's name, the bytes that are done and those that there are:
`(step, 0, 0)` when it begins, and at its end with both the same, which are not 0. A class like tqdm's has an instance
for each step that moves bytes. True is a plain line on standard error for each step that ends, also in notebooks."""


class Recorder:
    """Keeps the end of each stream; hands the bytes to whoever wants them; steps and notes are logged."""

    def __init__(
        self,
        stdout: IO[bytes] | None = None,
        stderr: IO[bytes] | None = None,
        on_output: Callable[[bytes], object] | None = None,
        progress: Progress = False,
    ) -> None:
        self._files = {"stdout": stdout, "stderr": stderr}
        self._written = {name: Written(file) for name, file in self._files.items() if file is not None}
        self._tails = {"stdout": Tail(), "stderr": Tail()}
        self._on_output = on_output
        self._shown = _shown(progress)
        self._lock = threading.Lock()

    def begin(self, step: str) -> None:
        log.debug("%s ...", step)
        with self._lock:
            self._shown.begin(step)

    def done(self, step: str, detail: str, seconds: float) -> None:
        log.info("%s: %s (%.2f s)", step, visible(detail), seconds)
        with self._lock:
            self._shown.done(step, visible(detail), seconds)

    def progress(self, step: str, done: int, total: int, files: tuple[int, int] | None = None) -> None:
        with self._lock:
            self._shown.progress(step, done, total)

    def note(self, text: str) -> None:
        log.warning("%s", "\n".join(visible_lines(text)))

    warn = note

    def output(self, stream: Literal["stdout", "stderr"], data: bytes) -> None:
        self._tails[stream].add(data)
        file = self._files[stream]
        if file is not None:
            file.write(data)
            file.flush()
            self._written[stream].note(len(data))
        if self._on_output is not None:
            self._on_output(data)

    def take_back(self, stream: Literal["stdout", "stderr"], size: int) -> bool:
        self._tails[stream].take_back(size)
        return stream in self._written and self._written[stream].take_back(size)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing is shown any more."""
        with self._lock:
            self._shown.finish()

    def with_tails(self, outcome: Outcome) -> Outcome:
        tails = {f"{name}_tail": tail.text() for name, tail in self._tails.items()}
        return replace(outcome, stdout_tail=tails["stdout_tail"], stderr_tail=tails["stderr_tail"])


class _Nobody:
    def begin(self, step: str) -> None:
        pass

    def progress(self, step: str, done: int, total: int) -> None:
        pass

    def done(self, step: str, detail: str, seconds: float) -> None:
        pass

    def finish(self) -> None:
        pass


class _Plain(_Nobody):
    def done(self, step: str, detail: str, seconds: float) -> None:
        sys.stderr.write(f"{step}: {detail} ({spell_duration(seconds)})\n")
        sys.stderr.flush()


class _Function(_Nobody):
    def __init__(self, call: Callable[[str, int, int], object]) -> None:
        self._call = call
        self._last: dict[str, tuple[int, int]] = {}

    def begin(self, step: str) -> None:
        self._call(step, 0, 0)

    def progress(self, step: str, done: int, total: int) -> None:
        self._last[step] = done, total
        self._call(step, done, total)

    def done(self, step: str, detail: str, seconds: float) -> None:
        done, total = self._last.pop(step, (0, 0))
        if done < total or not total:
            self._call(step, total or 1, total or 1)


class _Bars(_Nobody):
    def __init__(self, make: Any) -> None:
        self._make = make
        self._bars: dict[str, tuple[Bar, int]] = {}

    def progress(self, step: str, done: int, total: int) -> None:
        if step not in self._bars:
            self._bars[step] = self._make(total=total, desc=step, unit="B", unit_scale=True), 0
        bar, before = self._bars[step]
        bar.update(done - before)
        self._bars[step] = bar, done

    def done(self, step: str, detail: str, seconds: float) -> None:
        if step in self._bars:
            self._bars.pop(step)[0].close()

    def finish(self) -> None:
        """Of steps that came to no end, too."""
        for bar, _ in self._bars.values():
            bar.close()
        self._bars.clear()


def _shown(progress: Progress) -> _Nobody:
    if isinstance(progress, bool):
        return _Plain() if progress else _Nobody()
    if isinstance(progress, type) and hasattr(progress, "update"):
        return _Bars(progress)
    if callable(progress):
        return _Function(progress)
    raise TypeError(f"progress must be True, a function or a class like tqdm's, not {type(progress).__name__}")
