"""One job on its server. `Supervisor.run` is the order of things."""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import threading
import time
import traceback
from pathlib import Path
from types import TracebackType
from typing import Any, Callable, Dict, List, Optional, Type, TypeVar

from skylift.runner.server.attempts import BEAT, Attempt, Attempts, key_of
from skylift.runner.server.aws import Aws, Metadata, Refused, Unreachable, patiently
from skylift.runner.server.cached_environment import Standing
from skylift.runner.server.checkpoint import Checkpoint
from skylift.runner.server.concurrently import together
from skylift.runner.server.console import say
from skylift.runner.server.control_socket import Door
from skylift.runner.server.environment import Environment
from skylift.runner.server.fleet import delete_fleet
from skylift.runner.server.guardian import Kept
from skylift.runner.server.handover import Handover
from skylift.runner.server.idle import Idleness
from skylift.runner.server.inputs import SHELF, Inputs
from skylift.runner.server.ledger import Ledger
from skylift.runner.server.left_running import LeftRunning
from skylift.runner.server.login_user import Login
from skylift.runner.server.memory import Memory
from skylift.runner.server.outcome import BY_SIGTERM, REBOOTED, Ended, Verdict, before_start, is_answer, judge
from skylift.runner.server.patience import Patience
from skylift.runner.server.power import HOLD, LAST, RESERVE, arm_timer, power_off
from skylift.runner.server.prebuilt import Prebuilt
from skylift.runner.server.prefix import Prefix
from skylift.runner.server.program import GRACE, Program, kill_session
from skylift.runner.server.recovery import Past
from skylift.runner.server.results import Results, Syncing
from skylift.runner.server.shipper import Shipper
from skylift.runner.server.spot_notice import Notice, Notices, how_bought
from skylift.runner.server.status import Status, now_iso
from skylift.runner.server.stop_instead import ask_to_stop
from skylift.runner.server.stream import DEFAULT_CAP, Stream, cuts
from skylift.runner.server.terminal import Terminal
from skylift.runner.server.unpack import clear_away, make_folder, sha256_of, unpack
from skylift.runner.server.uv import Uv

T = TypeVar("T")

_SHUTDOWN = 2.0
"""Seconds within which everybody on a server has heard that it shuts down."""
_TRYING = 10.0
"""Seconds for which results are sent before a server asks again to be stopped."""
_FLEET_PATIENCE = 300
"""Seconds in which a job's fleet must be gone; longer, and the server goes before it."""


def supervise(options: argparse.Namespace, aws: Aws, prefix: Prefix, ledger: Ledger, kept: Kept) -> None:
    """Called by the boot program once all of the supervisor is there."""
    supervisor = Supervisor(options, aws, prefix, ledger, kept)
    sys.excepthook = supervisor.report_crash
    supervisor.run()


