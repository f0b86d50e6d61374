"""The program from its start to its end: also when an earlier supervisor has started it, and when it is started again
after a failure (see retries.py)."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Dict, List, Optional, Union

from skylift.agent.environment.environment import FAILED
from skylift.agent.job.outcome import BY_SIGTERM, REBOOTED, Ended, Outcome, judge
from skylift.agent.job.status import now_iso
from skylift.agent.lifecycle.delivery import end_what_is_left
from skylift.agent.lifecycle.preparation import Preparation, Prepared
from skylift.agent.lifecycle.recovery import Concluded, NotedStart, Recovery
from skylift.agent.lifecycle.session import JobSession
from skylift.agent.machine.clock import AlarmClock
from skylift.agent.machine.console import say
from skylift.agent.machine.memory import Memory
from skylift.agent.machine.power import RESERVE
from skylift.agent.program.idle import Idleness
from skylift.agent.program.not_started import how_to_install, why_not_started
from skylift.agent.program.program import GRACE, kill_session
from skylift.agent.program.terminal import ProgramTerminal
from skylift.agent.results.results import Syncing
from skylift.agent.spot.spot_interruption import WHY
from skylift.contract.states import State

STDIN_BROKE_OFF = "Standard input broke off: what passed it on to the program was ended."
_SHUTDOWN = 2.0
"""Seconds in which every process of a server has received the signal of a shutdown."""


def start_program(session: JobSession, prepared: Prepared, recovery: Recovery) -> Running:
    """Start the program. Raises Ended when that fails."""
    running = Running(session, recovery.boot, prepared)
    running.start()
    return running


def _start(session: JobSession, prepared: Prepared) -> None:
    argv, env = list(session.record.argv), prepared.variables(session.context.login)
    env.update(SKYLIFT_ATTEMPT=str(session.status.fields.attempt + len(session.retries.tries)))
    if session.record.python:
        argv[0] = prepared.environment.python
    if session.record.cluster is None:
        return _execute(session, prepared, argv, env)
    with _no_cluster(session).open("wb") as failure:
        argv = _with_cluster(session, prepared, argv, env, failure.fileno())
        return _execute(session, prepared, argv, env, pass_fds=(failure.fileno(),))


def _no_cluster(session: JobSession) -> Path:
    """The file that says why the program has no cluster. It exists only then. Later supervisors read it, too."""
    path: Path = session.context.folder / "no-cluster"
    return path


def _execute(session: JobSession, prepared: Prepared, argv: List[str], env: Dict[str, str], **how: Any) -> None:
    if session.record.tools is not None:
        # Other jobs need not wait for its import.
        from skylift.agent.workers.map_server import KEEPS_ALL, KEEPS_GROUP, map_argv  # noqa: PLC0415

        record, context, group = session.record, session.context, session.record.group
        # No other server goes on with a schedule's run.
        keeps = "" if context.is_scheduled else KEEPS_ALL if record.fleet else KEEPS_GROUP
        own = {"group": group, "keeps": keeps, "dask": record.tools if group else {}, "until": context.deadline}
        argv = map_argv(context, prepared.environment.python, prepared.tools, record.cwd, **own)
    try:
        if session.terminal is not None:
            _start_on(session.terminal, session, argv, env, **how)
        else:
            _start_plain(session, argv, env, **how)
    except OSError as error:
        raise _not_started(session, argv, env, error) from None


def _not_started(session: JobSession, argv: List[str], env: Dict[str, str], error: OSError) -> Ended:
    code = 127 if isinstance(error, FileNotFoundError) else 126
    why = why_not_started(argv, error, env, str(session.cwd))
    return Ended(State.FAILED, why, how_to_install(argv, error, env), code)


def _with_cluster(
    session: JobSession, prepared: Prepared, argv: List[str], env: Dict[str, str], failure: int
) -> List[str]:
    """The command that makes the program's Dask cluster first. A program that is not there is found before."""
    # Other jobs need not wait for its import.
    from skylift.agent.workers.job_cluster import ClusterOptions, cluster_argv  # noqa: PLC0415

    record, context = session.record, session.context
    assert record.cluster is not None
    there = (session.cwd / argv[0]).exists() if "/" in argv[0] else shutil.which(argv[0], path=env["PATH"])
    if not there:
        raise _not_started(session, argv, env, FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT)))
    interpreter = shutil.which("python3", path=context.login.environment()["PATH"]) or sys.executable
    options = ClusterOptions(
        **context.where(), endpoint=os.environ.get("AWS_ENDPOINT_URL") or "", group=record.group,
        servers=record.cluster.servers, python=prepared.environment.python, script=record.script, failure=failure,
        moves=record.fleet,
    )  # fmt: skip
    return cluster_argv(interpreter, options, argv)


