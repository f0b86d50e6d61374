"""The program from its start to its end, also when an earlier supervisor has started it."""

from __future__ import annotations

import os
import subprocess
import time
from typing import Dict, List, Optional, Union

from skylift.runner.server.clock import Alarm
from skylift.runner.server.console import say
from skylift.runner.server.idle import Idleness
from skylift.runner.server.memory import Memory
from skylift.runner.server.not_started import why_not_started
from skylift.runner.server.outcome import BY_SIGTERM, REBOOTED, Ended, judge
from skylift.runner.server.power import RESERVE
from skylift.runner.server.preparation import Prepared
from skylift.runner.server.program import GRACE, kill_session
from skylift.runner.server.recovery import Concluded, Recovery, Start
from skylift.runner.server.results import Syncing
from skylift.runner.server.session import Session
from skylift.runner.server.status import State, now_iso
from skylift.runner.server.terminal import Terminal

_SHUTDOWN = 2.0
"""Seconds in which every process of a server has received the signal of a shutdown."""


def start_program(session: Session, prepared: Prepared, boot: str) -> Running:
    """Start the program. Raises Ended when that fails."""
    argv, env = list(session.record.argv), _environment(session, prepared)
    if session.record.python:
        argv[0] = prepared.environment.python
    memory = Memory()
    start = _note_start(session, memory, boot)
    try:
        if session.terminal is not None:
            _start_on(session.terminal, session, argv, env)
        else:
            _start(session, argv, env)
    except OSError as error:
        code = 127 if isinstance(error, FileNotFoundError) else 126
        why = why_not_started(argv, error, env, str(session.cwd))
        raise Ended(State.FAILED, why, exit_code=code) from None
    session.stopwatch.start()
    return Running(session, start, memory, prepared)


def _environment(session: Session, prepared: Prepared) -> Dict[str, str]:
    env, folder = session.context.login.environment(), prepared.environment.bin
    if folder:
        env.update(PATH=folder + ":" + env["PATH"], VIRTUAL_ENV=os.path.dirname(folder))
    env.update(prepared.secrets)
    env.update(SKYLIFT_ATTEMPT=str(session.status.fields["attempt"]))
    return env


def _note_start(session: Session, memory: Memory, boot: str) -> Start:
    """Note the start in the ledger: from here on the program is never started again. Files that are new from now on are
    the program's, so a lock or a build of its project, made before, is none of its results."""
    told = {"state": State.RUNNING, "booted": session.status.fields["booted"], "started": now_iso()}
    now, clock = time.time(), time.monotonic()
    if session.spot is not None:
        begun = session.spot.attempt.fields.setdefault("begun", told["started"])
        told.update(started=begun)
    start = Start(boot, now, clock, session.results.arrived(), memory.before, told)
    session.context.ledger.note_for_good(start=start._asdict())
    return start


def _start(session: Session, argv: List[str], env: Dict[str, str]) -> None:
    ends = [stream.end_for_program() for stream in session.streams]
    source = subprocess.DEVNULL
    try:
        if session.stdin is not None:
            source = session.stdin.end_for_program(session.context.login.uid, lambda: session.program.end(State.BROKEN))
            ends.append(source)
        session.program.start(
            argv, "pid", cwd=str(session.cwd), env=env, stdin=source, stdout=ends[0], stderr=ends[1], umask=0o022,
            **session.context.login.identity(),
        )  # fmt: skip
    finally:
        for end in ends:
            os.close(end)


def _start_on(terminal: Terminal, session: Session, argv: List[str], env: Dict[str, str]) -> None:
    wanted, login = session.record.terminal, session.context.login
    assert wanted is not None
    end = terminal.for_program(login.user, wanted.rows, wanted.columns)
    session.program.start(
        argv, "pid", terminal=True, cwd=str(session.cwd), env=dict({"TERM": wanted.term}, **env),
        stdin=end, stdout=end, stderr=end, umask=0o022, **login.identity(),
    )  # fmt: skip


def clear_up(session: Session, recovery: Recovery) -> None:
    """End what an earlier supervisor was doing when it was killed. It is done again."""
    if recovery.helper is not None:
        kill_session(recovery.helper)
    session.program.recall(recovery.ending)


