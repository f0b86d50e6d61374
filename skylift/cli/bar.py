"""A progress bar for an image that is built or unpacked."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from skylift.cli.say import say

if TYPE_CHECKING:
    from skylift.cloud.compute.image.image import Progress

_AT_LEAST_EVERY = 10.0
"""Seconds between two lines within a step."""


@contextmanager
def build_bar() -> Iterator[Progress]:
    """On a terminal, a bar on standard error. In a pipe, a line for each step, and more lines during a long one."""
    began = time.monotonic()
    seen: list[float] = []
    if sys.stderr.isatty():
        with _rich_bar(seen) as progress:
            yield progress
    else:
        with _lines(seen) as progress:
            yield progress
    if seen and seen[-1] >= 1:
        say(f"Image ready in {time.monotonic() - began:.0f} s.", to_stderr=True)


@contextmanager
def _rich_bar(seen: list[float]) -> Iterator[Progress]:
    from rich.console import Console
    from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bar

    columns = (
        TextColumn("Preparing the image"),
        BarColumn(bar_width=32),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.description}", style="dim"),
    )
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=1.0, visible=False)

        def progress(fraction: float, text: str) -> None:
            seen.append(fraction)
            bar.update(task, completed=fraction, description=text, visible=True)

        yield progress


@contextmanager
def _lines(seen: list[float]) -> Iterator[Progress]:
    shown, when = "", 0.0

    def progress(fraction: float, text: str) -> None:
        nonlocal shown, when
        if not seen:
            say("Preparing the image of servers (Debian 13), once for this version ...", to_stderr=True)
        seen.append(fraction)
        step, now = text.split(maxsplit=1)[0], time.monotonic()
        if fraction < 1 and (step != shown or now - when > _AT_LEAST_EVERY):
            shown, when = step, now
            say(f"  {fraction:4.0%}  {text}", to_stderr=True)

    yield progress
