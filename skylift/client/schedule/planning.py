"""What a schedule can run: a job or a map as any other, without what needs somebody to be there."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import IO, Any

from skylift.client.errors import UsageError
from skylift.client.job.job import Job, Program, S3Input
from skylift.client.job.record import SCHEDULES
from skylift.client.job.scheduled import SCHEDULE_FORM, default_schedule
from skylift.client.map.inputs import Inputs, InputWords, find_inputs
from skylift.client.map.places import Template
from skylift.client.map.planning import AUTO, MapLimits, plan_map
from skylift.client.plan.plan_job import plan_job, read_s3
from skylift.client.plan.read_options import ParsedOptions
from skylift.client.remote.api import Api
from skylift.client.ship.s3_input import S3Object, S3Source, find_place
from skylift.client.text.s3_glob import S3Glob, literal
from skylift.contract.map_spec import MOST_PLACES, InputPlace
from skylift.contract.record import Overlap

NOT_OF_RUNS = {
    "interactive": "-it needs somebody at a terminal",
    "forward": "--forward is for whoever watches",
    "keep": "--keep would leave a server between runs",
    "reuse": "--reuse needs a server that waits now",
    "checkpoint": "--checkpoint is for a next server, and a run has none when EC2 takes its spot server back",
    "or_on_demand": "--or-on-demand would need somebody who asks again, for another kind of server",
    "servers": "--servers needs a group, which a schedule does not make",
}
"""Options of a run that a scheduled one cannot have, and why."""
NOT_OF_MAPS = {
    "resume": "--resume goes on with one map that has ended",
    "retry_failed": "--retry-failed goes on with one map that has ended",
}
"""The same of a map."""
NOT_ON_ONE_SERVER = {"or_on_demand": NOT_OF_RUNS["or_on_demand"]}
"""The same of a map on one server."""


def check_run(given: Mapping[str, Any], refused: Mapping[str, str] = NOT_OF_RUNS) -> None:
    """Raises UsageError for the first of these that is given."""
    for option, why in refused.items():
        if given.get(option):
            raise UsageError(f"A schedule's run cannot have this: {why}.")


def plan_maps(
    asked: ParsedOptions,
    what: Program,
    name: str | None,
    words: InputWords,
    limits: MapLimits,
    api: Callable[[], Api],
    overlap: Overlap = "skip",
) -> Job:
    """The map that all runs are like, with the schedule's name. Files and values are those of now; places in S3 are
    looked up by each run. `api` is called only for these. Raises UsageError."""
    if limits.servers > 1 and overlap == "allow":
        raise UsageError(
            "--overlap allow: the runs of a schedule share the group of --servers, so one goes at a time.",
            "Use --overlap skip or queue, or one server for each run.",
        )
    if limits.servers == AUTO:
        raise UsageError("--servers auto: the inputs of later runs are not known now.", "Give a number.")
    if limits.servers in (0, 1) and asked.order.spot is not None:
        check_run(vars(asked.order.spot), NOT_ON_ONE_SERVER)
    job = plan_runs(asked, what, name)
    named = [read_s3(each, "") for each in dict.fromkeys(words.words) if each.startswith("s3:")]
    if len(named) > MOST_PLACES:
        raise UsageError(f"A scheduled map looks up {MOST_PLACES} places in S3 at most.", "Name them by a glob.")
    if named and words.split is not None:
        raise UsageError(
            f"--split: {named[0].text} is looked up by each run, so its rows are not known now.",
            "Files of this machine can be split.",
        )
    here = replace(words, words=tuple(each for each in words.words if not each.startswith("s3:")))
    others = here.words or here.listed is not None or here.numbers is not None
    inputs = find_inputs(here, Path.cwd(), _no_listing, _no_reading) if others or not named else Inputs(())
    found = [find_place(api(), each) for each in named]
    places = [InputPlace(each.bucket, place.region, each.key) for each, place in zip(named, found, strict=True)]
    inputs = replace(
        inputs,
        arns=tuple(dict.fromkeys((*inputs.arns, *chain.from_iterable(map(_arns_at, named))))),
        buckets=tuple(dict.fromkeys((*inputs.buckets, *(each.bucket for each in named)))),
        notes=(*inputs.notes, *_input_notes(inputs, named, found)),
    )
    job, _ = plan_map(job, inputs, limits, Template(), places, SCHEDULES)
    return job


def _arns_at(place: S3Input) -> tuple[str, ...]:
    """All that a run may find there: a name may be an object's one day, and a folder's the next."""
    base, glob = f"arn:aws:s3:::{place.bucket}/", S3Glob(place.key)
    if glob.is_wild:
        return (base + glob.pattern,)
    folder = literal(place.key.rstrip("/"))
    below = f"{base}{folder}/*" if folder else f"{base}*"
    return (below,) if place.key.endswith("/") or not folder else (base + folder, below)


def _input_notes(inputs: Inputs, named: list[S3Input], found: list[S3Source]) -> list[str]:
    notes = [
        f"{each.text} names {len(place.objects):,} object{'s' * (len(place.objects) != 1)} now. Each run looks again."
        for each, place in zip(named, found, strict=True)
    ]
    files = sum(each.file is not None for each in inputs.found)
    if files:
        notes.append(f"{files:,} file{'s are' if files != 1 else ' is'} sent now. Each run has what is in them now.")
    return notes


def _no_listing(text: str) -> S3Source:
    raise UsageError(f"--split: rows of {text} are not known when a schedule is made.", "Split files of this machine.")


def _no_reading(bucket: str, found: S3Object) -> IO[bytes]:
    raise AssertionError("nothing was listed")


def plan_runs(asked: ParsedOptions, what: Program, name: str | None) -> Job:
    """The job that all runs are like, with the schedule's name. Raises UsageError."""
    name = default_schedule(what) if name is None else name
    if not SCHEDULE_FORM.fullmatch(name):
        raise UsageError(f"--name {name!r} cannot be used.", "Lower-case letters, digits and `-`, at most 24.")
    job = plan_job(replace(asked.order, name=name), Path.cwd(), os.environ)
    if job.s3_inputs:
        raise UsageError(
            f"--in {job.s3_inputs[0].text}: a scheduled run reads no inputs from S3.",
            "They would be those of today. Send files of this machine along.",
        )
    return job
