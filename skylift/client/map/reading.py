"""Reads a map's record as it grows: its spec, the outcome of each input, and its progress."""

from __future__ import annotations

import functools
import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from skylift.client.collect.results import Manifest, bring_home, is_wanted
from skylift.client.errors import JobNotFound, RecordDamaged, Refused, ResultsDamaged, UsageError
from skylift.client.job.outcome import Result
from skylift.client.job.record import SCHEDULES, JobKeys
from skylift.client.job.scheduled import parse_run
from skylift.client.job.server_record import of_file
from skylift.client.map.keys import MapKeys
from skylift.client.map.live import LIVE_LIMIT, InputLive, parse_live
from skylift.client.map.looked_up import FOUND_LIMIT, complete
from skylift.client.map.outcome import ENTRY_LIMIT, InputOutcome, MapEnd, MapLog, parse_entry
from skylift.client.map.places import Template, check_places
from skylift.client.map.spec import parse_spec
from skylift.client.remote.account import Account
from skylift.client.text.visible import shown
from skylift.contract.document import Malformed, parse
from skylift.contract.map_progress import PROGRESS_LIMIT, Progress
from skylift.contract.map_spec import SPEC_LIMIT, MapInput, MapSpec

_LONGEST_KEY = 900
"""Bytes of the longest path that is part of a key, as server/input_run.py has it."""
_NUMBER = re.compile(r"[0-9]{8}")
"""An entry's name in the log."""
_MOST_MAPS = 100
"""The most maps that continue one another."""


