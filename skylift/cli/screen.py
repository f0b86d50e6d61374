"""What a run looks like: lines and bars on standard error, the program's bytes untouched on both streams."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Literal, Protocol

from skylift.cli.say import say_trouble
from skylift.runner.text.duration import spell_duration
from skylift.runner.text.tail import Tail
from skylift.runner.text.visible import visible, visible_lines

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.progress import Progress, TaskID

    from skylift.runner.errors import SkyliftError
    from skylift.runner.job.outcome import Missing, Outcome

_WORDS = {
    "check": "Check",
    "network": "Network",
    "key": "Key pair",
    "role": "Role",
    "upload": "Upload",
    "server": "Server",
    "environment": "Environment",
    "program": "Program",
    "results": "Results",
}


class Screen(Protocol):
    """A Watcher (see runner/watcher.py) that also says the last word."""

    def begin(self, step: str) -> None: ...
    def done(self, step: str, detail: str, seconds: float) -> None: ...
    def progress(self, step: str, done: int, total: int) -> None: ...
    def note(self, text: str) -> None: ...
    def output(self, stream: Literal["stdout", "stderr"], data: bytes) -> None: ...
    def finish(self) -> None:
        """Nothing is shown any more; what follows is written by others."""


class Outlet:
    """The program's streams on ours. A reader that went away (`| head`) ends the showing, not the job."""

    def __init__(self, stdout: int, stderr: int) -> None:
        self._targets: dict[str, int | None] = {"stdout": stdout, "stderr": stderr}
        self.tails = {"stdout": Tail(), "stderr": Tail()}

    def write(self, stream: Literal["stdout", "stderr"], data: bytes) -> None:
        self.tails[stream].add(data)
        target = self._targets[stream]
        view = memoryview(data)
        try:
            while view and target is not None:
                view = view[os.write(target, view) :]
        except BrokenPipeError:
            self._targets[stream] = None


class Plain:
    """For pipes and files: a line a step, written when it is done."""

    def __init__(self, outlet: Outlet, *, quiet: bool) -> None:
        self._outlet = outlet
        self._quiet = quiet

    def begin(self, step: str) -> None:
        pass

    def done(self, step: str, detail: str, seconds: float) -> None:
        if not self._quiet:
            self._line(f"{_WORDS[step]}: {visible(detail)} ({spell_duration(seconds)})")

    def progress(self, step: str, done: int, total: int) -> None:
        pass

    def note(self, text: str) -> None:
        if not self._quiet:
            for line in visible_lines(text):
                self._line(line)

    def output(self, stream: Literal["stdout", "stderr"], data: bytes) -> None:
        self._outlet.write(stream, data)

    def finish(self) -> None:
        pass

    def _line(self, text: str) -> None:
        self._outlet_line(f"skylift: {text}\n".encode())

    def _outlet_line(self, data: bytes) -> None:
        try:
            os.write(2, data)
        except BrokenPipeError:
            self._quiet = True


