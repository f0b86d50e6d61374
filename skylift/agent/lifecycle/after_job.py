"""A server after its job: it waits for the next one, if it is kept, or turns off."""

from __future__ import annotations

import time
from typing import Sequence

from skylift.agent.job.context import Context
from skylift.agent.job.fleet import release_fleet
from skylift.agent.lifecycle.handover import Handover
from skylift.agent.lifecycle.recovery import Delivered
from skylift.agent.machine.power import RESERVE, arm_timer, power_off
from skylift.agent.program.control import JobControl
from skylift.agent.program.stream import Stream


def turn_off_or_wait(context: Context, control: JobControl, delivered: Delivered) -> None:
    """An earlier supervisor has done everything but turn the server off, or wait for the next job: do that."""
    if delivered.is_spot:
        release_fleet(context)
        return power_off()
    if delivered.has_next:
        return None
    control.listen(context.prefix, context.poll)
    return wait_for_next_job(context, control, delivered.kept_until, announced=delivered.kept_until > 0)


def wait_for_next_job(
    context: Context, control: JobControl, until: float, streams: Sequence[Stream] = (), *, announced: bool
) -> None:
    """Wait for the next job, with which the guardian goes on, or turn off. `announced` is whether the status says that
    the server waits; then the end of the waiting is written down too, even when the time is already over. `streams` are
    deleted when the next job comes."""
    until = min(until, context.deadline)
    found = None
    if announced or (until > time.time() and not control.cancelled.is_set()):
        # Set the operating system's timer to the shorter time too, in case this process dies.
        arm_timer(min(context.deadline, until + RESERVE))
        context.handles.prepare()
        look = lambda job: context.place("jobs/" + job)  # noqa: E731
        found = Handover(context.prefix, context.job, look, control.asked, control.cancelled).wait(until)
    if found is None:
        return power_off()
    for stream in streams:
        stream.forget()
    return context.ledger.note_for_good(next=found)
