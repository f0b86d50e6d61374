"""The steps of a job, in their order, from what its client and its server wrote."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from skylift.client.job.server_record import tries_of
from skylift.client.jobs.listing import Listed
from skylift.client.text.duration import moment, spell_duration
from skylift.console.rows import as_time
from skylift.contract.status import Status

_ENVIRONMENTS = {
    "kept": "was there already, on a kept server",
    "imaged": "was in the server's image",
    "taken": "came from the bucket",
    "built": "was built",
}


@dataclass(frozen=True)
class JobStep:
    """`state` is a word of the job's states; `after` is how long it took since the step before."""

    when: str
    what: str
    detail: str
    state: str
    after: str


def job_steps(job: Listed, status: Status | None) -> list[JobStep]:
    """Of the last server, if the job had several. What nobody has written is left out."""
    found: list[tuple[str, str, str, str]] = []
    if job.created:
        found.append((job.created, "Submitted", job.program or "", "succeeded"))
    if job.launched:
        server = ", ".join(filter(None, (job.instance, job.type)))
        more = f" It is server {job.attempt} of this job." if job.attempt > 1 else ""
        found.append((job.launched, "Server launched", f"{server}.{more}" if server else more.strip(), "succeeded"))
    if status is not None and status.booted:
        found.append((status.booted, "Server is up", _environment(status), "succeeded"))
    for each in tries_of(status) if status is not None else ():
        if each.ended:
            again = f" Again after {each.pause:g} s." if each.pause is not None else ""
            found.append((each.ended, f"Try {each.number} ended", f"{each.reason}.{again}", "failed"))
    if job.started:
        found.append((job.started, "Program started", "", "succeeded"))
    if job.ended:
        exit_code = "" if job.exit_code is None else f"Exit code {job.exit_code}. "
        found.append(
            (job.ended, f"Program ended: {job.state}", f"{exit_code}{job.reason or ''}".strip(), str(job.state))
        )
    found.sort(key=lambda each: moment(each[0]))
    steps, before = [], None
    for when, what, detail, state in found:
        at = moment(when)
        after = "" if before is None else f"{spell_duration(at - before)} later"
        steps.append(JobStep(as_time(datetime.fromtimestamp(at, UTC)), what, detail, state, after))
        before = at
    return steps


def _environment(status: Status) -> str:
    if status.environment is None:
        return ""
    took = "" if status.environment_seconds is None else f", in {status.environment_seconds:.1f} s"
    return f"The environment {_ENVIRONMENTS.get(status.environment, status.environment)}{took}."