class MapReader:
    """Of one map. `read_on` adds to `outcomes`, which are by index. Raises UsageError for a job that is none. With a
    `spec`, the map is not submitted yet: there is nothing to read until `begin` says which name it has.

    A map that goes on where another one has ended is read with that one: `spec` has the inputs of both, and an input
    that runs in the later map has the outcome that it has there. `gone` is the name of an earlier map that was removed;
    then only what ran in the later one is known.

    `source` has the keys of spec and local inputs: a schedule's run has those of the schedule. Inputs that such a run
    looks up itself are known once it has; until then, `own.places` says where it looks."""

    def __init__(self, account: Account, name: str, spec: MapSpec | None = None, *, _later: int = 0) -> None:
        self.account, self.name, self._keys, self._log = account, name, MapKeys(name), MapLog()
        self.is_there = spec is None
        self.source = self._keys
        if spec is None:
            spec, self.source = _read_spec(account, name)
        self.own = own = spec
        self._earlier, self.gone = self._read_earlier(_later)
        self.outcomes: dict[int, InputOutcome] = {}
        self._carried: list[InputOutcome] = []
        self._take(own)
        if self._earlier is not None:
            earlier = self._earlier.outcomes
            self._carried = [earlier[index] for index in sorted(earlier) if index not in self._runs_here]
        argv = own.argv
        self._script = argv[1] if own.python and len(argv) == 2 else ""
        self._look_up()

    def _take(self, own: MapSpec) -> None:
        self.own = self.spec = own
        self._checked: Template | None = None
        self._runs_here = {each.index for each in own.inputs}
        if self._earlier is not None:
            inputs = {each.index: each for each in (*self._earlier.spec.inputs, *own.inputs)}
            self.spec = own._replace(inputs=tuple(inputs[index] for index in sorted(inputs)))
        self.inputs = {each.index: each for each in self.spec.inputs}

    def _look_up(self) -> None:
        """Raises RecordDamaged."""
        if not self.own.places or not self.is_there:
            return
        found = self.account.api.get(self.account.bucket, self._keys.found, FOUND_LIMIT)
        if found is not None:
            self._take(of_file(self._keys.found, lambda: complete(self.own, found)))

    def begin(self, name: str) -> None:
        self.name, self._keys, self.is_there = name, MapKeys(name), True

    def losses(self, index: int) -> int:
        """Servers that were lost under an input that has no outcome, in a map that has ended."""
        where = self._where(index)
        return where.inputs[index].losses + where._log.losses_so_far()[index]

    @property
    def running(self) -> Mapping[int, int]:
        """The attempt of each input that was begun and has no outcome."""
        return self._log.running

    def is_over(self) -> bool:
        """Whether nothing of it runs any more: its log says so, or its job's state, which others than the coordinator
        write, too. A state that cannot be read says nothing."""
        if self.ended is not None:
            return True
        try:
            status = self.account.status(self.name) if self.is_there else None
        except RecordDamaged:
            return False
        return status is not None and status.final

    @property
    def ended(self) -> MapEnd | None:
        return self._log.ended

    @property
    def ended_early(self) -> str:
        """Why a map has ended before all its inputs had an outcome, as its server says it; empty for any other."""
        return self.ended.reason if self.ended is not None and self.ended.halted else ""

    def _read_earlier(self, later: int) -> tuple[MapReader | None, str]:
        """To its end: a map that another one goes on from has ended."""
        name = self.own.resumes.job if self.own.resumes is not None else ""
        if not name:
            return None, ""
        if later >= _MOST_MAPS:
            raise RecordDamaged(self._keys.spec, f"more than {_MOST_MAPS} maps go on from each other")
        try:
            earlier = MapReader(self.account, name, _later=later + 1)
        except JobNotFound:
            return None, name
        earlier.read_on()
        return earlier, earlier.gone

    def read_on(self) -> list[InputOutcome]:
        """The outcomes that are new; at first those of an earlier map. Raises RecordDamaged."""
        self._look_up()
        fresh, self._carried = self._carried, []
        for key, entries in self._log.coming(self._get) if self.is_there else ():
            come = of_file(self._keys.within(key), functools.partial(self._log.read, entries))
            fresh += [each for each in come if each.index in self._runs_here]
        self.outcomes.update((each.index, each) for each in fresh)
        return fresh

    def _get(self, key: str) -> bytes | None:
        return self.account.api.get(self.account.bucket, self._keys.within(key), ENTRY_LIMIT)

    def progress(self) -> Progress | None:
        """The coordinator's last report; None before the first, and if it cannot be read: it is only for display."""
        if not self.is_there:
            return None
        try:
            found = self.account.api.get(self.account.bucket, self._keys.progress, PROGRESS_LIMIT)
            return None if found is None else parse(Progress, found, PROGRESS_LIMIT)
        except (Malformed, RecordDamaged):
            return None

    def live(self, index: int) -> InputLive | None:
        """What an input without an outcome has written in its last attempt. None before there is something, and if it
        cannot be read: it is only for display."""
        try:
            found = self.account.api.get(self.account.bucket, self._keys.live(index), LIVE_LIMIT)
            live = None if found is None else parse_live(found)
            return live if live is not None and live.attempt == self._log.attempts.get(index) else None
        except (Malformed, RecordDamaged):
            return None

    def write_stream(self, outcome: InputOutcome, name: str, target: IO[bytes]) -> None:
        """Write an input's `stdout` or `stderr`. Raises RecordDamaged if it is missing."""
        stream = outcome.stdout if name == "stdout" else outcome.stderr
        if stream.content is not None:
            target.write(stream.content)
            return
        assert outcome.run is not None
        key = self._where(outcome.index)._keys.run(outcome.index, outcome.run) + name
        try:
            for _ in self.account.api.stream(self.account.bucket, key, target, 0, stream.kept):
                continue
        except Refused as error:
            raise RecordDamaged(key, f"it is missing ({error.code})") from None

    def bring_home(
        self, outcomes: Sequence[InputOutcome], home: Path, template: Template, progress: Callable[[int], None]
    ) -> list[tuple[InputOutcome, Path]]:
        """Download the results of these, each into a folder of its own below `home`: the folders that have any. Raises
        UsageError, and ResultsDamaged once those of all others are here."""
        if template != self._checked:
            # Once, though Python asks for each outcome as it comes.
            check_places(template, [each.name for each in self.spec.inputs])
            self._checked = template
        places, troubles = [], []
        for each in outcomes:
            where = self._where(each.index)
            wanted = where._wanted(each)
            if not wanted or each.run is None:
                continue
            place = home / template.folder(each.index, self.inputs[each.index].name)
            folder = _RunPrefix(where.name, where._keys.run(each.index, each.run))
            manifest = Manifest(wanted, spares_tracked=where.own.spares_tracked)
            try:
                bring_home(self.account.api, self.account.bucket, folder, manifest, place, progress)
                places.append((each, place))
            except ResultsDamaged as error:
                troubles.append(f"Of input {each.index} ({shown(self.inputs[each.index].name)}): {error.message}")
        if troubles:
            more = f" So it is with {len(troubles) - 1} more." if troubles[1:] else ""
            raise ResultsDamaged(troubles[0] + more, f"To fetch what is missing: skylift map-results {self.name} DIR")
        return places

    def _wanted(self, outcome: InputOutcome) -> tuple[Result, ...]:
        """Only what the spec asks for: the server that reports it may have been taken over by a program."""
        return tuple(
            Result(result.path, result.size, result.sha256)
            for result in outcome.results
            if is_wanted(result.path, self.own.outputs, self._script)
        )

    def _where(self, index: int) -> MapReader:
        """The map that an input ran in last."""
        if self._earlier is None or index in self._runs_here:
            return self
        return self._earlier._where(index)


