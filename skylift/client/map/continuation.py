"""Continues a map that has ended: a new job runs the inputs that the earlier map has left.

The earlier map's record stays as it is. An input keeps the outcome that it has there, and an input that has succeeded
is not run again. The spec of the later map names the earlier one, and a reader reads both (reading.py). The record of
the earlier map names its continuation, by a conditional write: when two clients resume it at once, one is refused."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any

from skylift.client.errors import JobNotFound, Refused, UsageError
from skylift.client.job.commands import program_argv
from skylift.client.job.job import NAME_FORM, Job, MapPart, Program
from skylift.client.job.server_record import of_file
from skylift.client.jobs.jobs import Jobs
from skylift.client.launch.server import live_servers
from skylift.client.map.changed_objects import ADVICE, changed_parts, tell_changed
from skylift.client.map.inputs import permitted
from skylift.client.map.keys import MapKeys
from skylift.client.map.places import Template, check_places
from skylift.client.map.planning import AUTO, MapLimits, script_digest
from skylift.client.map.reading import MapReader
from skylift.client.map.spec import encode_spec
from skylift.client.plan.plan_job import Order, check_length
from skylift.client.remote.account import Account
from skylift.client.text.json_object import parse_object
from skylift.client.text.visible import shown
from skylift.client.waiting import Threads, pauses
from skylift.contract.map_spec import MapInput, MapSpec, Resumed
from skylift.contract.record import Retry
from skylift.contract.states import ENDED, State

_AT_A_TIME = 8
_MARK_LIMIT = 1024
_GOING = 20.0
"""Seconds in which a client that has started another server must have seen the mark, and terminated it."""
_TYPE_OPTIONS = frozenset({"type", "cpu", "memory", "arch", "gpu"})
_CAP_OPTIONS = frozenset({"max_time", "max_cost"})


@dataclass(frozen=True)
class Continuation:
    """Which inputs of the map `name` run: those that have no outcome, those that have failed, or both. With `force`,
    also by another program than before."""

    name: str
    unfinished: bool = False
    failed: bool = False
    force: bool = False


def read_continuation(resume: str | None, retry_failed: str | None, *, force: bool) -> Continuation | None:
    """The request of --resume or --retry-failed; None without either. Raises UsageError."""
    names = {each for each in (resume, retry_failed) if each is not None}
    if not names:
        if force:
            raise UsageError("--force is for --resume and --retry-failed.")
        return None
    if len(names) > 1:
        raise UsageError("--resume and --retry-failed name different maps.", "One map goes on where one has ended.")
    return Continuation(names.pop(), resume is not None, retry_failed is not None, force)


class ContinuedMap:
    """What is left of a map that has ended. Raises UsageError for a job that is no map, or one that still runs, and for
    a map that another one goes on from already."""

    def __init__(self, account: Account, continuation: Continuation) -> None:
        self._account, self._continuation = account, continuation
        self._record = account.record(continuation.name)
        self._check_spec()
        self._reader = MapReader(account, continuation.name)
        self._check_end()
        later = _goes_on(account, continuation.name)
        if later is not None:
            raise _already_continued(continuation.name, later)
        self._reader.read_on()
        if self._reader.own.places:
            raise UsageError(f"{continuation.name} has ended before it knew its inputs.", "Run it anew.")
        if self._reader.gone:
            raise UsageError(
                f"{continuation.name} goes on from {self._reader.gone}, which was removed: "
                "its inputs are not known any more."
            )
        self._spec = self._reader.spec

    def _check_spec(self) -> None:
        """A client that was killed may not have come to it. A schedule's run has that of the schedule. Raises
        UsageError."""
        name, account = self._continuation.name, self._account
        if (
            self._record.is_map
            and self._record.schedule is None
            and not account.api.has(account.bucket, MapKeys(name).spec)
        ):
            raise _never_sent(f"The map {name} was never started: its client ended before it had sent the inputs.")

    def _check_end(self) -> None:
        name = self._continuation.name
        state = Jobs(self._account.settings, self._account).one(name).state
        if state not in (*ENDED, State.LOST):
            raise UsageError(
                f"The map {name} has not ended yet ({state}).",
                f"Wait for it: `skylift attach {name}`. Or end it: `skylift cancel {name}`.",
            )

    def _check_servers(self) -> None:
        """After the mark: a client that watches looks at the mark when it has started another server, and terminates
        that one. A server that stays was started before the mark. Raises UsageError."""
        name = self._continuation.name
        if all(live_servers(self._account.api, name) for _ in pauses(_GOING, 2)):
            raise UsageError(
                f"The map {name} goes on: another client has started a server for it just now.",
                f"Wait for it: `skylift attach {name}`.",
            )

    def program(self, words: Sequence[str], arguments: Sequence[str] | None, module: str | None) -> Program:
        """The program to run: the map's own, or the one that is named. Raises UsageError."""
        if len(words) > 1 or (words and module):
            raise UsageError(f"The inputs are those of {self._continuation.name}: name no others.")
        argv = self._spec.argv
        found = Program("module", argv[2]) if argv[1:2] == ("-m",) else Program("script", argv[1])
        if module is not None:
            found = Program("module", module)
        elif words:
            found = Program("script", words[0])
        return replace(found, args=self._spec.args if arguments is None else tuple(arguments))

    def order(self, order: Order, given: Collection[str]) -> Order:
        """The order with the earlier map's type, cap, results and retries, unless the user gave others (`given`, by
        options' names)."""
        self._check_env(given)
        record, spec = self._record, self._spec
        if not _TYPE_OPTIONS & set(given) and record.instance_type:
            order = replace(order, instance_type=record.instance_type)
        if not _CAP_OPTIONS & set(given) and record.max_time:
            order = replace(order, max_time=record.max_time)
        if "out" not in given:
            order = replace(order, outputs=spec.outputs, spares_tracked=spec.spares_tracked)
        if "retries" not in given and spec.retries:
            order = replace(order, retry=Retry(spec.retries))
        return order

    def _check_env(self, given: Collection[str]) -> None:
        name = self._continuation.name
        if self._record.has_env and "env" not in given and not self._continuation.force:
            raise UsageError(
                f"{name} had values of --env, which are not kept.", "Give them again, or --force to run without them."
            )

    def plan(self, job: Job, limits: MapLimits, template: Template) -> tuple[Job, MapSpec]:
        """The job that goes on. Raises UsageError where nothing is left, or the program is another one."""
        earlier = self._spec
        if limits.servers == AUTO:
            raise UsageError("--servers auto is for a map that begins.", "Give a number, or leave it out.")
        servers = limits.servers or earlier.servers
        if servers > 1:
            check_length(job.name)
        check_places(template, [each.name for each in earlier.inputs])
        inputs = self._left()
        self._check_blobs(inputs)
        changed = self._changed(inputs)
        ran = {each.index for each in inputs}
        failed = sum(not each.succeeded and each.index not in ran for each in self._reader.outcomes.values())
        spec = earlier._replace(
            argv=tuple(program_argv(replace(job.program, args=()))),
            python=True,
            args=job.program.args,
            inputs=inputs,
            outputs=job.outputs,
            spares_tracked=job.spares_tracked,
            total=earlier.total,
            servers=servers,
            by_work=earlier.by_work and not limits.servers,
            per_server=limits.per_server or earlier.per_server,
            batch=limits.batch or earlier.batch,
            retries=job.retry.times if job.retry is not None else 0,
            halt=limits.halt or earlier.halt,
            script=script_digest(job),
            resumes=Resumed(self._continuation.name, failed),
        )
        how_many = f"{len(inputs):,} of the {len(earlier.inputs):,} inputs of {self._continuation.name} run."
        notes = (*job.notes, *self._program_notes(spec), how_many, *changed)
        objects = [each.text for each in inputs if each.blob is None and each.text.startswith("s3://")]
        arns, buckets = permitted(list(dict.fromkeys(objects)), "")

        begun = set()

        def send(api: Any, bucket: str, name: str) -> None:
            begun.add(name)
            _copy_blobs(api, bucket, inputs, self._reader.source, MapKeys(name))
            _mark(self._account, self._continuation.name, name)
            self._check_servers()

        def take_back(_api: Any, _bucket: str, name: str) -> None:
            # Before that, the name may be another job's.
            if name in begun:
                _take_back(self._account, self._continuation.name, name)

        one = not limits.servers
        part = MapPart(encode_spec(spec), send, tuple(arns), tuple(buckets), servers, take_back, may_do_with_one=one)
        return replace(job, outputs=(), retry=None, map=part, notes=notes), spec

    def _left(self) -> tuple[MapInput, ...]:
        """Raises UsageError where there is none."""
        continuation, outcomes = self._continuation, self._reader.outcomes
        unfinished = [each for each in self._spec.inputs if each.index not in outcomes]
        ended = [each for each in self._spec.inputs if each.index in outcomes]
        failed = [each for each in ended if not outcomes[each.index].succeeded]
        chosen = {
            each.index
            for each in (*(unfinished if continuation.unfinished else ()), *(failed if continuation.failed else ()))
        }
        if chosen:
            return tuple(self._with_losses(each) for each in self._spec.inputs if each.index in chosen)
        if not unfinished and not failed:
            raise UsageError(f"Nothing is left of {continuation.name}: all {len(ended)} inputs have succeeded.")
        if unfinished:
            raise UsageError(
                f"No input of {continuation.name} has failed; {len(unfinished)} have no outcome.",
                f"To run these: --resume {continuation.name}",
            )
        raise UsageError(
            f"Every input of {continuation.name} has an outcome; {len(failed)} have failed.",
            f"To run these again: --retry-failed {continuation.name}",
        )

    def _check_blobs(self, inputs: Sequence[MapInput]) -> None:
        """Raises UsageError for inputs that are not in the bucket."""
        account, prefix = self._account, self._reader.source.blob("")
        listed = account.api.pages("s3", "list_objects_v2", "Contents", Bucket=account.bucket, Prefix=prefix)
        there = {str(each["Key"]).removeprefix(prefix) for each in listed}
        missing = [each.text for each in inputs if each.blob is not None and each.blob.sha256 not in there]
        if missing:
            name, count = self._continuation.name, len(missing)
            what = f"{count:,} files of {name} are" if count > 1 else f"A file of {name} is"
            raise _never_sent(
                f"{what} not in the bucket: {shown(missing[0])}{', and others' if count > 1 else ''}. "
                "Its client ended before it had sent all of them, or they were deleted, perhaps with their schedule."
            )

    def _changed(self, inputs: Sequence[MapInput]) -> list[str]:
        """A note on parts of objects that have changed: these fail once more, beside others that run. Raises UsageError
        where there are no others."""
        changed = changed_parts(self._account, inputs)
        if len(changed) == len(inputs):
            raise UsageError(tell_changed(changed), ADVICE)
        return [f"{tell_changed(changed)} {ADVICE}"] if changed else []

    def _with_losses(self, each: MapInput) -> MapInput:
        """One that ends its server each time ends that of the next map at the most until it has lost enough. One that
        has failed begins anew."""
        lost = 0 if each.index in self._reader.outcomes else self._reader.losses(each.index)
        return each._replace(losses=lost)

    def _program_notes(self, spec: MapSpec) -> list[str]:
        """Inputs that have failed are often run again by a program that was mended. That the rest of a map runs by
        another program than its beginning is more likely a slip. Raises UsageError for that."""
        name, earlier = self._continuation.name, self._spec
        if spec.argv != earlier.argv:
            what = f"{name} ran {_command_line(earlier)}, not {_command_line(spec)}."
        elif spec.script != earlier.script and earlier.script:
            what = f"{_command_line(spec)} is another one than {name} ran."
        elif spec.args != earlier.args:
            what = f"The arguments are other ones than {name} had."
        else:
            return []
        if self._continuation.unfinished and not self._continuation.force:
            raise UsageError(what, "With --force, it runs the inputs that are left all the same.")
        return [what]


