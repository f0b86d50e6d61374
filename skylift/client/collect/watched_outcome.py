"""The Outcome for a user who watched a job: to its end, or until the user left."""

from __future__ import annotations

from dataclasses import replace

from skylift.client.collect.bigger_type import name_bigger_type
from skylift.client.collect.collecting import Collected
from skylift.client.collect.other_servers import other_servers
from skylift.client.collect.outcome import conclude
from skylift.client.errors import INTERRUPTED
from skylift.client.job.outcome import Outcome
from skylift.client.job.server import Server
from skylift.client.price.run_price import with_price
from skylift.client.steps import Clock
from skylift.client.watch.watched_job import WatchedJob
from skylift.contract.states import State


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
            capped=job.capped,
            home=job.home if outcome.results else None,
        ),
        job.account.settings,
        other_servers(job.account, job.name) if job.has_workers and outcome.ended is not None else (),
    )
