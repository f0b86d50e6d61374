"""One job on its server. `Supervisor` has the order of the stages. Each stage has a type that is complete when it
exists."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import threading
import time
from typing import Any, Dict, Optional

from skylift.agent.job.context import Context
from skylift.agent.job.env_values import EnvValues
from skylift.agent.job.guardian import Handles
from skylift.agent.job.job_record import read_record
from skylift.agent.job.ledger import Ledger
from skylift.agent.job.outcome import Ended, Outcome
from skylift.agent.job.status import Status, now_iso
from skylift.agent.lifecycle.after_job import turn_off_or_wait, wait_for_next_job
from skylift.agent.lifecycle.claim import STATUS, Claim, claim_job
from skylift.agent.lifecycle.crash import CrashReport
from skylift.agent.lifecycle.delivery import Delivery, conclude, give_group_back, pass_on
from skylift.agent.lifecycle.image_build import seal
from skylift.agent.lifecycle.preparation import Preparation, Prepared
from skylift.agent.lifecycle.recovery import Concluded, Delivered, Recovery
from skylift.agent.lifecycle.running import clear_up, go_on_trying, start_program, take_up
from skylift.agent.lifecycle.schedule_lock import Turn
from skylift.agent.lifecycle.session import JobSession
from skylift.agent.machine.concurrently import together
from skylift.agent.machine.console import say
from skylift.agent.machine.power import power_off
from skylift.agent.program.control import JobControl
from skylift.agent.program.program import UserProcess
from skylift.agent.remote.aws import Aws
from skylift.agent.remote.prefix import Prefix
from skylift.agent.spot.spot_notice import how_bought
from skylift.contract.record import JobRecord
from skylift.contract.states import State


def supervise(
    options: argparse.Namespace,
    aws: Aws,
    prefix: Prefix,
    ledger: Ledger,
    handles: Handles,
    announcing: Optional[threading.Thread],
) -> None:
    """Called by the boot program when it has loaded the supervisor. `announcing` publishes the host keys, and is to be
    started when the job is this server's; None where that was done."""
    context = Context(options, aws, prefix, ledger, handles)
    if options.worker:
        from skylift.agent.worker import Worker  # noqa: PLC0415 (other servers need not wait for it)

        return Worker(context).run()
    return Supervisor(context, announcing).run()