def _start_plain(session: JobSession, argv: List[str], env: Dict[str, str], **how: Any) -> None:
    ends = [stream.end_for_program() for stream in session.streams]
    source = subprocess.DEVNULL
    try:
        if session.stdin is not None:
            source = session.stdin.end_for_program(session.context.login.uid, lambda: session.program.end(State.BROKEN))
            ends.append(source)
        session.program.start(
            argv, "pid", cwd=str(session.cwd), env=env, stdin=source, stdout=ends[0], stderr=ends[1], umask=0o022,
            # A map's own program is ours. It starts the user's as the login user.
            **({} if session.record.tools is not None else session.context.login.identity()), **how,
        )  # fmt: skip
    finally:
        for end in ends:
            os.close(end)


def _start_on(terminal: ProgramTerminal, session: JobSession, argv: List[str], env: Dict[str, str], **how: Any) -> None:
    wanted, login = session.record.terminal, session.context.login
    assert wanted is not None
    end = terminal.for_program(login.user, wanted.rows, wanted.columns)
    session.program.start(
        argv, "pid", terminal=True, cwd=str(session.cwd), env=dict({"TERM": wanted.term}, **env),
        stdin=end, stdout=end, stderr=end, umask=0o022, **login.identity(), **how,
    )  # fmt: skip


def clear_up(session: JobSession, recovery: Recovery) -> None:
    """End the work that an earlier supervisor was doing when it was killed. It is done again."""
    if recovery.helper is not None:
        kill_session(recovery.helper)
    session.program.recall(recovery.ending)


def take_up(session: JobSession, recovery: Recovery) -> Union[Running, Concluded]:
    """Continues with an earlier supervisor's program, which runs or has ended. Raises Ended if the program ended with
    the server."""
    start = recovery.start
    if start is not None:
        session.results.had(start.arrived)
        session.stopwatch.start(recovery.seconds(start))
        ended = recovery.seconds_to_end(start)
        if ended is not None:
            session.stopwatch.stop_at(ended)
        goes_on = session.spot is not None and session.spot.checkpoint is not None and recovery.ending is None
        # As after a notice: a program that goes on elsewhere says with 0 that it is done.
        if recovery.concluded is None and recovery.rebooted(start) and not (goes_on and recovery.exit_code == 0):
            code = -signal.SIGKILL if recovery.exit_code is None else recovery.exit_code
            if recovery.ending not in (None, State.INTERRUPTED):
                # The job was over when its server went off.
                return _as_concluded(session, judge(code, recovery.ending, _words(session), 0, None))
            if session.record.tools is not None and recovery.ending is None:
                # A map loses only the inputs that ran, and goes on with them. One of them may have caused the reboot.
                return go_on_trying(session, recovery, anew=True)
            if goes_on:
                return _interrupted(session, recovery, code)
            reason = "The server was rebooted, or stopped and started, while the program ran."
            raise Ended(State.REBOOTED, reason, exit_code=REBOOTED)
    if recovery.concluded is not None:
        return recovery.concluded
    assert start is not None
    say("an earlier supervisor was ended; this one takes over")
    known, ending = recovery.end_is_known(), recovery.ending
    whole = session.stdin is None or session.stdin.take_up(lambda: session.program.end(State.BROKEN))
    if not whole and ending is None:
        ending = State.BROKEN
    session.program.inherit(recovery.pid, recovery.exit_code, ending, recovery.asked, known=known)
    if not whole:
        session.program.end(State.BROKEN)
    if session.terminal is not None:
        session.terminal.go_on()
    return Running(session, recovery.boot, None, start)


def _interrupted(session: JobSession, recovery: Recovery, code: int) -> Concluded:
    """Another server goes on from the checkpoint. The one on this disk is whole only if the program has had time to end
    by itself."""
    assert session.spot is not None
    if recovery.exit_code is None:
        # The power went off at some time after the last beat.
        session.stopwatch.stop_at(session.spot.attempt.fields.get("running", 0.0))
    words = {State.INTERRUPTED: "The server was rebooted; the job goes on on another one."}
    return _as_concluded(session, judge(code, State.INTERRUPTED, words, 0, None))


