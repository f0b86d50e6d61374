"""`skylift.map` runs a program once for each of many inputs, and yields each outcome as it comes."""

from __future__ import annotations

import io
import os
from collections.abc import Collection, Generator, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from skylift.client.errors import SKYLIFT_FAILED, SkyliftError, UsageError
from skylift.client.job.job import Job as Planned
from skylift.client.job.job import Program
from skylift.client.job.outcome import Outcome
from skylift.client.job.run_options import OF_MAPS, MapOptions, ScheduledMapOptions, SharedOptions, shared_part
from skylift.client.job.settings import Settings
from skylift.client.map.continuation import read_continuation
from skylift.client.map.inputs import InputWords, read_split
from skylift.client.map.outcome import InputOutcome
from skylift.client.map.places import DEFAULT, Template, read_template
from skylift.client.map.planning import AUTO, MapLimits, read_limits
from skylift.client.map.reading import MapReader
from skylift.client.map.settled import Left, settle
from skylift.client.remote.account import open_account
from skylift.client.watch.forward import Forwards
from skylift.contract.map_spec import MapSpec
from skylift.contract.states import State
from skylift.python import work
from skylift.python.watching import Recorder

MapInputs = str | os.PathLike[str] | Iterable[str | os.PathLike[str] | int]
"""A file, a glob or a s3:// place; or several inputs, which are all files and objects that are there, or all values."""
_LOOK_EVERY = 0.5


@dataclass(frozen=True)
class InputResult:
    """What came of one input. `exit_code` is its program's, `seconds` its own time, `paths` its results, here."""

    index: int
    input: str
    state: str
    exit_code: int
    reason: str
    seconds: float
    attempt: int
    server: str | None
    paths: tuple[Path, ...]
    _reader: MapReader = field(repr=False, compare=False)
    _outcome: InputOutcome = field(repr=False, compare=False)

    @property
    def stdout(self) -> bytes:
        """What it has written. It is fetched when it is asked for."""
        return self._stream("stdout")

    @property
    def stderr(self) -> bytes:
        """Likewise, on standard error."""
        return self._stream("stderr")

    def _stream(self, name: str) -> bytes:
        content = io.BytesIO()
        self._reader.write_stream(self._outcome, name, content)
        return content.getvalue()


@dataclass(frozen=True)
class MapPlan:
    """A map that could be started."""

    planned: Planned
    settings: Settings
    spec: MapSpec
    template: Template


def plan(
    function: str,
    script: work.FilePath | None,
    inputs: MapInputs,
    arguments: Sequence[work.FilePath],
    asked: MapOptions,
    into: str = DEFAULT,
) -> MapPlan:
    """Raises UsageError, and TypeError for an option that a map has not."""
    options = run_options(function, asked)
    template, limits = read_template(into), own_limits(asked)
    options["args"] = None
    again = read_continuation(asked.get("resume"), asked.get("retry_failed"), force=asked.get("force") or False)
    what: InputWords | Left
    if again is not None:
        if inputs != () or asked.get("split") is not None:
            raise UsageError(f"The inputs are those of {again.name}: name no others.")
        said = {name for name, value in options.items() if value is not None}
        words = [] if script is None else [os.fspath(script)]
        given = [os.fspath(each) for each in arguments] or None
        program, what = Program("script", ""), Left(again, words, given, options.get("module"), said)
    else:
        program = work.read_program(script, arguments, options)
        what = replace(_words(inputs), split=own_split(asked))
    run = work.read(function, program, options)
    planned, spec, settings = settle(run, what, limits, template, work.place_of)
    return MapPlan(work.resolve(planned, settings, spec.servers), settings, spec, template)


def run_options(function: str, asked: ScheduledMapOptions, known: Collection[str] = OF_MAPS) -> SharedOptions:
    """Without the map's own. Raises TypeError, as Python does itself, for what is an option of runs only."""
    for name, value in asked.items():
        if name not in known and value is not None:
            raise TypeError(f"{function} got an unexpected keyword argument {name!r}")
    return shared_part(asked)


