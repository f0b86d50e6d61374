"""Plans a map: makes a job from the options and inputs that the user gave."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from skylift.client.errors import UsageError
from skylift.client.job.commands import program_argv
from skylift.client.job.job import Job, MapPart
from skylift.client.job.run_options import ScheduledMapOptions
from skylift.client.map.inputs import FoundInput, Inputs
from skylift.client.map.keys import MapKeys
from skylift.client.map.places import Template, check_places
from skylift.client.map.sending import blobs_of
from skylift.client.map.spec import encode_spec, glob_of
from skylift.client.plan.plan_job import MOST_SERVERS, check_length
from skylift.client.ship.blob_store import Blob as Content
from skylift.client.ship.blob_store import BlobStore
from skylift.client.text.visible import shown
from skylift.contract.map_spec import LONGEST_TEXT, Blob, Halt, InputPlace, MapInput, MapSpec

_HALT = re.compile(r"(\d{1,7})(%?)")
_NUMBER = re.compile(r"[0-9]{1,9}")
_FILE_NAME = 255
AUTO = -1
"""`--servers auto`: see most_servers.py, which also has the number that nobody has asked for."""


@dataclass(frozen=True)
class MapLimits:
    """As in a MapSpec; 0 leaves the choice to the coordinator. `servers` is the most at once, or AUTO; 0 leaves it to
    most_servers.py, which then sets `chosen`. `by_work` is set of both, and is as in a MapSpec."""

    per_server: int = 0
    batch: int = 0
    halt: Halt | None = None
    servers: int = 0
    chosen: bool = False
    by_work: bool = False


def read_halt(text: str) -> Halt:
    """`20%` or `5`. Raises UsageError."""
    found = _HALT.fullmatch(text.strip())
    if found is None or int(found[1]) == 0 or (found[2] and int(found[1]) > 100):
        raise UsageError(f"--halt {text!r} is neither a number of failures nor a share.", "Write it like 5 or 20%.")
    return Halt(share=int(found[1]) / 100) if found[2] else Halt(count=int(found[1]))


def read_limits(options: ScheduledMapOptions) -> MapLimits:
    """Raises UsageError."""
    halt = options.get("halt")
    return MapLimits(
        options.get("per_server") or 0,
        options.get("batch") or 0,
        None if halt is None else read_halt(str(halt)),
        check_servers(options.get("servers")),
    )


def check_servers(given: int | str | None) -> int:
    """0 without a value, and AUTO for `auto`. Raises UsageError."""
    if given is None:
        return 0
    if given == "auto":
        return AUTO
    number = int(given) if isinstance(given, str) and _NUMBER.fullmatch(given) else given
    if type(number) is not int or not 1 <= number <= MOST_SERVERS:
        shown_as = shown(given) if isinstance(given, str) else repr(given)
        raise UsageError(f"--servers {shown_as} is not a number from 1 to {MOST_SERVERS}, and not auto.")
    return number


def plan_map(
    job: Job,
    inputs: Inputs,
    limits: MapLimits,
    template: Template,
    places: Sequence[InputPlace] = (),
    folder: str = "jobs",
) -> tuple[Job, MapSpec]:
    """The job with its inputs, whose files are read for their hashes. A schedule's maps have `places` besides, and
    their record in its `folder`. Raises UsageError."""
    servers = limits.servers or 1
    check_map(job, inputs, limits, template)
    files = [each for each in inputs.found if each.file is not None]
    contents = dict(zip(map(id, files), blobs_of(files), strict=True))
    spec = MapSpec(
        argv=tuple(program_argv(replace(job.program, args=()))),
        python=job.program.kind != "command",
        args=job.program.args,
        inputs=tuple(_input(number, each, contents.get(id(each))) for number, each in enumerate(inputs.found)),
        outputs=job.outputs,
        spares_tracked=job.spares_tracked,
        servers=servers,
        per_server=limits.per_server,
        batch=limits.batch,
        retries=job.retry.times if job.retry is not None else 0,
        halt=limits.halt,
        script=script_digest(job),
        places=tuple(places),
        by_work=limits.by_work,
    )
    different = list({each.sha256: each for each in contents.values()}.values())

    def send(api: Any, bucket: str, name: str) -> None:
        BlobStore(api, bucket, MapKeys(name, folder).blob("")).send_all(different, lambda _: None, lambda _: None)

    listed = tuple((each.bucket, glob_of(each.key).fixed) for each in places)
    part = MapPart(encode_spec(spec), send, inputs.arns, inputs.buckets, servers, listed=listed)
    part = replace(part, may_do_with_one=limits.chosen)
    return replace(job, outputs=(), retry=None, map=part, notes=(*job.notes, *inputs.notes)), spec


def check_map(job: Job, inputs: Inputs, limits: MapLimits, template: Template) -> None:
    """What can be wrong wherever it runs. Raises UsageError."""
    for each in job.program.args:
        if len(each) > LONGEST_TEXT:
            raise UsageError(f"The argument {shown(each)} is longer than an argument can be.")
    if limits.servers > 1:
        check_length(job.name)
    check_places(template, [each.name for each in inputs.found])


def script_digest(job: Job) -> str:
    """The digest of the program's own file, by which a map that is resumed later recognises it; empty for a module."""
    if job.program.kind != "script":
        return ""
    place = os.path.normpath(f"{job.bundle.cwd}/{job.program.target}")
    for each in job.bundle.files:
        if each.place == place:
            try:
                return hashlib.sha256(each.path.read_bytes()).hexdigest()
            except OSError as error:
                raise UsageError(f"The script {shown(place)} cannot be read: {error.strerror}.") from None
    return ""


def _input(number: int, found: FoundInput, content: Content | None) -> MapInput:
    if content is None and found.object is None:
        return MapInput(number, found.text, found.name)
    if len(found.name.encode()) > _FILE_NAME:
        raise UsageError(f"The name of {shown(found.name)} is longer than a file's can be.")
    if content is None:
        return MapInput(number, found.text, found.name, part=found.object)
    return MapInput(number, found.text, found.name, Blob(content.sha256, content.size, found.name))