def _words(session: JobSession) -> Dict[State, str]:
    record = session.record
    return {
        State.TIMED_OUT: "The program was ended at its cap of %d s (%s)." % (record.max_time, record.cap),
        State.IDLE: "The program was ended: %d s without output or work (--idle)." % record.idle,
        State.CANCELLED: "The job was cancelled.",
        State.BROKEN: STDIN_BROKE_OFF,
        State.INTERRUPTED: "The server is taken away; the job goes on on another one.",
    }


def go_on_trying(session: JobSession, recovery: Recovery, *, anew: bool = False) -> Running:
    """An earlier supervisor was ended when it was about to start the program again. With `anew`, its files are made
    again: where the power went off, those that had just come are empty. Raises Ended when it cannot be started."""
    start = recovery.start
    assert start is not None
    session.results.had(start.arrived)
    session.stopwatch.start(recovery.seconds(start))
    session.program.recall(recovery.ending, recovery.asked)
    running = Running(session, recovery.boot, Preparation(session).run() if anew else None, start)
    running.start()
    return running


def _as_concluded(session: JobSession, outcome: Outcome) -> Concluded:
    seconds = round(session.ran_before + (session.stopwatch.seconds or 0.0), 3)
    return Concluded(outcome, {"program_seconds": seconds, **session.retries.fields()})