def take_up(session: Session, recovery: Recovery) -> Union[Running, Concluded]:
    """Continue from an earlier supervisor, whose program runs or has ended. Raises Ended when the program ended with
    the server."""
    start = recovery.start
    if start is not None:
        session.results.had(start.arrived)
        session.stopwatch.start(recovery.seconds(start))
        ended = recovery.seconds_to_end(start)
        if ended is not None:
            session.stopwatch.stop_at(ended)
        if recovery.rebooted(start):
            reason = "The server was rebooted, or stopped and started, while the program ran."
            raise Ended(State.REBOOTED, reason, exit_code=REBOOTED)
    if recovery.concluded is not None:
        return recovery.concluded
    assert start is not None
    say("an earlier supervisor was ended; this one takes over")
    known = recovery.end_is_known()
    session.program.inherit(recovery.pid, recovery.exit_code, recovery.ending, known=known)
    if session.terminal is not None:
        session.terminal.go_on()
    return Running(session, start, Memory(before=start.kills), None)


class Running:
    """A program that has been started. `prepared` is None when an earlier supervisor has started it."""

    def __init__(self, session: Session, start: Start, memory: Memory, prepared: Optional[Prepared]) -> None:
        self._session, self._start, self._memory, self._prepared = session, start, memory, prepared

    def wait(self) -> Concluded:
        session, ran = self._session, self._session.ran_before
        self._tell()
        cap, watchers = self._cap(ran), self._watch()
        try:
            code = session.program.wait()
        finally:
            cap.cancel()
            for watcher in watchers:
                watcher.stop()
            if session.stdin is not None:
                session.stdin.close()
        session.stopwatch.stop()
        assert session.stopwatch.seconds is not None
        seconds = round(ran + session.stopwatch.seconds, 3)
        ending = self._ending(code)
        outcome = judge(code, ending, self._words(), self._memory.kills(), self._memory.limit())
        return Concluded(outcome, {"program_seconds": seconds})

    def _tell(self) -> None:
        session = self._session
        session.status.set(**self._start.status, pid=session.program.pid)
        session.env_values.forget()
        if self._prepared is not None and self._prepared.prebuilt is not None:
            self._prepared.prebuilt.keep()
        if session.spot is not None and session.spot.checkpoint is not None:
            session.spot.checkpoint.keep(session.spot.tell_checkpoint)

    def _cap(self, ran: float) -> Alarm:
        session, record = self._session, self._session.record
        last = session.context.deadline - RESERVE - GRACE
        left = record.max_time - ran - (session.stopwatch.seconds or 0.0)
        cap = Alarm(last, lambda: session.program.end(State.TIMED_OUT), left)
        cap.start()
        return cap

    def _watch(self) -> List[Union[Idleness, Syncing]]:
        session, record = self._session, self._session.record
        watchers: List[Union[Idleness, Syncing]] = []
        if record.idle:
            output = lambda: sum(stream.size for stream in session.streams)  # noqa: E731
            end = lambda: session.program.end(State.IDLE)  # noqa: E731
            watchers.append(Idleness(record.idle, session.context.login.uid, output, end))
        if record.sync_every:
            watchers.append(Syncing(session.results, record.sync_every))
        return watchers

    def _ending(self, code: int) -> Optional[State]:
        """Why we ended the program, if we did."""
        session = self._session
        ending = session.program.ending
        if ending is State.INTERRUPTED and not (session.spot is not None and session.spot.goes_on_elsewhere(code)):
            ending = None
        if ending is None and (code in BY_SIGTERM or (code != 0 and session.spot is not None)):
            # A shutdown that has ended the program reaches us too in this time; the program did not end by itself then.
            time.sleep(_SHUTDOWN)
        return ending

    def _words(self) -> Dict[State, str]:
        record = self._session.record
        return {
            State.TIMED_OUT: "The program was ended at its cap of %d s (%s)." % (record.max_time, record.cap),
            State.IDLE: "The program was ended: %d s without output or work (--idle)." % record.idle,
            State.CANCELLED: "The job was cancelled.",
            State.BROKEN: "Standard input broke off: what passed it on to the program was ended.",
            State.INTERRUPTED: "The server is taken away; the job goes on on another one.",
        }
