"""What the end of a job says: its status and manifest as an Outcome."""

from __future__ import annotations

import time
from typing import Any

from skylift.runner.collect import Manifest
from skylift.runner.errors import RunError
from skylift.runner.job import Outcome
from skylift.runner.launch import Server


def conclude(name: str, status: dict[str, Any] | None, manifest: Manifest, server: Server | None) -> Outcome:
    """Raises RunError for a job whose server is gone and never reported its end."""
    if status is None:
        raise RunError(_explain_silence(name, server), _advise(name, server))
    # A server that was kept may be gone by now, or another job's.
    kept = status.get("kept_until") if server is not None and not server.gone else None
    return Outcome(
        name=name,
        state=status["state"],
        exit_code=status["exit_code"],
        reason=status["reason"],
        signal=status.get("signal"),
        detail=status.get("detail") or "",
        instance=server.instance if server else status.get("instance"),
        instance_type=status.get("instance_type", ""),
        market=status.get("market", "on-demand"),
        results=manifest.results,
        unmatched=manifest.unmatched,
        left_behind=manifest.left_behind,
        booted=status.get("booted"),
        started=status.get("started"),
        ended=status.get("ended"),
        attempts=status.get("attempt", 1),
        program_seconds=status.get("program_seconds"),
        kept_until=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(kept)) if kept else None,
    )


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
