"""What the end of a job says: its status and manifest as an Outcome."""

from __future__ import annotations

import time

from skylift.runner.collect.results import Manifest
from skylift.runner.errors import SKYLIFT_FAILED, RunError
from skylift.runner.job.outcome import Outcome
from skylift.runner.job.server import Server
from skylift.runner.job.server_record import Status
from skylift.runner.price.purchase import server_seconds


def conclude(name: str, status: Status | None, manifest: Manifest, server: Server | None) -> Outcome:
    """Raises RunError for a job whose server is gone and never reported its end."""
    if status is None:
        raise RunError(_explain_silence(name, server), _advise(name, server))
    # A server that was kept may be gone by now, or another job's.
    kept = status.kept_until if server is not None and not server.gone else None
    return Outcome(
        name=name,
        state=status.state,
        exit_code=SKYLIFT_FAILED if status.exit_code is None else status.exit_code,
        reason=status.reason or "",
        signal=status.signal,
        detail=status.detail or "",
        instance=server.instance if server else status.instance,
        instance_type=status.instance_type or "",
        market=status.market or "on-demand",
        results=manifest.results,
        unmatched=manifest.unmatched,
        left_behind=manifest.left_behind,
        not_written=manifest.not_written,
        missing=manifest.missing,
        changed=manifest.changed,
        booted=status.booted,
        started=status.started,
        ended=status.ended,
        attempts=status.attempt,
        program_seconds=status.program_seconds,
        seconds=_own_seconds(status),
        kept_until=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(kept)) if kept else None,
    )


def _own_seconds(status: Status) -> float:
    if status.booted is None or status.ended is None:
        return status.program_seconds or 0.0
    return server_seconds(status.booted, status.ended, status.program_seconds)


def _advise(name: str, server: Server | None) -> str:
    if server is None or not server.state.startswith("stop"):
        return "Output and results that it had sent are kept in the job's prefix."
    return (
        f"It costs its disk as long as it is there. To have it try again: aws ec2 start-instances --instance-ids"
        f" {server.instance}, and then skylift attach {name}. To give its results up: skylift cancel {name}."
    )


def _explain_silence(name: str, server: Server | None) -> str:
    if server is None:
        return f"The server of {name} is gone, and the job's end was never reported."
    state = "stopped; what it had is on its disk" if server.state.startswith("stop") else "gone"
    return (
        f"The server {server.instance} is {state}, and the job's end was never reported"
        f" ({server.reason or 'no reason given'})."
    )
