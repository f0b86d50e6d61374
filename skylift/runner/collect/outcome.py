"""The Outcome of a job: from its final status and manifest, or from how its watcher left it."""

from __future__ import annotations

import time
from dataclasses import replace

from skylift.runner.collect.bigger_type import name_bigger_type
from skylift.runner.collect.collecting import Collected
from skylift.runner.collect.results import Manifest
from skylift.runner.errors import SKYLIFT_FAILED
from skylift.runner.job.outcome import INTERRUPTED, Outcome
from skylift.runner.job.server import Server
from skylift.runner.job.server_record import Status
from skylift.runner.job.states import State
from skylift.runner.price.purchase import server_seconds
from skylift.runner.price.run_price import with_price
from skylift.runner.steps import Clock
from skylift.runner.watch.watched_job import WatchedJob


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
        program_seconds=status.program_seconds,
        seconds=_own_seconds(status),
        kept_until=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(kept)) if kept else None,
    )


def outcome_of(collected: Collected, clock: Clock) -> Outcome:
    """The outcome for a user who watched the job to its end."""
    job, server, status = collected.streamed.job, collected.streamed.server, collected.streamed.status
    outcome = conclude(job.name, status, collected.manifest, server)
    outcome = name_bigger_type(job.account.api, outcome, job.type_of(server))
    return _with_watch(outcome, job, server, clock)


def left_outcome(job: WatchedJob, server: Server | None, state: State, clock: Clock) -> Outcome:
    """The outcome for a user who left before the job's end, with Ctrl-C or with `~.`."""
    outcome = Outcome(
        name=job.name,
        state=state,
        exit_code=INTERRUPTED,
        reason="Left running; nobody is watching it here." if state == State.DETACHED else "Interrupted.",
        instance=server.instance if server else None,
    )
    return _with_watch(outcome, job, server, clock)


def _with_watch(outcome: Outcome, job: WatchedJob, server: Server | None, clock: Clock) -> Outcome:
    """The same outcome, with what only the user's own run knows: times, steps, folder, and the price."""
    return with_price(
        replace(
            outcome,
            instance_type=outcome.instance_type or job.type_of(server),
            watched_seconds=clock.elapsed(),
            steps=dict(clock.seconds),
            choice=job.choice,
            home=job.home if outcome.results else None,
        ),
        job.account.settings,
    )


def _own_seconds(status: Status) -> float:
    if status.booted is None or status.ended is None:
        return status.program_seconds or 0.0
    return server_seconds(status.booted, status.ended, status.program_seconds)