class Supervisor:
    """Supervises one job, from the server's boot to its end, or until the next job has the server."""

    def __init__(self, context: Context, announcing: Optional[threading.Thread]) -> None:
        self._context, self._announcing = context, announcing
        self._status = Status(context.job, threading.Condition())
        # It learns from the start on how an earlier supervisor's program ends, and when the guardian dies.
        self._program = UserProcess(context.ledger, context.handles.ends_pipe)
        sys.excepthook = CrashReport(context, self._status, None, None)

    def run(self) -> None:
        recovery = self._look_back()
        if recovery.delivered is not None:
            return self._leave(recovery.delivered)
        _, record = together(lambda: self._report_instance(recovery), lambda: read_record(self._context))
        claim = self._claim(record)
        if claim is None:
            say("the job has ended, or another server has it; turning off")
            return power_off()
        if self._announcing is not None:
            self._announcing.start()
        reported = self._find_reported_end(record, claim, recovery)
        if reported is not None:
            return self._leave(reported)
        before = (recovery.passed_on, recovery.tries)
        session = JobSession(self._context, record, claim, self._program, self._status, *before)
        return self._see_through(session, recovery)

    def _look_back(self) -> Recovery:
        recovery = Recovery(self._context.root, self._context.folder, self._context.ledger)
        signal.signal(signal.SIGTERM, lambda number, frame: self._go_down())
        return recovery

    def _go_down(self) -> None:
        """The server shuts down. The program gets the same signal."""
        self._context.ledger.note(down=time.time())
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGTERM)

    def _report_instance(self, recovery: Recovery) -> None:
        instance = self._context.retry("instance id", self._context.aws.instance)
        before = {"booted": now_iso()}
        if recovery.may_have_started and recovery.start is not None:
            before = recovery.start.status
        self._status.set(**before, instance=instance)

    def _claim(self, record: JobRecord) -> Optional[Claim]:
        sys.excepthook = CrashReport(self._context, self._status, record, None)
        claim = claim_job(self._context, record)
        if claim is not None:
            sys.excepthook = CrashReport(self._context, self._status, record, claim)
            if record.schedule is not None and record.schedule.spot:
                self._status.set(**self._context.retry("type", lambda: how_bought(self._context.metadata())))
            if claim.attempt is not None:
                bought = self._context.retry("type", lambda: how_bought(self._context.metadata()))
                checkpoint = claim.attempt.fields.get("checkpoint")
                self._status.set(attempt=claim.attempt.number, checkpoint=checkpoint, **bought)
        return claim

    def _find_reported_end(self, record: JobRecord, claim: Claim, recovery: Recovery) -> Optional[Delivered]:
        """Whether an earlier supervisor has reported the job's end and was killed before it noted that. That report
        stays, because a client may have read it."""
        if recovery.concluded is None:
            return None
        context = self._context
        over = claim.attempt.fields.get("over") if claim.attempt is not None else None
        final: Dict[str, Any] = (over or {}).get("final") or {}
        if final:
            # The attempt is written before the status, and it may be all that was written.
            body = json.dumps(final).encode()
            context.retry("status", lambda: context.prefix.put(STATUS, body))
            EnvValues(context, record).remove()
        # S3 denies reading a missing object. Writing it first shows whether it was missing.
        elif not context.retry("status", lambda: context.prefix.put(STATUS, self._status.encoded(), first=True)):
            found = context.retry("status", lambda: context.prefix.get(STATUS))
            final = json.loads(found) if found is not None else {}
        if not final.get("final") or final.get("instance") != context.aws.instance():
            return None
        kept_until = final.get("kept_until")
        context.ledger.note(delivered=True, kept_until=kept_until, spot=record.fleet)
        return Delivered(kept_until or 0.0, record.fleet)

    def _leave(self, delivered: Delivered) -> None:
        turn_off_or_wait(self._context, JobControl(self._program), delivered)

    def _see_through(self, session: JobSession, recovery: Recovery) -> None:
        prepared: Optional[Prepared] = None
        turn = Turn(self._context, session.record.schedule, self._program, session.record.max_time)
        try:
            if recovery.may_have_started or recovery.concluded is not None:
                turn.take_up()
                found = take_up(session, recovery)
            elif recovery.tries:
                turn.take_up()
                found = go_on_trying(session, recovery)
            elif session.record.seal:
                clear_up(session, recovery)
                found = seal(session)
            else:
                clear_up(session, recovery)
                turn.take()
                prepared = Preparation(session).run()
                found = start_program(session, prepared, recovery)
            end = found if isinstance(found, Concluded) else found.wait()
        except Ended as error:
            session.env_values.forget()
            end = Concluded(Outcome(error.state, error.reason, error.exit_code, detail=error.detail), {})
        outcome = conclude(session, end)
        if turn.is_still_held():
            give_group_back(session)
        turn.leave()
        if outcome.state is State.INTERRUPTED:
            pass_on(session, outcome)
            # A client that watches would wait for an end; the prefix shows what comes instead.
            return power_off()
        kept_until = Delivery(session, outcome, prepared.prebuilt if prepared is not None else None).run()
        return self._keep(session, prepared, kept_until)

    def _keep(self, session: JobSession, prepared: Optional[Prepared], kept_until: float) -> None:
        session.socket.close()
        if kept_until:
            say("job done; the server stays for %d s" % (kept_until - time.time()))
            if prepared is not None and prepared.cached is not None:
                prepared.cached.confirm()
        wait_for_next_job(self._context, session.control, kept_until, session.streams, announced=kept_until > 0)