def _never_sent(what: str) -> UsageError:
    return UsageError(what, "Start the map anew, by its own command.")


def _command_line(spec: MapSpec) -> str:
    return " ".join(spec.argv[1:])


def _copy_blobs(api: Any, bucket: str, inputs: Sequence[MapInput], source: MapKeys, target: MapKeys) -> None:
    """Copy the blobs, so that the earlier map may be removed meanwhile."""
    blobs = {each.blob.sha256: each.blob.size for each in inputs if each.blob is not None}
    with Threads(_AT_A_TIME) as pool:
        copies = [
            pool.submit(api.copy, bucket, source.blob(sha256), target.blob(sha256), size)
            for sha256, size in blobs.items()
        ]
        for each in copies:
            each.result()


def _mark(account: Account, earlier: str, name: str) -> None:
    """Write down that the map `name` goes on where the earlier one has ended. Raises UsageError when another does."""
    api, bucket, key = account.api, account.bucket, MapKeys(earlier).resumed
    body = json.dumps({"job": name}).encode()
    if api.put(bucket, key, body, first=True):
        return
    tag = api.call("s3", "head_object", Bucket=bucket, Key=key)["ETag"]
    later = _goes_on(account, earlier)
    if later == name:
        return
    if later is not None:
        raise _already_continued(earlier, later)
    try:
        # One that was removed, or did not come to be.
        api.call("s3", "put_object", Bucket=bucket, Key=key, Body=body, IfMatch=tag)
    except Refused as error:
        if error.code not in {"PreconditionFailed", "412", "ConditionalRequestConflict"}:
            raise
        raise _already_continued(earlier, "another map") from None