class Live:
    """For terminals: what is under way moves, what is done stands. Still while the program is writing."""

    def __init__(self, outlet: Outlet) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

        self._outlet = outlet
        self._console = Console(stderr=True, highlight=False)
        self._progress: Progress = Progress(
            SpinnerColumn(finished_text=" "),
            TextColumn("{task.description:<12}"),
            BarColumn(bar_width=30, pulse_style="bar.back"),
            TimeElapsedColumn(),
            console=self._console,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._tasks: dict[str, TaskID] = {}
        self._moving = False
        self._column = 0

    def begin(self, step: str) -> None:
        if step == "program":
            self._stand_still()
            return
        if not self._moving:
            self._fresh_line()
            self._progress.start()
            self._moving = True
        self._tasks[step] = self._progress.add_task(_WORDS[step], total=None)

    def done(self, step: str, detail: str, seconds: float) -> None:
        from rich.text import Text

        if step in self._tasks:
            self._progress.remove_task(self._tasks.pop(step))
        self._fresh_line()
        # One print: what moves is drawn anew below each one, and would overwrite the first half of a line.
        line = Text.assemble(
            ("✓", "green"), f" {_WORDS[step]:<12}", f"{spell_duration(seconds):>8}  ", (visible(detail), "dim")
        )
        self._console.print(line, soft_wrap=True)
        if not self._tasks:
            self._stand_still()

    def progress(self, step: str, done: int, total: int) -> None:
        if step in self._tasks:
            self._progress.update(self._tasks[step], completed=done, total=total)

    def note(self, text: str) -> None:
        self._fresh_line()
        shown = "\n".join(visible_lines(text))
        self._console.print(shown, markup=False, emoji=False, soft_wrap=True, style="yellow")

    def output(self, stream: Literal["stdout", "stderr"], data: bytes) -> None:
        self._stand_still()
        self._column = 0 if data.endswith((b"\n", b"\r")) else 1
        self._outlet.write(stream, data)

    def finish(self) -> None:
        self._stand_still()
        self._fresh_line()

    def _stand_still(self) -> None:
        if self._moving:
            self._progress.stop()
            self._moving = False

    def _fresh_line(self) -> None:
        """Ours never continues a line of the program's."""
        if self._column:
            self._console.print()
            self._column = 0


def make_screen(outlet: Outlet, *, quiet: bool, json: bool) -> Screen:
    if sys.stderr.isatty() and not quiet and not json:
        return Live(outlet)
    return Plain(outlet, quiet=quiet)


def summary(outcome: Outcome) -> list[str]:
    """The last lines of a run: how it ended, how long it took, what came home and what did not."""
    marks = {"succeeded": "✓", "cancelled": "■", "detached": "■"}
    head = f"{marks.get(outcome.state, '✗')} {outcome.name}: exit code {outcome.exit_code}"
    if outcome.state != "succeeded":
        head += f" ({outcome.state})"
    spent = outcome.seconds or outcome.program_seconds
    head += f" after {spell_duration(spent)}" if spent is not None else ""
    if outcome.results:
        shown = ", ".join(each.path for each in outcome.results[:4])
        more = len(outcome.results) - 4
        head += f"; results: {shown}" + (f" and {more} more" if more > 0 else "")
    lines = [head]
    if outcome.state not in {"succeeded", "failed"} or outcome.signal:
        lines.append(outcome.reason)
    if outcome.detail:
        lines += outcome.detail.rstrip("\n").split("\n")
    lines += [f"Nothing matched --out {pattern}." for pattern in outcome.unmatched]
    if outcome.left_behind:
        names = ", ".join(outcome.left_behind[:5])
        lines.append(f"New on the server, but not asked for with --out: {names}.")
    if outcome.not_written:
        lines.append(spell_not_written(outcome.not_written))
    lines += spell_missing(outcome.missing, outcome.changed)
    if outcome.price is not None:
        lines.append(outcome.price.spell())
    if outcome.kept_until:
        lines.append(f"The server stays until {outcome.kept_until}: `skylift ssh {outcome.name}`.")
    return lines


def spell_not_written(paths: Sequence[str]) -> str:
    more = f" and {len(paths) - 5} more" if len(paths) > 5 else ""
    return f"Sent by the server, but not asked for with --out, so not written here: {', '.join(paths[:5])}{more}."


def spell_missing(missing: Sequence[Missing], changed: Sequence[str]) -> list[str]:
    lines = []
    if missing:
        named = ", ".join(f"{each.path} ({each.reason})" for each in missing[:5])
        more = f" and {len(missing) - 5} more" if len(missing) > 5 else ""
        lines.append(f"Results that did not come home: {named}{more}.")
    if changed:
        more = f" and {len(changed) - 5} more" if len(changed) > 5 else ""
        lines.append(f"Changed while they were read, so perhaps not whole: {', '.join(changed[:5])}{more}.")
    return lines


def show_error(error: SkyliftError) -> None:
    say_trouble(error.message, error.advice)
