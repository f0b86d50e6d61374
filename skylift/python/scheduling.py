"""Schedules in Python: making and listing them, and what can be done with one."""

from __future__ import annotations

import functools
import os
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from skylift.client.errors import UsageError
from skylift.client.job.job import Program
from skylift.client.job.run_options import OF_SCHEDULED_MAPS, RunOptions, ScheduledMapOptions
from skylift.client.job.settings import Settings
from skylift.client.plan.read_options import read_options
from skylift.client.remote.account import Account, open_account
from skylift.client.schedule.making import MakeSchedule, ScheduleOrder
from skylift.client.schedule.planning import NOT_OF_MAPS, check_run, plan_maps, plan_runs
from skylift.client.schedule.recurrence import read_overlap, read_recurrence
from skylift.client.schedule.schedules import ListedSchedule, Schedules
from skylift.client.steps import Clock
from skylift.place.settings import settings_for
from skylift.python import work
from skylift.python.background import Background
from skylift.python.keywords import check_texts, check_types, with_environ
from skylift.python.mapping import MapInputs, own_limits, own_split, read_places, run_options
from skylift.python.watching import Recorder
from skylift.python.work import FilePath


@dataclass(frozen=True)
class PlannedSchedule:
    """A schedule that could be made."""

    order: ScheduleOrder
    settings: Settings

    @property
    def name(self) -> str:
        return self.order.job.name


def plan(
    function: str,
    when: str,
    script: FilePath | None,
    arguments: Sequence[FilePath],
    options: RunOptions,
    timezone: str,
    overlap: str,
) -> PlannedSchedule:
    """What is wrong with it is said before anything is started."""
    check_texts(function, when=when, timezone=timezone, overlap=overlap)
    recurrence, policy = read_recurrence(when, timezone, datetime.now(UTC)), read_overlap(overlap)
    check_types(function, options)
    check_run(options)
    program = work.read_program(script, arguments, options)
    asked = read_options(with_environ(options, os.environ), program)
    job = plan_runs(asked, program, options.get("name"))
    settings = asked.apply_to(work.place_of(asked))
    return PlannedSchedule(ScheduleOrder(work.resolve(job, settings), recurrence, policy, _words(program)), settings)


def plan_map(
    function: str,
    when: str,
    script: FilePath | None,
    inputs: MapInputs,
    arguments: Sequence[FilePath],
    asked: ScheduledMapOptions,
    timezone: str,
    overlap: str,
) -> PlannedSchedule:
    """The same for maps."""
    check_texts(function, when=when, timezone=timezone, overlap=overlap)
    recurrence, policy = read_recurrence(when, timezone, datetime.now(UTC)), read_overlap(overlap)
    options = run_options(function, asked, OF_SCHEDULED_MAPS)
    check_types(function, options)
    check_run(options, NOT_OF_MAPS)
    limits, split = own_limits(asked), own_split(asked)
    program = work.read_program(script, arguments, options)
    parsed = read_options(with_environ(options, os.environ), program)
    settings = functools.cache(lambda: parsed.apply_to(work.place_of(parsed)))
    words = replace(read_places(inputs), split=split)
    api = functools.cache(lambda: open_account(settings()).api)
    job = plan_maps(parsed, program, options.get("name"), words, limits, api, policy)
    order = ScheduleOrder(work.resolve(job, settings()), recurrence, policy, _words(program, "map"))
    return PlannedSchedule(order, settings())


def start(planned: PlannedSchedule, watcher: Recorder) -> Background[bool]:
    """False where it was interrupted."""
    return Background(MakeSchedule(planned.order, planned.settings, watcher, Clock(watcher)))


def _words(program: Program, verb: str = "run") -> str:
    """What runs, as the command line would say it."""
    what = ("-m", program.target) if program.kind == "module" else (program.target,)
    return shlex.join([verb, *(["--"] if program.kind == "command" else []), *what, *program.args])


def known(name: str, on: str | None, account: Account | None) -> Schedules:
    """Raises UsageError when there is no schedule of that name."""
    schedules = Schedules(settings_for(on, start=False) if account is None else account.settings, account)
    if name not in schedules.names():
        raise UsageError(f"There is no schedule called {name}.", "See `skylift.schedules()`.")
    return schedules


def listed(on: str | None) -> list[ListedSchedule]:
    return Schedules(settings_for(on, start=False)).listed()
