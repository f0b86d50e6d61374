"""The end of a job: everything is sent to its prefix, and the final status last."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path
from typing import Any, Dict, Optional

from skylift.agent.environment.prebuilt import PrebuiltEnvironment
from skylift.agent.job.fleet import release_fleet
from skylift.agent.job.outcome import Outcome
from skylift.agent.job.status import now_iso
from skylift.agent.lifecycle.claim import STATUS
from skylift.agent.lifecycle.recovery import Concluded
from skylift.agent.lifecycle.session import JobSession
from skylift.agent.machine.clock import AlarmClock
from skylift.agent.machine.concurrently import together
from skylift.agent.machine.console import say
from skylift.agent.machine.power import HOLD, LAST, RESERVE
from skylift.agent.program.orphan_processes import LeftRunning
from skylift.agent.program.program import GRACE
from skylift.agent.program.stream import cuts
from skylift.agent.remote.aws import Refused, Unreachable
from skylift.agent.remote.terminate_server import send
from skylift.agent.results.send_deadline import SendDeadline
from skylift.agent.workers.worker_group import SECRETS, empty_group, release_group
from skylift.contract.states import State

UNDELIVERED = "skylift:undelivered"
_TRYING = 10.0
"""Seconds in which results are sent before the server asks again to be stopped."""


def conclude(session: JobSession, found: Concluded) -> Outcome:
    """Fix the outcome, whichever supervisor delivers it. The status shows it when everything has been delivered."""
    end_what_is_left(session)
    if session.terminal is not None:
        session.terminal.finish()
    for stream in session.streams:
        stream.finish()
    outcome, more = _explained(session, found.outcome), {"ended": now_iso(), **found.more}
    session.context.ledger.note(verdict={"verdict": outcome._asdict(), "more": more})
    if outcome.state is State.INTERRUPTED:
        session.status.set(state=State.INTERRUPTED)
    else:
        session.status.set(state=State.UPLOADING, exit_code=outcome.exit_code, signal=outcome.signal, **more)
    return outcome


def _explained(session: JobSession, outcome: Outcome) -> Outcome:
    """The same outcome. When a Python program of the user failed because a module or a file is missing, it says what to
    do."""
    record, errors = session.record, session.streams[0 if session.terminal is not None else -1]
    if outcome.state is not State.FAILED or outcome.detail or not record.python or record.tools is not None:
        return outcome
    # Most jobs need not wait for their import.
    from skylift.agent.program.missing_file import how_to_have_file  # noqa: PLC0415
    from skylift.agent.program.missing_module import TAIL, how_to_have_module  # noqa: PLC0415

    _, tail = errors.read(max(errors.base, errors.size - TAIL), TAIL)
    detail = how_to_have_module(tail, record.environment) or how_to_have_file(tail, str(session.cwd))
    return outcome._replace(detail=detail)


def end_what_is_left(session: JobSession) -> None:
    """End the processes that are left, so that results do not change and no two attempts run at once. When time is
    short, most is kept for sending."""
    context, last = session.context, session.context.deadline - HOLD
    if session.spot is not None:
        last = session.spot.ends_at(last)
    whole = context.root == Path("/")
    left = LeftRunning(context.handles.guardian, context.login.uid, context.job, whole_machine=whole)
    left.end(min(GRACE, max(0.0, last - time.time()) / 4))
    session.program.kill_session()


def give_group_back(session: JobSession) -> None:
    """Of a schedule's run, before the next one has its turn: they have one group for their other servers."""
    context, group = session.context, session.record.group
    if context.is_scheduled and group:
        empty_group(context.aws, group)


def pass_on(session: JobSession, outcome: Outcome) -> None:
    """Hand a spot job over to its next server: send all that it needs, and then the end of this attempt."""
    context, spot = session.context, session.spot
    assert spot is not None
    until = min(context.last, time.time() + context.patience)
    until = min(until, spot.ends_at(until))
    try:
        together(
            lambda: session.shipper.finish(until),
            lambda: session.results.send(until, final=False),
            lambda: _finish_checkpoint(session, outcome, until),
        )
        context.retry("status", lambda: context.prefix.put(STATUS, session.status.encoded()), until)
        spot.attempt.end(until, **session.how_far(), over={"interrupted": now_iso()})
        context.ledger.note(delivered=True)
    except (Unreachable, Refused, OSError) as error:
        say("the next server will not find everything: %s" % error)


def _finish_checkpoint(session: JobSession, outcome: Outcome, until: float) -> None:
    spot = session.spot
    if spot is None or spot.checkpoint is None or session.stopwatch.seconds is None:
        return
    taken = spot.checkpoint.finish(until, by_itself=outcome.signal is None)
    if not taken and not spot.checkpoint.refused:
        say("the checkpoint was being written when the program ended: the one before counts")
    spot.tell_checkpoint()