def own_limits(asked: ScheduledMapOptions) -> MapLimits:
    """Raises UsageError."""
    limits = read_limits(asked)
    if limits.servers == AUTO:
        raise UsageError("servers='auto' is for the command line: give a number.")
    return limits


def own_split(asked: ScheduledMapOptions) -> int | None:
    """Raises UsageError."""
    split = asked.get("split")
    return None if split is None else read_split(split)


def read_places(inputs: MapInputs) -> InputWords:
    """The inputs of a schedule, whose runs look up each place in S3."""
    if isinstance(inputs, str | os.PathLike):
        return InputWords((os.fspath(inputs),))
    each_one = list(inputs)
    places = tuple(each for each in each_one if isinstance(each, str) and each.startswith("s3:"))
    others = [each for each in each_one if each not in places]
    return replace(_words(others), words=places) if others else InputWords(places)


def _words(inputs: MapInputs) -> InputWords:
    if isinstance(inputs, str | os.PathLike):
        return InputWords((os.fspath(inputs),))
    listed = [str(each) if isinstance(each, int) else os.fspath(each) for each in inputs]
    if any(not each or "\n" in each for each in listed):
        raise UsageError("An input is text without line breaks, and not empty.")
    return InputWords(listed="\n".join(listed).encode(errors="surrogateescape"), listed_name="inputs")


def results(plan: MapPlan, *, ordered: bool) -> Generator[InputResult, None, None]:
    """As they end, or in the order of the inputs. Whoever wants no more ends the map."""
    reader = MapReader(open_account(plan.settings), plan.planned.name, plan.spec)
    running = work.start_run(plan.planned, plan.settings, Recorder(), Forwards(()), None, reader.begin)
    over = False
    waiting: dict[int, InputOutcome] = {}
    # Of the map that this one goes on from, if it does.
    carried = reader.read_on()
    order = iter(sorted({*(each.index for each in carried), *(each.index for each in plan.spec.inputs)}))
    following = next(order, None)
    try:
        while not over:
            over = running.ends_within(_LOOK_EVERY)
            fresh, carried = [*carried, *reader.read_on()], []
            if not ordered:
                yield from _brought(reader, plan.template, fresh)
                continue
            waiting.update({each.index: each for each in fresh})
            while following in waiting:
                yield from _brought(reader, plan.template, [waiting.pop(following)])
                following = next(order, None)
        outcome = running.result()
    finally:
        if not over:
            running.interrupt()
            with suppress(KeyboardInterrupt, SkyliftError):
                running.result()
    yield from _brought(reader, plan.template, [waiting[index] for index in sorted(waiting)])
    _check_end(reader, outcome)


def _check_end(reader: MapReader, outcome: Outcome) -> None:
    """Raises JobFailed for a map that has ended before all that it runs had an outcome. Why `halt` has ended it, only
    the map's own record says: its job has failed as any program does."""
    by_itself = outcome.state in ("succeeded", "failed")
    total = len(reader.own.inputs)
    left = sum(each.index not in reader.outcomes for each in reader.own.inputs)
    if by_itself and not left:
        return
    if by_itself and reader.ended_early:
        outcome = replace(outcome, reason=reader.ended_early)
    if left and not outcome.exit_code:
        # No coordinator reports that. But root of a server writes what it likes into the job's record.
        reason = f"Its server says that it succeeded, but {left:,} of {total:,} inputs have no outcome."
        outcome = replace(outcome, state=State.BROKEN, exit_code=SKYLIFT_FAILED, reason=reason)
    outcome.check()


def _brought(reader: MapReader, template: Template, outcomes: Sequence[InputOutcome]) -> Iterator[InputResult]:
    for each in outcomes:
        places = reader.bring_home([each], Path.cwd(), template, lambda _: None)
        paths = tuple(place / result.path for _, place in places for result in each.results)
        yield InputResult(
            index=each.index,
            input=reader.inputs[each.index].text,
            state=str(each.state),
            exit_code=each.exit_code,
            reason=each.reason,
            seconds=each.seconds,
            attempt=each.attempt,
            server=each.server,
            paths=tuple(path for path in paths if path.is_file()),
            _reader=reader,
            _outcome=each,
        )
