"""Jobs and clusters, as the console asks for them and acts on them: by the client, as the command line does."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from skylift.client.collect.results import Manifest, bring_home, read_manifest
from skylift.client.errors import RunError
from skylift.client.job.record import JobKeys
from skylift.client.job.repeat import Repeat, parse_repeat
from skylift.client.jobs.cluster import TakeDown, clusters, find_clusters, members_of
from skylift.client.jobs.jobs import Jobs
from skylift.client.jobs.listing import Listed
from skylift.console.job_steps import JobStep, job_steps
from skylift.console.job_wish import JobSpec
from skylift.console.port import Port
from skylift.console.rows import ClusterRow, JobRow, as_moment, as_time
from skylift.console.submission import submit_again, submit_script
from skylift.contract.record import RECORD_LIMIT
from skylift.contract.states import ENDED, State


class JobPort:
    def __init__(self, port: Port) -> None:
        self._port = port

    def jobs(self) -> list[JobRow]:
        with self._port.reached() as account:
            return [_job_row(each) for each in Jobs(account.settings, account).listed(ended=True, last=200)]

    def job(self, name: str) -> Listed:
        with self._port.reached() as account:
            return Jobs(account.settings, account).one(name)

    def job_steps(self, name: str) -> list[JobStep]:
        """What happened to it, in its order. Raises SkyliftError."""
        with self._port.reached() as account:
            return job_steps(self.job(name), account.status(name))

    def results(self, name: str) -> list[tuple[str, int]]:
        """Path and size of each, as the job's server has sent them."""
        return [(each.path, each.size) for each in self._manifest(name).results]

    def result(self, name: str, path: str) -> bytes:
        """The content of one, checked. Raises SkyliftError."""
        manifest = self._manifest(name)
        wanted = tuple(each for each in manifest.results if each.path == path)
        if not wanted:
            raise RunError(f"{name} has no result {path!r}.")
        with tempfile.TemporaryDirectory(prefix="skylift-result-") as folder, self._port.reached() as account:
            bring_home(
                account.api,
                account.bucket,
                JobKeys(name),
                replace(manifest, results=wanted),
                Path(folder),
                lambda _: None,
            )
            return (Path(folder) / path).read_bytes()

    def _manifest(self, name: str) -> Manifest:
        with self._port.reached() as account:
            record = account.record(name)
            return read_manifest(account.api, account.bucket, JobKeys(name), record.outputs, record.script)

    def cancel(self, name: str) -> str:
        """The word for what was done. Raises SkyliftError."""
        with self._port.reached() as account:
            return Jobs(account.settings, account).cancel(name)

    def clusters(self) -> list[ClusterRow]:
        with self._port.reached() as account:
            return [
                ClusterRow(
                    id=each.name,
                    state="running" if each.scheduler else "ended",
                    workers=each.workers,
                    created=as_time(datetime.fromtimestamp(each.made, UTC)),
                    group=each.group,
                )
                for each in clusters(account)
            ]

    def take_down(self, cluster: str) -> None:
        """As `skylift cluster down` does. Raises SkyliftError, also where not all of it could be removed."""
        with self._port.reached() as account:
            (found,) = find_clusters(account, [cluster])
            troubles: list[str] = []
            members = members_of(account, found.name, found.group)
            TakeDown(account, troubles.append).whole(found.name, found.group, members)
        if troubles:
            raise RunError(" ".join(troubles))

    def submit_script(self, spec: JobSpec, text: str) -> str:
        """The new job's name, once its server has it. Raises SkyliftError."""
        with self._port.reached() as account:
            return submit_script(spec, text, account.settings)

    def repeat(self, name: str) -> Repeat:
        """What its record tells of running it again. Raises SkyliftError."""
        with self._port.reached() as account:
            # The name is of the page's address. This refuses one that no job has, and a record that is damaged.
            account.record(name)
            key = JobKeys(name).record
            found = account.api.get(account.bucket, key, RECORD_LIMIT)
        if found is None:
            raise RunError("It is a run of a schedule.", "`skylift schedule run` starts one now.")
        return parse_repeat(key, found)

    def submit_again(self, repeat: Repeat, spec: JobSpec) -> str:
        """The new job's name, once its server has it. Raises SkyliftError."""
        with self._port.reached() as account:
            return submit_again(repeat, spec, account)


def has_ended(state: str) -> bool:
    """Its server may be there still, kept or on its way down."""
    return state in ENDED


def can_be_cancelled(state: str, *, has_server: bool) -> bool:
    """Whether there is anything to end: the job, or only its server."""
    return has_server or state in (State.STARTING, State.WAITING)


def _job_row(job: Listed) -> JobRow:
    created = job.created or job.launched
    return JobRow(
        id=job.name,
        state=str(job.state),
        what=job.program or "",
        created=as_moment(created),
        seconds=None if job.seconds is None else round(job.seconds),
        exit=job.exit_code,
        cost=None if job.cost_usd is None else round(job.cost_usd, 4),
        server=(job.instance or "") if job.instance_state else "",
        type=job.type or "",
        address=job.address or "",
    )