class Supervisor:
    """Each step of `run` is a method below it."""

    def __init__(self, options: argparse.Namespace, aws: Aws, prefix: Prefix, ledger: Ledger, kept: Kept) -> None:
        self._ledger, self._kept = ledger, kept
        self._options, self._aws, self.prefix = options, aws, prefix
        self._root = Path(options.root)
        self._deadline = float(options.deadline)
        self._job = options.prefix.rstrip("/").rsplit("/", 1)[-1]
        self._folder = self._root / "var/lib/skylift" / self._job
        self._login = Login(options.user, self._root, self._job, options.region)
        self.changed = threading.Condition()
        self.status = Status(self._job, self.changed)
        self.streams: List[Stream] = []
        self.terminal: Optional[Terminal] = None
        self.program = Program(ledger, kept.told)
        self._cancelled = threading.Event()
        self._asked = threading.Event()
        self._standing: Optional[Standing] = None
        self._kept_until = 0.0
        self._record: Dict[str, Any] = {}
        self._results: Optional[Results] = None
        self._prebuilt: Optional[Prebuilt] = None
        self._patience = 0.0
        self._claimed = False
        self._attempt: Optional[Attempt] = None
        self._checkpoint: Optional[Checkpoint] = None
        self._notice: Optional[Notice] = None
        self._running_since = self._ended = 0.0

    def run(self) -> None:
        self.look_back()
        if self._past.delivered:
            return self.leave()
        together(self.introduce, self.read_record)
        if not self.claim_attempt():
            say("the job has ended, or another server has it; turning off")
            return power_off()
        if self.was_told():
            return self.leave()
        self.open_door()
        try:
            if self._past.may_have_started or self._past.verdict:
                self.take_up()
            else:
                self.clear()
                self.unpack()
                self.make_environment()
                self.run_program()
        except Ended as end:
            self._forget_secrets()
            self._conclude(before_start(end))
        if self._verdict.state == "interrupted":
            return self.pass_on()
        self.deliver()
        return self.keep()

    # The steps.

    def look_back(self) -> None:
        self._past = Past(self._root, self._folder, self._ledger)
        signal.signal(signal.SIGTERM, lambda number, frame: self._go_down())

    def _go_down(self) -> None:
        """The server's end, of which the program hears at the same time."""
        self._ledger.note(down=time.time())
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGTERM)

    def introduce(self) -> None:
        self._instance = self._try("instance id", self._aws.instance)
        before = self._past.said["start"]["status"] if self._past.may_have_started else {"booted": now_iso()}
        self.status.set(**before, instance=self._instance)

    def _try(self, what: str, call: Callable[[], T], until: Optional[float] = None) -> T:
        return patiently(what, call, self._deadline - RESERVE if until is None else until)

    def read_record(self) -> None:
        found = self._try("record", lambda: self.prefix.get("record.json"))
        if found is None:
            raise Refused(404, "the job has no record")
        self._record = json.loads(found)
        if self._record["version"] != 1:
            raise Refused(200, "the record has version %s, not 1" % self._record["version"])
        self._cwd = self._login.place / self._record["cwd"]

    def claim_attempt(self) -> bool:
        """Exactly one server may run the program. An answer that was lost is told by whose name stands there."""
        if self._spot is not None:
            return self._claim_next()
        self._claimed = self._claim_first(self._deadline - RESERVE)
        return self._claimed

    def _claim_first(self, until: float, **more: Any) -> bool:
        instance, key = self._aws.instance(), key_of(1)
        body = json.dumps({"instance": instance, "claimed": now_iso(), **more}).encode()
        if self._try("claim", lambda: self.prefix.put(key, body, first=True), until):
            return True
        found = self._try("claim", lambda: self.prefix.get(key), until)
        return found is not None and json.loads(found)["instance"] == instance

    @property
    def _spot(self) -> Optional[Dict[str, Any]]:
        """{"checkpoint"} of a job whose server may be taken away, and another one brought in its place."""
        found: Optional[Dict[str, Any]] = self._record.get("spot")
        return found

    @property
    def _beat(self) -> float:
        assert self._spot is not None
        return float(self._spot.get("beat", BEAT))

    def _claim_next(self) -> bool:
        attempts = Attempts(self.prefix, self._aws, self._deadline - RESERVE, self._beat)
        self._attempt = attempts.claim()
        self._claimed = self._attempt is not None
        if self._attempt is not None:
            bought = self._try("type", lambda: how_bought(Metadata(self._options.imds)))
            checkpoint = self._attempt.fields.get("checkpoint")
            self.status.set(attempt=self._attempt.number, checkpoint=checkpoint, **bought)
            return True
        if attempts.final is not None:
            # Its server told of the end here first: it may not have come to the rest.
            body = json.dumps(attempts.final).encode()
            self._try("status", lambda: self.prefix.put("server/status.json", body))
            self._remove_secrets()
            self._let_fleet_go()
        return False

    def _let_fleet_go(self) -> None:
        """Before this server goes off, or another one would come."""
        until = min(self._deadline - LAST, time.time() + _FLEET_PATIENCE)
        delete_fleet(self._aws, Metadata(self._options.imds), self.prefix, until)

    def was_told(self) -> bool:
        """Whether an earlier supervisor has told the job's end, and was ended before it could note that. What somebody
        may have read stays as it is: the server's own end, since, might make another end of it."""
        if not self._past.verdict:
            return False
        over = self._attempt.fields.get("over") if self._attempt is not None else None
        told = (over or {}).get("final") or {}
        key = "server/status.json"
        if told:
            # Where a next server looks comes first, and it may have been all that was written.
            self._try("status", lambda: self.prefix.put(key, json.dumps(told).encode()))
            self._remove_secrets()
        # Of a missing object we do not hear that it is missing, but we can try to be the first to write it.
        elif not self._try("status", lambda: self.prefix.put(key, self.status.encoded(), first=True)):
            found = self._try("status", lambda: self.prefix.get(key))
            told = json.loads(found) if found is not None else {}
        if not told.get("final") or told.get("instance") != self._instance:
            return False
        noted = {"kept_until": told.get("kept_until"), "spot": self._spot is not None}
        self._ledger.note(delivered=True, **noted)
        self._past.said.update(noted)
        return True

    def open_door(self) -> None:
        owner = (self._login.uid, self._login.gid)
        cap = self._record.get("log_cap") or DEFAULT_CAP
        before = self._attempt.fields if self._attempt is not None else {"bases": {}, "cut": {}}
        self.streams = [
            Stream(name, self._folder, self.changed, owner, cap, before["bases"].get(name, 0), before["cut"].get(name))
            for name in ("stdout", "stderr")
        ]
        if self._record.get("terminal"):
            self.terminal = Terminal(self._kept, self.streams[0])
        self._door = Door(self._root / "run/skylift" / (self._job + ".sock"), self._login.gid, self)
        self._shipper = Shipper(self.prefix, self.streams, self.status, self._folder)
        threading.Thread(target=self._listen_for_cancel, daemon=True).start()
        if self._attempt is not None:
            self._look_out(self._attempt)

    def _look_out(self, attempt: Attempt) -> None:
        """For what only a server hears that may be taken away, and others must hear of it."""
        assert self._spot is not None
        if self._spot.get("checkpoint"):
            path, spool = self._cwd / self._spot["checkpoint"], self._folder / "checkpoint"
            self._checkpoint = Checkpoint(path, self.prefix, attempt, self._login.user, spool)
        attempt.beat(self._beat, self._how_far)
        told = (self._heed, self._note_notice, self.program.kill_session, self._foresee)
        self._notices = Notices(Metadata(self._options.imds), self._options.poll, *told)

    def _how_far(self) -> Dict[str, Any]:
        told: Dict[str, Any] = {"shipped": self._shipper.shipped, "cut": cuts(self.streams)}
        if self._running_since:
            told.update(running=(self._ended or time.time()) - self._running_since)
        if self._results is not None:
            told.update(results=self._results.latest)
        return told

    def _heed(self, notice: Notice) -> None:
        """The server will be taken away. What an earlier supervisor has told the program is not told it again."""
        self._note_notice(notice)
        if self._past.said.get("told") != notice.when:
            if self._checkpoint is not None:
                self._checkpoint.mark()
            self._ledger.note(notice=notice.when)
            self.program.interrupt()
            self._ledger.note(told=notice.when)

    def _note_notice(self, notice: Optional[Notice]) -> None:
        """Also one that has another time now, or None that was taken back: of that the program is not told."""
        self._notice = notice
        self.status.set(notice=None if notice is None else {"action": notice.action, "time": notice.when})

    def _goes_on_elsewhere(self, code: int) -> bool:
        """Of a program that was told that its server is taken away."""
        said = self._ledger.read()
        if self.program.ended_as_asked(code):
            return False
        when, ended = said.get("notice", 0.0), said.get("ended", time.time())
        return is_answer(code, stands=self._notices.stands(), when=when, ended=ended)

    def _foresee(self) -> None:
        """It may be taken away before long, or never: nothing ends by that."""
        self.status.set(rebalance=now_iso())
        if self._checkpoint is not None:
            self._checkpoint.hurry()

    def unpack(self) -> None:
        self.status.set(state="unpacking")
        login, archive = self._login, self._folder / "bundle.tar.gz"
        shelf, digest = Prefix(self._aws, self._options.bucket, SHELF), self._record["bundle_sha256"]
        self._try("bundle", lambda: shelf.fetch(digest, archive))
        if sha256_of(archive) != digest:
            raise Ended("broken", "The bundle that arrived is not the one that was sent.")
        clear_away(login.place)
        unpack(archive, login.place, login.user)
        archive.unlink()
        self._fetch_inputs(shelf)
        make_folder(self._cwd, login.place, login.user)
        self._secrets: Dict[str, str] = {}
        if self._record["has_env"]:
            found = self._try("environment values", lambda: self.prefix.get("in/env.json"))
            if found is None:
                raise Ended("broken", "The job's --env values are not in its prefix.")
            self._secrets = json.loads(found)
        self._results = self._expect_results()
        if self._checkpoint is not None:
            self._checkpoint.restore(login.place, self._deadline - RESERVE)
            self._tell_checkpoint()

    def _expect_results(self) -> Results:
        outputs, journal = self._record["outputs"], self._folder / "sent"
        results = Results(self.prefix, self._login.place, self._cwd, outputs, journal)
        if self._attempt is not None:
            results.inherit(self._attempt.fields["results"])
        if self._checkpoint is not None:
            results.leave_out(self._checkpoint.path)
        return results

    def _fetch_inputs(self, shelf: Prefix) -> None:
        kept, large = self._root / "var/lib/skylift/inputs", self._record.get("large", [])
        inputs = Inputs(self._login.place, self._login.user, self.program, self._deadline - RESERVE, kept)
        inputs.fetch_large(shelf, large)
        if self._record["keep"]:
            inputs.keep_large(large)
        if self._record.get("has_s3"):
            found = self._try("inputs in S3", lambda: self.prefix.get("in/s3.json"))
            if found is None:
                raise Ended("broken", "What the job reads from S3 is not in its prefix.")
            inputs.fetch_s3(self._aws, json.loads(found))

    def make_environment(self) -> None:
        log = self._folder / "environment.log"
        folder, path = self._root / "var/lib/skylift/tools", self._login.environment()["PATH"]
        uv = Uv(self._record.get("uv"), self._fetch_tool, folder, path)
        self._environment = Environment(self._record["environment"], self._login, self.program, log, uv)
        if self._environment.wanted:
            self.status.set(state="environment")
            named = self._record.get("prebuilt")
            recipe = named["place"].rpartition("/")[0] if named else ""
            mark = self._root / "var/lib/skylift/environment"
            standing = Standing(mark, self._environment.folders, self._login.home / ".cache/uv", recipe)
            if named:
                shelf = Prefix(self._aws, self._options.bucket, named["place"])
                self._prebuilt = Prebuilt(shelf, named, self._login, self._environment.folders)
            began = time.monotonic()
            came = self._environment.make(self._prebuilt, standing)
            seconds = round(time.monotonic() - began, 3)
            self.status.set(environment=came, environment_seconds=seconds)
            if self._record["keep"]:
                self._standing = standing
                standing.note(self._environment.lock)

    def _fetch_tool(self, key: str, place: Path) -> None:
        folder, _, name = key.rpartition("/")
        shelf = Prefix(self._aws, self._options.bucket, folder)
        self._try(name, lambda: shelf.fetch(name, place))

    def run_program(self) -> None:
        argv, found = list(self._record["argv"]), self._environment
        if self._record["python"]:
            argv[0] = found.python
        env = self._login.environment()
        if found.bin:
            env.update(PATH=found.bin + ":" + env["PATH"], VIRTUAL_ENV=os.path.dirname(found.bin))
        env.update(self._secrets)
        env.update(SKYLIFT_ATTEMPT=str(self.status.fields["attempt"]))
        self._memory = Memory()
        self._note_start()
        try:
            if self.terminal is not None:
                self._start_before(self.terminal, argv, env)
            else:
                self._start(argv, env)
        except OSError as error:
            code = 127 if isinstance(error, FileNotFoundError) else 126
            raise Ended("failed", "%s could not be started: %s." % (argv[0], error.strerror), exit_code=code) from None
        self._watch_program()

    def _start(self, argv: List[str], env: Dict[str, str]) -> None:
        out, err = (stream.end_for_program() for stream in self.streams)
        try:
            self.program.start(
                argv, "pid", cwd=str(self._cwd), env=env, stdin=subprocess.DEVNULL, stdout=out, stderr=err, umask=0o022,
                **self._login.identity(),
            )  # fmt: skip
        finally:
            os.close(out)
            os.close(err)

    def _start_before(self, terminal: Terminal, argv: List[str], env: Dict[str, str]) -> None:
        wanted = self._record["terminal"]
        end = terminal.for_program(self._login.user, wanted["rows"], wanted["columns"])
        self.program.start(
            argv, "pid", terminal=True, cwd=str(self._cwd), env=dict({"TERM": wanted["term"]}, **env),
            stdin=end, stdout=end, stderr=end, umask=0o022, **self._login.identity(),
        )  # fmt: skip

    def _note_start(self) -> None:
        """From here on the program is never started again, and what is new is its own: a lock or a build of its project
        is not."""
        assert self._results is not None
        told = {"state": "running", "booted": self.status.fields["booted"], "started": now_iso()}
        self._started = time.time()
        if self._attempt is not None:
            begun = self._attempt.fields.setdefault("begun", told["started"])
            told.update(started=begun)
        self._ledger.note_for_good(
            start={
                "boot": self._past.boot,
                "time": self._started,
                "arrived": self._results.arrived(),
                "kills": self._memory.before,
                "status": told,
            }
        )
        self._begun = told

    def clear(self) -> None:
        """What an earlier supervisor was at when it was ended: it is done anew."""
        if "helper" in self._past.said:
            kill_session(self._past.said["helper"])
        self.program.recall(self._past.said.get("ending", ""))

    def take_up(self) -> None:
        """Where an earlier supervisor left off: its program runs, or has ended, or went down with the server."""
        start = self._past.said.get("start")
        if start is not None:
            self._results = self._expect_results()
            self._results.had(start["arrived"])
            self._memory = Memory(before=start["kills"])
            self._started, self._begun = start["time"], start["status"]
            self._running_since, self._ended = start["time"], self._past.said.get("ended", 0.0)
            if self._past.rebooted:
                reason = "The server was rebooted, or stopped and started, while the program ran."
                raise Ended("rebooted", reason, exit_code=REBOOTED)
        if self._past.verdict:
            return self._conclude(Verdict(**self._past.verdict["verdict"]), **self._past.verdict["more"])
        say("an earlier supervisor was ended; this one takes over")
        known, said = self._past.end_is_known(), self._past.said
        self.program.inherit(said["pid"], said.get("end"), said.get("ending", ""), known=known)
        if self.terminal is not None:
            self.terminal.go_on()
        return self._watch_program()

    def _watch_program(self) -> None:
        started = self._started
        self.status.set(**self._begun, pid=self.program.pid)
        self._forget_secrets()
        if self._prebuilt is not None:
            self._prebuilt.keep()
        self._running_since = started
        ran = self._attempt.fields["ran"] if self._attempt is not None else 0.0
        if self._checkpoint is not None:
            self._checkpoint.keep(self._tell_checkpoint)
        last = self._deadline - RESERVE - GRACE
        until = min(started + self._record["max_time"] - ran, last)
        cap = threading.Timer(max(0.0, until - time.time()), self.program.end, ["timed-out"])
        cap.daemon = True
        cap.start()
        idleness = self._watch_idleness()
        syncing = self._sync_results()
        try:
            code = self.program.wait()
        finally:
            cap.cancel()
            for watcher in (idleness, syncing):
                if watcher is not None:
                    watcher.stop()
        self._ended = self._ended or time.time()
        words = {
            "timed-out": "The program was ended at its cap of %d s (%s)."
            % (self._record["max_time"], self._record.get("cap", "--max-time")),
            "idle": "The program was ended: %d s without output or work (--idle)." % self._record.get("idle", 0),
            "cancelled": "The job was cancelled.",
            "interrupted": "The server is taken away; the job goes on on another one.",
        }
        ending = self.program.ending
        if ending == "interrupted" and not self._goes_on_elsewhere(code):
            ending = ""
        if not ending and (code in BY_SIGTERM or (code != 0 and self._spot is not None)):
            # If the server goes down without a notice, we hear of it in this time, too, and the program has not ended.
            time.sleep(_SHUTDOWN)
        verdict = judge(code, ending, words, self._memory.kills(), self._memory.limit())
        self._conclude(verdict, program_seconds=round(ran + self._ended - started, 3))

    def _tell_checkpoint(self) -> None:
        assert self._attempt is not None
        assert self._checkpoint is not None
        told = {"checkpoint": self._attempt.fields.get("checkpoint")}
        self.status.set(**told, checkpoint_refused=self._checkpoint.refused or None)

    def _watch_idleness(self) -> Optional[Idleness]:
        seconds = self._record.get("idle", 0)
        if not seconds:
            return None
        return Idleness(
            seconds,
            self._login.uid,
            lambda: sum(stream.size for stream in self.streams),
            lambda: self.program.end("idle"),
        )

    def _sync_results(self) -> Optional[Syncing]:
        seconds = self._record.get("sync_every", 0)
        return Syncing(self._results, seconds) if seconds and self._results is not None else None

    def _forget_secrets(self) -> None:
        if self._spot is None:
            threading.Thread(target=self._remove_secrets, daemon=True).start()
        # The next server of a spot job needs them, too; they go with its end.

    def _remove_secrets(self, until: Optional[float] = None) -> None:
        if self._record["has_env"]:
            self._try("removing --env values", lambda: self.prefix.delete("in/env.json"), until)

    def _conclude(self, verdict: Verdict, **more: Any) -> None:
        """The verdict stands, whoever delivers it. The state is what it says only when all has been delivered."""
        self._end_what_is_left()
        if self.terminal is not None:
            self.terminal.finish()
        for stream in self.streams:
            stream.finish()
        self._verdict = verdict
        more.setdefault("ended", now_iso())
        self._ledger.note(verdict={"verdict": verdict.fields(), "more": more})
        self._patience = min(self._deadline - RESERVE, time.time() + self._options.patience)
        if verdict.state == "interrupted":
            return self.status.set(state="interrupted")
        return self.status.set(state="uploading", exit_code=verdict.exit_code, signal=verdict.signal, **more)

    def _end_what_is_left(self) -> None:
        """What comes home is to keep still. Of little time, most is for sending it."""
        last = self._notice.when if self._notice is not None else self._deadline - HOLD
        left = LeftRunning(self._kept.keeper, self._login.uid, self._job, whole_machine=self._root == Path("/"))
        left.end(min(GRACE, max(0.0, last - time.time()) / 4))
        self.program.kill_session()

    def pass_on(self) -> None:
        """To the server that comes next: all that it needs to go on, and at last that it may."""
        assert self._attempt is not None
        until, results = min(self._patience, self._notice.when if self._notice else self._patience), self._results
        try:
            together(
                lambda: self._shipper.finish(until),
                lambda: results.send(until, final=False) if results is not None else None,
                lambda: self._finish_checkpoint(until),
            )
            self._try("status", lambda: self.prefix.put("server/status.json", self.status.encoded()), until)
            self._attempt.end(until, **self._how_far(), over={"interrupted": now_iso()})
            self._ledger.note(delivered=True)
        except (Unreachable, Refused, OSError) as error:
            say("the next server will find less than there is: %s" % error)
        # Who watches would wait for an end; what comes instead is in the prefix.
        power_off()

    def _finish_checkpoint(self, until: float) -> None:
        if self._checkpoint is None or not self._running_since:
            return
        taken = self._checkpoint.finish(until, by_itself=self._verdict.signal is None)
        if not taken and not self._checkpoint.refused:
            say("the checkpoint was being written when the program ended: the one before counts")
        self._tell_checkpoint()

    def deliver(self) -> None:
        """What goes well may go on until the server must be stopped if its disk is to be kept."""
        patience = Patience(self._options.patience, self._deadline - RESERVE, self._deadline - HOLD)
        # What is under way at that time need not be over before it is too late.
        late = threading.Timer(max(0.0, self._deadline - HOLD + 5 - time.time()), self._ask_to_stop)
        late.daemon = True
        late.start()
        delivered = self._deliver(patience)
        late.cancel()
        if not delivered:
            self._hold_results()

    def _deliver(self, patience: Patience) -> bool:
        """Streams, results, manifest, and last the final status: who reads that can rely on all the rest."""
        try:
            results = self._results
            together(
                lambda: self._shipper.finish(patience),
                lambda: results.send(patience, final=True) if results is not None else None,
            )
            until = patience.rest()
            if self._prebuilt is not None:
                self._prebuilt.stop(self._cancelled.is_set)
            sizes = {stream.name: stream.size for stream in self.streams}
            lost = sum(stream.lost for stream in self.streams)
            kept = self._record["keep"]
            self._kept_until = time.time() + kept if kept else 0.0
            end = self._verdict.fields()
            end.update(final=True, streams=sizes, lost=lost, cut=cuts(self.streams))
            end.update(kept_until=self._kept_until or None, role=self._aws.role)
            if self._attempt is not None:
                # First of all where a next server looks: it must not begin a job anew that has ended.
                told = json.loads(self.status.encoded(**end))
                self._attempt.end(until, **self._how_far(), over={"final": told})
            # Who was to remove them when the program had started may have had no answer yet, or been ended. Not before
            # the attempt's end: a next server could neither begin the job without them, nor know that it has ended.
            self._remove_secrets(until)
            self._try("status", lambda: self.prefix.put("server/status.json", self.status.encoded(**end)), until)
        except (Unreachable, Refused, OSError) as error:
            # Of this machine too: a disk that fails for a moment is no end of the job.
            say("the job's end could not be delivered: %s" % error)
            self._kept_until = 0.0
            return False
        self._ledger.note(delivered=True, kept_until=self._kept_until, spot=self._spot is not None)
        # Last: a client that hears of the end takes this server's role away.
        self.status.set(**end)
        if self._attempt is not None:
            self._let_fleet_go()
        return True

    def leave(self) -> None:
        """All was done before us, but for the server's end."""
        if self._past.said.get("spot"):
            self._let_fleet_go()
            return power_off()
        if "next" in self._past.said:
            return None
        threading.Thread(target=self._listen_for_cancel, daemon=True).start()
        until = self._past.said.get("kept_until") or 0.0
        return self._stay(until, told=until > 0)

    def keep(self) -> None:
        self._door.close()
        if self._record["keep"]:
            say("job done; the server stays for %d s" % self._record["keep"])
            if self._standing is not None:
                self._standing.confirm()
        return self._stay(self._kept_until, told=self._kept_until > 0)

    def _stay(self, until: float, told: bool = False) -> None:
        """The keeper goes on with the next job, if one comes; else this is the server's end. Whoever was `told` that we
        wait has to hear that we do not, also where the time is over by now."""
        until = min(until, self._deadline)
        found = None
        if told or (until > time.time() and not self._cancelled.is_set()):
            # The operating system keeps to the shorter time as well, whatever becomes of us.
            arm_timer(min(self._deadline, until + RESERVE))
            self._kept.foresee()
            handover = Handover(self.prefix, self._job, self._other, self._asked, self._cancelled)
            found = handover.wait(until)
        if found is None:
            return power_off()
        for stream in self.streams:
            stream.forget()
        return self._ledger.note_for_good(next=found)

    def _other(self, job: str) -> Prefix:
        return Prefix(self._aws, self._options.bucket, "jobs/" + job)

    def _hold_results(self) -> None:
        """Results that nobody has yet are kept by stopping, not terminating. What answers first decides: they may
        be delivered after all. Where stopping is refused, they are tried again until the timer ends the server."""
        # Of a spot job, another server would come at once and begin anew.
        may_stop, pause = self._spot is None, 1.0
        self._ledger.note(stranded=True)
        while time.time() < self._deadline - LAST:
            now, end = time.time(), self._deadline - LAST
            if may_stop:
                may_stop, end = self._ask_to_stop(), min(end, now + _TRYING)
            if self._deliver(Patience(0.0, now, end)):
                return
            time.sleep(pause)
            pause = min(pause * 1.6, 30)
        say("the results could not be delivered until the end, and are lost")

    def _ask_to_stop(self) -> bool:
        """Does not come back from a server that will be stopped; whether it is worth asking again."""
        if self._spot is not None:
            return False
        self._ledger.note(stranded=True)
        try:
            ask_to_stop(self._aws, self._instance)
        except Unreachable as error:
            say("this server cannot be stopped yet: %s" % error)
            return True
        except Refused as error:
            say("this server cannot be stopped, so its results are tried again until it goes off: %s" % error)
            return False
        threading.Event().wait(max(0.0, self._deadline - time.time()))
        return False

    # What goes on beside the steps.

    def ask(self) -> None:
        """Somebody says that another job is there for this server."""
        self._asked.set()

    def cancel(self, why: str) -> None:
        self._cancelled.set()
        self._asked.set()
        self.program.end(why)

    def _listen_for_cancel(self) -> None:
        """The way to end a job that needs no SSH; asked every few seconds, for as long as the server is up."""
        while not self._cancelled.wait(self._options.poll):
            try:
                if self.prefix.get("in/cancel") is not None:
                    self.cancel("cancelled")
            except (Unreachable, Refused):
                continue

    def report_crash(self, kind: Type[BaseException], error: BaseException, trace: Optional[TracebackType]) -> None:
        """The excepthook: a defect of ours, or a prefix that cannot be used, is told and the server still goes off."""
        trouble = "".join(traceback.format_exception(kind, error, trace))
        say(trouble)
        if self._spot is not None and self._attempt is None:
            # Another server may have the job, and goes on with it.
            return power_off()
        if self.status.fields["final"] or self._ledger.read().get("delivered"):
            # How the job ended has been told; what comes after that is no end of it.
            return power_off()
        end = {
            "state": "broken",
            "final": True,
            "exit_code": 125,
            "reason": "skylift's supervisor failed: %s" % error,
            "detail": trouble[-4096:],
        }
        body, until = self.status.encoded(**end), time.time() + 60
        try:
            if not self._claimed and not self._claim_first(until, over={"final": json.loads(body)}):
                # Another server has the job, and its end is not for us to tell.
                return None
            if self._attempt is not None:
                self._attempt.end(until, over={"final": json.loads(body)})
            patiently("status", lambda: self.prefix.put("server/status.json", body), until)
        except (Unreachable, Refused) as second:
            say("the failure could not be reported: %s" % second)
        finally:
            self.status.set(**end)
            if self._attempt is not None:
                self._let_fleet_go()
            power_off()
        return None
