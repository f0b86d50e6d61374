"""The display of a map: one status line on a terminal, lines in a pipe, and a table at its end."""

from __future__ import annotations

import os
import threading
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from skylift.cli import run_summary
from skylift.cli.say import say, say_folded, say_json, say_trouble
from skylift.cli.screen import Live, Outlet
from skylift.cli.status_text import fit, spell_whole
from skylift.cli.table import Cell, Column, show_table
from skylift.cli.watching import show_outcome, with_interrupts
from skylift.client.errors import RunError, SkyliftError
from skylift.client.price.run_price import cost_of
from skylift.client.text.duration import spell_duration
from skylift.client.text.money import spell_dollars
from skylift.client.text.size import spell_size
from skylift.client.text.visible import visible

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from skylift.cli.screen import Screen
    from skylift.cli.watching import Interruptible
    from skylift.client.job.outcome import Outcome
    from skylift.client.map.outcome import InputOutcome
    from skylift.client.map.places import Template
    from skylift.client.map.reading import MapReader
    from skylift.client.watch.monitor import RunningProgram
    from skylift.contract.map_progress import Progress, ServerTime
    from skylift.contract.map_spec import MapSpec

_LOOK_EVERY = 1.0
_LINE_EVERY = 10.0
"""Seconds between two lines in a pipe, where there is something to tell."""
_MOST_ROWS = 25
_MOST_ERRORS = 5
_IN_JSON = ("exit_code", "signal", "reason", "seconds", "attempt", "losses", "server")
"""What the JSON of an input calls as its outcome does."""
_MOST_OBJECTS = 200
"""The most objects in S3 that are asked for when a map has ended: some seconds, far from the region."""


class MapDisplay:
    """Looks at a map's record in a thread of its own while the map runs. What cannot be read is looked at again: the
    record tells the end, not this."""

    def __init__(self, reader: MapReader, screen: Screen, *, quiet: bool) -> None:
        self._reader, self._screen = reader, screen
        self._parts: list[tuple[int, str]] = []
        self._others: tuple[Sequence[ServerTime], float | None] = (), 0.0
        """What other servers cost. This and the parts are as of the last look: a drawing must be cheap."""
        self._over = threading.Event()
        self._line_written = (0.0, 0)
        self._lines = not quiet and not isinstance(screen, Live)
        if isinstance(screen, Live):
            screen.instead = self._spell_running
        self._thread = threading.Thread(target=self._follow, name="map", daemon=True)

    def __enter__(self) -> MapDisplay:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _follow(self) -> None:
        while not self._over.wait(_LOOK_EVERY):
            try:
                self._reader.read_on()
                progress = self._reader.progress()
            except SkyliftError:
                continue
            times = progress.others if progress else ()
            if times != self._others[0]:
                self._others = times, cost_of(times, self._reader.account.settings.region)
            if progress is not None:
                self._parts = self._count(progress)
            if self._lines:
                self._tell_line()

    def _tell_line(self) -> None:
        now, done = time.monotonic(), len(self._reader.outcomes)
        if self._parts and done != self._line_written[1] and now - self._line_written[0] >= _LINE_EVERY:
            self._line_written = now, done
            self._screen.note(", ".join(text for _, text in self._parts))

    def _spell_running(self, run: RunningProgram, columns: int) -> str:
        parts = list(self._parts)
        if not parts:
            return ""
        others = self._others[1]
        if run.hourly is not None and others is not None:
            parts.append((4, f"≈ {spell_dollars(run.cost(time.time()) + others)}{'' if run.charged else ' on AWS'}"))
        leave = self._screen.leave if isinstance(self._screen, Live) else ""
        return fit([*parts, (1, leave)], columns, before=" ")

    def _count(self, progress: Progress) -> list[tuple[int, str]]:
        """All outcomes, of which there may be a million."""
        outcomes, total = self._reader.outcomes, len(self._reader.spec.inputs)
        failed = sum(not each.succeeded for each in outcomes.values())
        parts = [(0, f"{len(outcomes):,} of {total:,} done")]
        parts += [(0, f"{failed:,} failed")] if failed else []
        # The progress is older than the outcomes.
        parts.append((2, f"{min(progress.running, total - len(outcomes)):,} running"))
        servers = len(progress.servers)
        parts.append((3, f"{servers} server{'s' * (servers != 1)}"))
        if progress.rate:
            rate = progress.rate
            parts.append((2, f"{rate:,.0f}/s" if rate >= 100 else f"{rate:.2g}/s"))
        if progress.left is not None:
            parts.append((1, f"{spell_whole(progress.left)} left"))
        return parts


