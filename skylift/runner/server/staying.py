"""A server after its job: it waits for the next one, if it is to, or goes off."""

from __future__ import annotations

import time
from typing import Sequence

from skylift.runner.server.context import Context
from skylift.runner.server.control import Control
from skylift.runner.server.fleet import release_fleet
from skylift.runner.server.handover import Handover
from skylift.runner.server.power import RESERVE, arm_timer, power_off
from skylift.runner.server.recovery import Delivered
from skylift.runner.server.stream import Stream


def leave(context: Context, control: Control, delivered: Delivered) -> None:
    """All was done before us, but for the server's end."""
    if delivered.is_spot:
        release_fleet(context)
        return power_off()
    if delivered.has_next:
        return None
    control.listen(context.prefix, context.poll)
    return stay(context, control, delivered.kept_until, told=delivered.kept_until > 0)


def stay(context: Context, control: Control, until: float, streams: Sequence[Stream] = (), *, told: bool) -> None:
    """The guardian goes on with the next job, if one comes; else this is the server's end. Whoever was `told` that we
    wait has to hear that we do not, also where the time is over by now. `streams` are no longer needed then."""
    until = min(until, context.deadline)
    found = None
    if told or (until > time.time() and not control.cancelled.is_set()):
        # The operating system keeps to the shorter time as well, whatever becomes of us.
        arm_timer(min(context.deadline, until + RESERVE))
        context.handles.prepare()
        look = lambda job: context.place("jobs/" + job)  # noqa: E731
        found = Handover(context.prefix, context.job, look, control.asked, control.cancelled).wait(until)
    if found is None:
        return power_off()
    for stream in streams:
        stream.forget()
    return context.ledger.note_for_good(next=found)
