"""What a map comes to: its job, its spec, and where it runs. One begins by inputs, or goes on with what is left."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from skylift.client.job.job import Job
from skylift.client.job.settings import Settings
from skylift.client.map.continuation import Continuation, ContinuedMap
from skylift.client.map.inputs import InputWords, find_inputs
from skylift.client.map.most_servers import choose_servers
from skylift.client.map.places import Template
from skylift.client.map.planning import MapLimits, check_map, plan_map
from skylift.client.map.s3_file import open_object
from skylift.client.plan.plan_job import plan_job, read_s3
from skylift.client.plan.read_options import ParsedOptions
from skylift.client.remote.account import open_account
from skylift.client.ship.s3_input import find_source
from skylift.contract.map_spec import MapSpec

Settled = tuple[Job, MapSpec, Settings]


@dataclass(frozen=True)
class Left:
    """What is left of a map, and by which program it goes on: the map's own where none is named. `said` are the options
    that the user gave."""

    continuation: Continuation
    words: Sequence[str]
    arguments: Sequence[str] | None
    module: str | None
    said: Collection[str]


def settle(
    run: ParsedOptions,
    what: InputWords | Left,
    limits: MapLimits,
    template: Template,
    find: Callable[[ParsedOptions], Settings],
) -> Settled:
    """`find` may start a cloud, and is not called before inputs of this machine have been looked at. The job has no
    type yet. Raises UsageError."""
    settings = functools.cache(lambda: run.apply_to(find(run)))
    if isinstance(what, Left):
        again = ContinuedMap(open_account(settings()), what.continuation)
        program = again.program(what.words, what.arguments, what.module)
        job = plan_job(again.order(replace(run.order, program=program), what.said), Path.cwd(), os.environ)
        return *again.plan(job, limits, template), settings()
    job = plan_job(run.order, Path.cwd(), os.environ)
    api = functools.cache(lambda: open_account(settings()).api)
    inputs = find_inputs(
        what,
        Path.cwd(),
        lambda text: find_source(api(), read_s3(text, ""), option=""),
        lambda bucket, found: open_object(api(), bucket, found),
    )
    check_map(job, inputs, limits, template)
    job, limits = choose_servers(api, job, settings(), len(inputs.found), limits)
    return *plan_map(job, inputs, limits, template), settings()