def _take_back(account: Account, earlier: str, name: str) -> None:
    """Remove the job that does not go on with the earlier map, and its mark if that is there. The mark first: as long
    as the record is there, no other client replaces it."""
    api, bucket = account.api, account.bucket
    if api.has(bucket, MapKeys(name).log_entry(0)) or api.has(bucket, MapKeys(name).resumed):
        # Its server has begun all the same, so that there may be outcomes, or another map goes on with this one.
        return
    if _goes_on(account, earlier) == name:
        api.call("s3", "delete_object", Bucket=bucket, Key=MapKeys(earlier).resumed)
    account.remove(name)


def _goes_on(account: Account, earlier: str) -> str | None:
    """The map that goes on where this one has ended, if there is one. Raises RecordDamaged."""
    key = MapKeys(earlier).resumed
    found = account.api.get(account.bucket, key, _MARK_LIMIT)
    if found is None:
        return None
    later = of_file(key, lambda: parse_object(found, _MARK_LIMIT).text("job", 40, NAME_FORM))
    try:
        if later is None or account.record(later).is_map:
            return later
    except JobNotFound:
        pass
    return None


def _already_continued(earlier: str, later: str) -> UsageError:
    advice = f"Go on from that one: --resume {later}" if NAME_FORM.fullmatch(later) else "See `skylift ps --all`."
    return UsageError(f"{later} goes on where {earlier} has ended.", advice)