def watch_map(
    reader: MapReader, work: Interruptible[Outcome], screen: Screen, template: Template, *, quiet: bool, as_json: bool
) -> Outcome:
    """Until its end, or until the user leaves. Then results come home, and what came of each input is told."""
    try:
        with MapDisplay(reader, screen, quiet=quiet or as_json):
            outcome = with_interrupts(work)
    except RunError:
        # Its server was lost, say. What is in the record comes home all the same.
        if reader.is_there and not as_json:
            show_map(reader, template, Path.cwd(), screen, quiet=quiet, job=None)
            say(*going_on(reader), to_stderr=True)
        raise
    if outcome.state == "detached" or outcome.instance is None:
        screen.finish()
        show_outcome(outcome, Outlet(2, 2), quiet=quiet, as_json=as_json)
        return outcome
    show_map(reader, template, Path.cwd(), screen, quiet=quiet, job=outcome.as_json() if as_json else None)
    if not quiet and not as_json:
        say_folded(run_summary.summary(outcome))
        # After the summary: it may ask S3.
        say(*going_on(reader), to_stderr=True)
    elif not as_json and (found := run_summary.troubles(outcome)):
        say_trouble("\n".join(found))
    return outcome


def show_map(
    reader: MapReader, template: Template, home: Path, screen: Screen, *, quiet: bool, job: dict[str, Any] | None
) -> None:
    """Read the record to its end, bring results home, and tell: as JSON, with what is known of the `job`. The screen is
    at its end then."""
    reader.read_on()
    outcomes = dict(sorted(reader.outcomes.items()))
    places = _bring_home(reader, list(outcomes.values()), template, home, screen)
    screen.finish()
    if reader.gone:
        say(
            f"{reader.name} went on from {reader.gone}, which was removed: what ran there is not known.", to_stderr=True
        )
    if job is not None:
        say_json({**job, "ended_early": reader.ended_early or None, "inputs": as_json(reader.spec, outcomes, places)})
        return
    if not quiet:
        show_end(reader.spec, outcomes, places)
    all_well = len(outcomes) == len(reader.spec.inputs) and all(each.succeeded for each in outcomes.values())
    if not quiet or not all_well:
        lines = [*summary(reader.spec, outcomes, reader.ended_early), *results(reader.spec, places)]
        say(*lines, to_stderr=True)


def _bring_home(
    reader: MapReader, outcomes: Sequence[InputOutcome], template: Template, home: Path, screen: Screen
) -> list[tuple[InputOutcome, Path]]:
    """No step where there is nothing to come."""
    files = [result for outcome in outcomes for result in outcome.results]
    if not files:
        return []
    total, come, began = sum(each.size for each in files), 0, time.monotonic()

    def tell(more: int) -> None:
        nonlocal come
        come += more
        screen.progress("results", min(come, total), total)

    screen.begin("results")
    places = reader.bring_home(outcomes, home, template, tell)
    detail = f"{len(files):,} file{'s' * (len(files) != 1)}, {spell_size(total)}"
    screen.done("results", detail, time.monotonic() - began)
    return places


def show_end(spec: MapSpec, outcomes: dict[int, InputOutcome], places: Sequence[tuple[InputOutcome, Path]]) -> None:
    """A table of all inputs, or of those that have failed where there are many; and errors, by what they say."""
    home = {each.index: _from_here(str(place)) for each, place in places}
    ended = [(each, outcomes.get(each.index)) for each in spec.inputs]
    shown = ended if len(ended) <= _MOST_ROWS else [row for row in ended if row[1] is None or not row[1].succeeded]
    columns = [
        Column("INDEX", right=True),
        Column("INPUT", least=8),
        Column("STATE"),
        Column("EXIT", right=True, spare=2),
        Column("TIME", right=True, spare=1),
        Column("ATTEMPT", right=True, spare=3),
        Column("SERVER", spare=4),
        Column("RESULTS", least=8, spare=5),
    ]
    rows = [_row(each.index, each.name, outcome, home) for each, outcome in shown[:_MOST_ROWS]]
    if rows:
        show_table(columns, rows)


def _row(index: int, name: str, outcome: InputOutcome | None, home: dict[int, str]) -> list[str | Cell]:
    if outcome is None:
        return [str(index), name, "no outcome", "", "", "", "", ""]
    state = Cell(str(outcome.state), "green" if outcome.succeeded else "red")
    time_taken = spell_duration(outcome.seconds)
    tail = [str(outcome.attempt), outcome.server or "", home.get(index, "")]
    return [str(index), name, state, str(outcome.exit_code), time_taken, *tail]


