"""The Outcome of a job that has ended, from its final status and its manifest."""

from __future__ import annotations

import time

from skylift.client.collect.results import Manifest
from skylift.client.errors import SKYLIFT_FAILED
from skylift.client.job.outcome import Outcome
from skylift.client.job.server import Server
from skylift.client.job.server_record import tries_of
from skylift.client.price.purchase import server_seconds
from skylift.contract.status import Status


def conclude(name: str, status: Status, manifest: Manifest, server: Server | None) -> Outcome:
    """The outcome of a job that has ended. `server` is its last one, None when that has gone."""
    # A server that was kept may have gone by now, or belong to another job.
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
        tries=tries_of(status),
        program_seconds=status.program_seconds,
        seconds=_own_seconds(status),
        kept_until=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(kept)) if kept else None,
    )


def _own_seconds(status: Status) -> float:
    if status.booted is None or status.ended is None:
        return status.program_seconds or 0.0
    return server_seconds(status.booted, status.ended, status.program_seconds)