class Running:
    """A program that has been started, by `start` or as the ledger says. `prepared` is None when an earlier supervisor
    has started it."""

    def __init__(
        self, session: JobSession, boot: str, prepared: Optional[Prepared], start: Optional[NotedStart] = None
    ) -> None:
        self._session, self._boot, self._prepared, self._start = session, boot, prepared, start
        self._memory = Memory(before=start.kills if start is not None else None)
        self._code, self._ended = 0, ""

    def start(self) -> None:
        """Also again. Raises Ended when it cannot be started."""
        session = self._session
        self._memory = Memory()
        self._start = self._note_start(self._start)
        if self._prepared is None:
            self._prepared = Preparation(session).recall()
        _start(session, self._prepared)
        if session.stopwatch.seconds is None:
            session.stopwatch.start()

    def _note_start(self, first: Optional[NotedStart]) -> NotedStart:
        """Notes the start in the ledger: from here on the program is started again only after a failure. Files that are
        new since the first start are the program's. Its project's lock and build are made before, so they are not
        results."""
        session, kills = self._session, self._memory.before
        if first is None:
            began = now_iso()
            now_running = {"state": State.RUNNING, "booted": session.status.fields.booted or began, "started": began}
            now, clock = time.time(), time.monotonic()
            if session.spot is not None:
                begun = session.spot.attempt.fields.setdefault("begun", began)
                now_running.update(started=begun)
            start = NotedStart(self._boot, now, clock, session.results.arrived(), kills, now_running, began)
        else:
            # A reboot between two times leaves the wall clock only.
            clock = first.clock if first.boot == self._boot else 0.0
            start = first._replace(
                boot=self._boot, clock=clock, kills=kills, began=now_iso(), after=session.stopwatch.seconds or 0.0
            )
        before = dict.fromkeys(("pid", "end", "ended", "clock")) if first is not None else {}
        session.context.ledger.note_for_good(start=start._asdict(), **before, **session.retries.fields())
        return start

    def wait(self) -> Concluded:
        session, record = self._session, self._session.record
        self._tell()
        cap = self._cap(session.ran_before)
        syncing = Syncing(session.results, record.sync_every) if record.sync_every else None
        try:
            outcome = self._await_end()
            while (pause := self._pause_after(outcome)) is not None:
                again = self._rest(outcome, pause)
                if again is not None:
                    return _as_concluded(session, again)
                outcome = self._try_again()
        finally:
            cap.cancel()
            if syncing is not None:
                syncing.stop()
        if outcome.state is not State.INTERRUPTED:
            self._add_try(outcome)
        return _as_concluded(session, outcome)

    def _try_again(self) -> Outcome:
        program = self._session.program
        try:
            self.start()
        except Ended:
            if program.ending is None:
                raise
            # In the last moment before.
            return self._judge(self._code, program.ending)
        self._session.status.set(pid=program.pid)
        return self._await_end()

    def _await_end(self) -> Outcome:
        session, record, idleness = self._session, self._session.record, None
        if record.idle:
            output = lambda: sum(stream.size for stream in session.streams)  # noqa: E731
            end = lambda: session.program.end(State.IDLE)  # noqa: E731
            idleness = Idleness(record.idle, session.context.login.uid, output, end)
        try:
            code = session.program.wait()
        finally:
            if idleness is not None:
                idleness.stop()
            if session.stdin is not None:
                session.stdin.close()
        session.stopwatch.stop()
        self._ended = now_iso()
        return self._judge(code, self._ending(code))

    def _judge(self, code: int, ending: Optional[State]) -> Outcome:
        self._code = code
        failure = self._no_cluster() if ending is None else ""
        if failure:
            reason = "The Dask cluster of the program could not be started."
            return Outcome(State.ENVIRONMENT_FAILED, reason, FAILED, detail=failure)
        outcome = judge(code, ending, _words(self._session), self._memory.kills(), self._memory.limit())
        taken_back = self._session.taken_back
        return outcome if taken_back is None else taken_back.explain(outcome)

    def _no_cluster(self) -> str:
        session = self._session
        if session.record.cluster is None:
            return ""
        try:
            return _no_cluster(session).read_bytes()[-8192:].decode(errors="replace").strip()
        except FileNotFoundError:
            return ""

    def _pause_after(self, outcome: Outcome) -> Optional[float]:
        """None after a signal from the user or a cancelled job, as the user does not want another attempt; and on a
        server that EC2 takes back."""
        session = self._session
        if session.program.was_asked or session.control.cancelled.is_set() or WHY in outcome.reason:
            return None
        return session.retries.pause(outcome, self._left(session.ran_before))

    def _rest(self, outcome: Outcome, pause: float) -> Optional[Outcome]:
        """Waits until the next start, and returns None. If the job is to end before, returns its outcome."""
        session = self._session
        self._add_try(outcome, pause)
        end_what_is_left(session)
        session.stopwatch.go_on()
        go_on = session.program.rest()
        session.status.set(**session.retries.fields())
        if session.spot is not None:
            session.spot.note_try(time.time() + pause)
        if go_on and session.program.pause(pause):
            return None
        session.stopwatch.stop()
        ending = session.program.ending
        return outcome if ending is None else self._judge(self._code, ending)

    def _add_try(self, outcome: Outcome, pause: Optional[float] = None) -> None:
        session, start = self._session, self._start
        assert start is not None
        seconds = (session.stopwatch.seconds or 0.0) - start.after
        session.retries.add(outcome, session.status.fields.attempt, start.began, self._ended, seconds, pause)

    def _tell(self) -> None:
        session = self._session
        assert self._start is not None
        session.status.set(**self._start.status, pid=session.program.pid)
        session.env_values.forget()
        if self._prepared is not None and self._prepared.prebuilt is not None:
            self._prepared.prebuilt.keep()
        if session.spot is not None and session.spot.checkpoint is not None:
            session.spot.checkpoint.keep(session.spot.tell_checkpoint)

    def _cap(self, ran: float) -> AlarmClock:
        """One for all the times that it is started, and for the pauses between them."""
        session, record = self._session, self._session.record
        left = record.max_time - ran - (session.stopwatch.seconds or 0.0)
        cap = AlarmClock(self._last(), lambda: session.program.end(State.TIMED_OUT), left)
        cap.start()
        return cap

    def _left(self, ran: float) -> float:
        """Seconds until the cap."""
        session = self._session
        left = session.record.max_time - ran - (session.stopwatch.seconds or 0.0)
        return min(left, self._last() - time.time())

    def _last(self) -> float:
        return self._session.context.deadline - RESERVE - GRACE

    def _ending(self, code: int) -> Optional[State]:
        """Why we ended the program, if we did."""
        session = self._session
        ending = session.program.ending
        if ending is State.INTERRUPTED and not (session.spot is not None and session.spot.goes_on_elsewhere(code)):
            ending = None
        if ending is None and (code in BY_SIGTERM or (code != 0 and session.record.fleet)):
            # A shutdown that has ended the program reaches us too in this time; the program did not end by itself then.
            time.sleep(_SHUTDOWN)
        return ending