def _read_spec(account: Account, name: str) -> tuple[MapSpec, MapKeys]:
    """With the keys of where it is. Raises UsageError for a job that is not a map."""
    if not account.record(name).is_map:
        raise UsageError(f"The job {name} is not a map.", f"Its results: skylift results {name}")
    keys, run = MapKeys(name), parse_run(name)
    source = keys
    found = account.api.get(account.bucket, source.spec, SPEC_LIMIT)
    if found is None and run is not None:
        source = MapKeys(run[0], SCHEDULES)
        found = account.api.get(account.bucket, source.spec, SPEC_LIMIT)
    if found is None:
        raise RecordDamaged(keys.spec, "it is missing")
    return of_file(source.spec, lambda: parse_spec(found)), source


def ended_early(account: Account, name: str) -> str:
    """As MapReader has it, of a map that has ended and of which nothing else is asked: only the last entry of its log
    is read."""
    log = MapKeys(name).log
    entries = account.api.pages("s3", "list_objects_v2", "Contents", Bucket=account.bucket, Prefix=log)
    key = max((each["Key"] for each in entries if _NUMBER.fullmatch(each["Key"].removeprefix(log))), default="")
    data = account.api.get(account.bucket, key, ENTRY_LIMIT) if key else None
    if data is None:
        return ""
    end = of_file(key, lambda: parse_entry(data)).ended
    return end.reason if end is not None and end.halted else ""


def input_called(spec: MapSpec, text: str) -> MapInput:
    """The input with this index, or this text of the user's. Raises UsageError."""
    named = [each for each in spec.inputs if text in (str(each.index), each.text, each.name)]
    exact = [each for each in named if text == str(each.index)] or named
    if len(exact) != 1:
        what = "There is no input" if not exact else f"{len(exact)} inputs are called"
        raise UsageError(f"{what} {text!r}.", "Inputs are named by their index, from 0 on, too.")
    return exact[0]


@dataclass(frozen=True)
class _RunPrefix(JobKeys):
    """Where the results of one run are."""

    folder: str = ""

    def result(self, path: str) -> str:
        if len(path.encode()) <= _LONGEST_KEY:
            return f"{self.folder}results/{path}"
        return f"{self.folder}files/{hashlib.sha256(path.encode()).hexdigest()}"