def summary(spec: MapSpec, outcomes: dict[int, InputOutcome], early: str = "") -> list[str]:
    """Sentences for standard error."""
    total = len(spec.inputs)
    if not total:
        return ["Its inputs are not known yet." if spec.places else "There was no input."]
    failed = [each for each in outcomes.values() if not each.succeeded]
    left = total - len(outcomes)
    text = f"{len(outcomes) - len(failed):,} of {total:,} inputs succeeded"
    text += f", {len(failed):,} failed" if failed else ""
    lines = [f"{text}, {left:,} have no outcome." if left else f"{text}."]
    return [*lines, *([early] if early else []), *_errors(failed), *_cut(outcomes)]


def _cut(outcomes: dict[int, InputOutcome]) -> Iterable[str]:
    cut = sorted(
        index for index, each in outcomes.items() if any(one.kept < one.size for one in (each.stdout, each.stderr))
    )
    if cut:
        kept = max(one.kept for one in (outcomes[cut[0]].stdout, outcomes[cut[0]].stderr))
        yield f"  {len(cut):,} wrote more than the {spell_size(kept)} of a stream that are kept (first: input {cut[0]})"


def going_on(reader: MapReader) -> list[str]:
    """How to run what has not succeeded, of a map that has ended. Where it has parts of many objects, some of these are
    looked at, first those whose parts no server could fetch; of the others nothing is said."""
    from skylift.client.map.changed_objects import ADVICE, changed_parts, tell_changed
    from skylift.client.map.outcome import InputState

    outcomes = reader.outcomes
    left = [each for each in reader.spec.inputs if each.index not in outcomes or not outcomes[each.index].succeeded]
    broken = {index for index, each in outcomes.items() if each.state == InputState.BROKEN}
    first = sorted(left, key=lambda each: each.index not in broken)
    changed = changed_parts(reader.account, first, _MOST_OBJECTS)
    lines = [f"{tell_changed(changed)} {ADVICE}"] if changed else []
    again = {each.index for each in left} - {each.index for each in changed}
    words = [f"--resume {reader.name}"] if any(each not in outcomes for each in again) else []
    words += [f"--retry-failed {reader.name}"] if any(each in outcomes for each in again) else []
    return [*lines, f"To run what is left: skylift map {' '.join(words)}"] if words else lines


def results(spec: MapSpec, places: Sequence[tuple[InputOutcome, Path]]) -> list[str]:
    """Where they are, as a person looks for them: the folder that all of them are in."""
    if not spec.outputs or not spec.inputs:
        return []
    if not places:
        return [f"No input has left a result: nothing matched --out {' or '.join(spec.outputs)}."]
    folders = sorted({str(place) for _, place in places})
    common = folders[0] if len(folders) == 1 else os.path.commonpath([str(each.parent) for _, each in places])
    count = len(places)
    return [f"Results of {count:,} input{'s' * (count != 1)}: {visible(_from_here(common))}{os.sep}"]


def _from_here(place: str) -> str:
    found = os.path.relpath(place)
    return place if found.startswith("..") else found


def _errors(failed: Sequence[InputOutcome]) -> Iterable[str]:
    counts = Counter(each.last_line for each in failed)
    first = {each.last_line: each.index for each in sorted(failed, key=lambda one: -one.index)}
    for line, count in counts.most_common(_MOST_ERRORS):
        yield f"  {count:,} x {line} (first: input {first[line]})"
    if len(counts) > _MOST_ERRORS:
        yield f"  and {len(counts) - _MOST_ERRORS} other errors"


def as_json(spec: MapSpec, outcomes: dict[int, InputOutcome], places: Sequence[tuple[InputOutcome, Path]]) -> list[Any]:
    home = {each.index: str(place) for each, place in places}
    return [
        _input_as_json(each.index, each.text, outcomes.get(each.index), home.get(each.index)) for each in spec.inputs
    ]


def _input_as_json(index: int, text: str, outcome: InputOutcome | None, folder: str | None) -> dict[str, Any]:
    if outcome is None:
        return {"index": index, "input": text, "state": None}
    return {
        "index": index,
        "input": text,
        "state": str(outcome.state),
        **{name: getattr(outcome, name) for name in _IN_JSON},
        "results": [vars(each) for each in outcome.results],
        "missing": list(outcome.missing),
        "folder": folder,
        "last_line": outcome.last_line if not outcome.succeeded else "",
    }