class Delivery:
    """The delivery of a job. `run` returns until when the server stays, in seconds since the epoch: 0 if it turns
    off."""

    def __init__(self, session: JobSession, outcome: Outcome, prebuilt: Optional[PrebuiltEnvironment]) -> None:
        self._session, self._outcome, self._prebuilt = session, outcome, prebuilt
        self._context = session.context

    def run(self) -> float:
        """Deliver. An upload that makes progress may go on until the server must be stopped to keep its disk."""
        deadline = self._context.deadline
        send_deadline = SendDeadline(self._context.patience, deadline - RESERVE, deadline - HOLD)
        # An upload that is under way then might not end before it is too late.
        late = AlarmClock(deadline - HOLD + 5, self._ask_to_stop)
        late.start()
        kept_until = self._deliver(send_deadline)
        late.cancel()
        return self._hold_results() if kept_until is None else kept_until

    def _deliver(self, send_deadline: SendDeadline) -> Optional[float]:
        """Send streams, results, manifest, and the final status last: a client that reads it can rely on the rest. None
        when that failed."""
        session, context = self._session, self._context
        try:
            together(
                lambda: session.shipper.finish(send_deadline),
                lambda: session.results.send(send_deadline, final=True),
                self._release_group,
            )
            until = send_deadline.rest()
            if self._prebuilt is not None:
                self._prebuilt.stop(session.control.cancelled.is_set)
            kept_until = session.record.stays_until(time.time())
            end = self._end(kept_until)
            if session.spot is not None:
                # The attempt first: a next server must not start a job that has ended.
                final = json.loads(session.status.encoded(**end))
                session.spot.attempt.end(until, **session.how_far(), over={"final": final})
            # They may be there still: removing them when the program had started may have failed. Only after the
            # attempt's end: before that, a next server might need them.
            session.env_values.remove(until)
            context.retry("status", lambda: context.prefix.put(STATUS, session.status.encoded(**end)), until)
        except (Unreachable, Refused, OSError) as error:
            # Also errors of this machine: the job's delivery survives a disk that fails for a moment.
            say("the job's end could not be delivered: %s" % error)
            return None
        context.ledger.note(delivered=True, kept_until=kept_until, spot=session.record.fleet)
        # Last: a client that learns of the end removes this server's role.
        session.status.set(**end)
        if session.record.fleet:
            release_fleet(context)
        return kept_until

    def _release_group(self) -> None:
        """Ends a map's other servers, which have nothing left to do, and removes their keys."""
        context, group = self._context, self._session.record.group
        if group and not context.is_scheduled:
            release_group(context.aws, group)
            try:
                until = min(context.last, time.time() + _TRYING)
                context.retry("removing the map's keys", lambda: context.prefix.delete(SECRETS), until)
            except (Unreachable, Refused) as error:
                say("the map's keys stay in the prefix: %s" % error)

    def _end(self, kept_until: float) -> Dict[str, Any]:
        streams, end = self._session.streams, self._outcome._asdict()
        end.update(final=True, cut=cuts(streams))
        end.update(streams={stream.name: stream.size for stream in streams})
        end.update(lost=sum(stream.lost for stream in streams))
        end.update(kept_until=kept_until or None, role=self._context.aws.role)
        return end

    def _hold_results(self) -> float:
        """Keeps undelivered results by stopping the server instead of terminating it. Until it stops, delivering is
        tried again, and whichever succeeds first counts. If EC2 refuses to stop the server, delivering is tried until
        the timer fires."""
        may_stop, pause = self._session.record.keeps_disk, 1.0
        self._context.ledger.note(stranded=True)
        while time.time() < self._context.deadline - LAST:
            now, end = time.time(), self._context.deadline - LAST
            if may_stop:
                may_stop, end = self._ask_to_stop(), min(end, now + _TRYING)
            kept_until = self._deliver(SendDeadline(0.0, now, end))
            if kept_until is not None:
                return kept_until
            time.sleep(pause)
            pause = min(pause * 1.6, 30)
        say("the results could not be delivered until the end, and are lost")
        return 0.0

    def _ask_to_stop(self) -> bool:
        """Ask EC2 to stop this server. Returns only when that failed: whether to ask again."""
        if not self._session.record.keeps_disk:
            return False
        self._context.ledger.note(stranded=True)
        aws, tag = self._context.aws, {"Tag.1.Key": UNDELIVERED, "Tag.1.Value": "yes"}
        try:
            # What the cloud ends after its deadline is tagged first, so that it is not terminated.
            send(aws, {"Action": "CreateTags", "ResourceId.1": aws.instance(), **tag})
            send(aws, {"Action": "StopInstances", "InstanceId.1": aws.instance()})
        except Unreachable as error:
            say("this server cannot be stopped yet: %s" % error)
            return True
        except Refused as error:
            say("this server cannot be stopped, so its results are tried again until it goes off: %s" % error)
            return False
        threading.Event().wait(max(0.0, self._context.deadline - time.time()))
        return False
