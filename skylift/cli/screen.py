"""What a run looks like: lines and bars on standard error, the program's bytes untouched on both streams."""

from __future__ import annotations

import io
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal, Protocol

from skylift.cli.bottom_line import BottomLine
from skylift.cli.echo import Echo
from skylift.cli.say import say_trouble
from skylift.cli.status_text import fit, spell_progress, spell_run, spell_sent, spell_whole
from skylift.client.text.duration import spell_duration
from skylift.client.text.tail import Tail
from skylift.client.text.visible import visible, visible_lines
from skylift.client.watch.written import Written
from skylift.client.watcher import Watcher
from skylift.contract.stream import Gauge

if TYPE_CHECKING:
    from skylift.client.errors import SkyliftError
    from skylift.client.watch.monitor import RunningProgram

_WORDS = {
    "check": "Check",
    "network": "Network",
    "key": "Key pair",
    "role": "Role",
    "group": "Group",
    "upload": "Upload",
    "server": "Server",
    "schedule": "Schedule",
    "environment": "Environment",
    "program": "Program",
    "results": "Results",
    "image": "Image",
    "copy": "Copy",
}
_SILENCE = 1.0
"""Seconds without output after which a program counts as silent."""
_SPIN = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"


class Screen(Watcher, Protocol):
    """A Watcher that also has an end."""

    def info(self, text: str) -> None:
        """A sentence that is good to know, and less important than a note."""
        return

    def finish(self) -> None:
        """Show nothing any more."""
        return


class Outlet:
    """Writes the program's streams to ours. When their reader has gone (`| head`), output is dropped and the job goes
    on."""

    def __init__(self, stdout: int, stderr: int) -> None:
        self._targets: dict[str, int | None] = {"stdout": stdout, "stderr": stderr}
        self._written: dict[str, Written] = {}
        self.tails = {"stdout": Tail(), "stderr": Tail()}

    def write(self, stream: Literal["stdout", "stderr"], data: bytes) -> None:
        self.tails[stream].add(data)
        target = self._targets[stream]
        view = memoryview(data)
        try:
            while view and target is not None:
                view = view[os.write(target, view) :]
            if target is not None:
                if stream not in self._written:
                    self._written[stream] = Written(io.FileIO(target, "w", closefd=False))
                self._written[stream].note(len(data))
        except BrokenPipeError:
            self._targets[stream] = None

    def take_back(self, stream: Literal["stdout", "stderr"], size: int) -> bool:
        self.tails[stream].take_back(size)
        return stream in self._written and self._written[stream].take_back(size)


class Plain(Screen):
    """For pipes and files: one line for each step, when it is done."""

    def __init__(self, outlet: Outlet, *, quiet: bool) -> None:
        self._outlet = outlet
        self._quiet = quiet

    def done(self, step: str, detail: str, seconds: float) -> None:
        if not self._quiet:
            self._line(f"{_WORDS[step]}: {visible(detail)} ({spell_duration(seconds)})")

    def note(self, text: str) -> None:
        if not self._quiet:
            self.warn(text)

    def warn(self, text: str) -> None:
        for line in visible_lines(text):
            self._line(line)

    def info(self, text: str) -> None:
        self.note(text)

    def output(self, stream: Literal["stdout", "stderr"], data: bytes) -> None:
        self._outlet.write(stream, data)

    def take_back(self, stream: Literal["stdout", "stderr"], size: int) -> bool:
        return self._outlet.take_back(stream, size)

    def _line(self, text: str) -> None:
        self._outlet_line(f"skylift: {text}\n".encode())

    def _outlet_line(self, data: bytes) -> None:
        try:
            os.write(2, data)
        except BrokenPipeError:
            self._quiet = True


class Live:
    """For terminals: one line for each step that is done. The bottom line shows the step that is under way, or the
    state of a program that is silent. It never overwrites the program's output: see BottomLine."""

    def __init__(self, outlet: Outlet, *, stdout_shows: bool) -> None:
        self._outlet = outlet
        self._on_terminal = {"stdout": stdout_shows, "stderr": True}
        self._colours = not os.environ.get("NO_COLOR")
        self._bottom = BottomLine(2, self._compose, dim=self._colours)
        self._steps: dict[str, float] = {}
        self._amounts: dict[str, str] = {}
        self._run: RunningProgram | None = None
        self._gauge = Gauge()
        self._echo = Echo(self._bottom.cursor)
        self.leave = ""
        """How to leave, in a word or two."""
        self.instead: Callable[[RunningProgram, int], str] | None = None
        """What is shown of a program, if not how long it runs and what it uses: text of so many columns at most."""

    def begin(self, step: str) -> None:
        if step != "program":
            self._steps[step] = time.monotonic()
        self._bottom.begin()

    def done(self, step: str, detail: str, seconds: float) -> None:
        self._steps.pop(step, None)
        if step == "program":
            self._run = None
        mark, detail = "✓", visible(detail)
        if self._colours:
            mark, detail = f"\x1b[32m{mark}\x1b[0m", f"\x1b[2m{detail}\x1b[0m"
        self._line(f"{mark} {_WORDS[step]:<12}{spell_duration(seconds):>8}  {detail}")

    def progress(self, step: str, done: int, total: int, files: tuple[int, int] | None = None) -> None:
        self._amounts[step] = spell_progress(done, total, files)

    def note(self, text: str) -> None:
        lines = visible_lines(text)
        self._line(*([f"\x1b[33m{line}\x1b[0m" for line in lines] if self._colours else lines))

    warn = note

    def info(self, text: str) -> None:
        self._line(*visible_lines(text))

    def output(self, stream: Literal["stdout", "stderr"], data: bytes) -> None:
        if not self._on_terminal[stream]:
            return self._outlet.write(stream, data)
        with self._bottom.aside(_SILENCE):
            self._outlet.write(stream, data)
            self._bottom.cursor.feed(data)
            self._echo.forget()
        return None

    def take_back(self, stream: Literal["stdout", "stderr"], size: int) -> bool:
        return self._outlet.take_back(stream, size)

    def finish(self) -> None:
        self._bottom.finish()
        if not self._bottom.cursor.blank:
            self._line()

    def _line(self, *lines: str) -> None:
        with self._bottom.aside():
            self._bottom.write("".join(f"{line}\n" for line in lines))
            self._echo.forget()

    # The monitor (see client/watch/monitor.py).

    def runs(self, run: RunningProgram) -> None:
        self._run = run

    def measured(self, gauge: Gauge) -> None:
        self._gauge = gauge

    def _compose(self, columns: int) -> str:
        if self._steps:
            return self._spell_steps(columns)
        if self._run is not None:
            if self.instead is not None and (text := self.instead(self._run, columns)):
                return text
            return spell_run(self._run, self._gauge, self.leave, time.time(), columns)
        return ""

    def _spell_steps(self, columns: int) -> str:
        now, steps = time.monotonic(), dict(self._steps)
        words = [self._spell_step(step) for step in steps]
        seconds = spell_whole(now - min(steps.values(), default=now))
        spin = _SPIN[int(now * 5) % len(_SPIN)]
        return fit([(0, " · ".join(words)), (1, seconds), (2, self.leave)], columns, before=f"{spin} ")

    def _spell_step(self, step: str) -> str:
        text = self._amounts.get(step, "")
        if step == "environment":
            text = visible(self._gauge.doing)
        elif step == "results" and not text:
            text = spell_sent(self._gauge)
        return f"{_WORDS[step]} {text}".rstrip()

    @contextmanager
    def hidden(self) -> Iterator[None]:
        """Hide the bottom line while a shell has the terminal."""
        with self._bottom.aside():
            yield
            self._bottom.cursor.reset()

    # Typed keys, which the terminal does not echo.

    def typed(self, keys: str) -> None:
        with self._bottom.aside(_SILENCE):
            self._echo.show(keys)


def make_screen(outlet: Outlet, *, quiet: bool, json: bool) -> Screen:
    if sys.stderr.isatty() and not quiet and not json and os.environ.get("TERM") != "dumb":
        return Live(outlet, stdout_shows=os.isatty(1))
    return Plain(outlet, quiet=quiet)


def show_error(error: SkyliftError) -> None:
    say_trouble(error.message, error.advice)
