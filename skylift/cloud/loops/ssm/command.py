"""Runs commands on their servers and writes down what became of them.

A command waits for a server that is off, until it expires. A script is begun once: a cloud that was restarted asks the
server for the end of what runs there.
"""

from __future__ import annotations

import logging
import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Protocol

from skylift.cloud.compute.error import ComputeError
from skylift.cloud.compute.server.script import Closing, ServerOff, Unresponsive
from skylift.cloud.domain.command import (
    STDERR,
    STDOUT,
    TRUNCATED,
    UNFINISHED,
    Command,
    CommandInvocation,
    Script,
    ScriptEnd,
    Status,
)
from skylift.cloud.domain.instance import Instance
from skylift.cloud.loops.guard import guarded
from skylift.cloud.loops.work import Work
from skylift.cloud.store.command import unfinished
from skylift.cloud.store.database import Database, Tx

log = logging.getLogger(__name__)

MARGIN = timedelta(milliseconds=50)
"""Timers go off this much late, so that their time has come."""
AGAIN = 1.0
"""Seconds until the next request to a server that has just ended, or is paused for a moment."""
TRIES = 10
"""The number of requests to a server that runs and does not answer."""
OF_SERVER = 5
"""The most scripts at once on a server, as the agent has it; the next ones wait for their turn, until they expire.
https://github.com/aws/amazon-ssm-agent/blob/mainline/README.md (CommandWorkersLimit)
"""
AT_ONCE = 4096
"""The most threads. Each waits for one script. All servers of one machine together need fewer."""
STEP_SUCCEEDED = 168
"""With this exit code a script succeeds, and no further step of the document runs.
https://github.com/aws/amazon-ssm-agent/blob/mainline/agent/framework/runpluginutil/runpluginutil.go
"""
_MARKED = "\nStep exited with code 168. Therefore, marking step as succeeded. Further document steps will be skipped."

ScriptOf = Callable[[Command, str], Script]
"""(command, instance id) -> the script that the server runs."""
Allowance = Callable[[str, int], int]
"""(a number or a percentage, a number of servers) -> the number."""


class ScriptRunner(Protocol):
    """The part of compute that this loop drives; see compute/server/script.py."""

    def run(self, server_id: str, script: Script) -> ScriptEnd: ...
    def cancel(self, server_id: str, key: str) -> None: ...
    def close(self) -> None: ...


@dataclass(frozen=True)
class Rules:
    """The services' rules of documents and limits."""

    script_of: ScriptOf
    allowance: Allowance


@dataclass(eq=False)
class CommandLoop:
    """`changed()` has the loops run again, `wake_in(seconds)` after a while."""

    database: Database
    scripts: ScriptRunner
    rules: Rules
    changed: Callable[[], None]
    wake_in: Callable[[float], None]

    def __post_init__(self) -> None:
        self._work = Work("command", self._carry_out, AT_ONCE)
        self._cancelling = Work("cancelled command", self._cancel, workers=2)
        self._lock = threading.Lock()
        self._begun: set[str] = set()
        """The invocations that a thread of this process works on."""
        self._unheard: Counter[str] = Counter()
        """How often in a row a server did not answer."""

    def step(self) -> None:
        with self.database.read() as tx:
            waiting: dict[str, list[CommandInvocation]] = defaultdict(list)
            busy: Counter[str] = Counter()
            for each in unfinished(tx):
                waiting[each.command_id].append(each)
                busy[each.instance_id] += each.status != "Pending"
        for command_id, invocations in waiting.items():
            guarded(f"command {command_id}", partial(self._see_to, command_id, invocations, busy))

    def close(self) -> None:
        """Waits for no script any more; scripts go on."""
        self.scripts.close()
        self._work.close()
        self._cancelling.close()

    def wait_until_idle(self) -> None:
        self._work.wait_until_idle()

    def _see_to(self, command_id: str, invocations: list[CommandInvocation], busy: Counter[str]) -> None:
        with self.database.read() as tx:
            command = tx.get(Command, id=command_id)
            if command is None:
                return
            everybody = tx.find(CommandInvocation, command_id=command_id)
            servers = {each.instance_id: tx.get(Instance, id=each.instance_id) for each in invocations}
            now = tx.now
        at_work = sum(each.status in ("InProgress", "Cancelling") for each in everybody)
        room = self.rules.allowance(command.max_concurrency, len(everybody)) - at_work
        for each in invocations:
            server = servers[each.instance_id]
            if (end := self._given_up(command, everybody, each, server, now)) is not None:
                self._end(each, *end)
            elif server is None or server.state != "running" or server.rebooting:
                continue
            elif each.status != "Pending":
                self._submit(each)
            elif room > 0 and busy[each.instance_id] < OF_SERVER and self._begin(each):
                room -= 1
                busy[each.instance_id] += 1
                self._submit(each)
        if now < command.expires:
            self.wake_in((command.expires - now + MARGIN).total_seconds())

    def _given_up(
        self,
        command: Command,
        everybody: Iterable[CommandInvocation],
        each: CommandInvocation,
        server: Instance | None,
        now: datetime,
    ) -> tuple[Status, str] | None:
        """The end of a command on a server where it was not run to its end; None if it still has to run."""
        if server is None or server.state in ("shutting-down", "terminated"):
            return "Failed", "Undeliverable"
        if each.status == "Pending":
            failed = [one for one in everybody if one.status == "Failed" or one.details == "ExecutionTimedOut"]
            if len(failed) > self.rules.allowance(command.max_errors, len(list(everybody))):
                return "Cancelled", "Terminated"
        if now >= command.expires and (each.status == "Pending" or server.state != "running"):
            return "TimedOut", "DeliveryTimedOut"
        return None

    def _begin(self, each: CommandInvocation) -> bool:
        """False if it was cancelled since it was read."""
        with self.database.write() as tx:
            current = _current(tx, each)
            if current is None or current.status != "Pending":
                return False
            tx.save(replace(current, status="InProgress", details="InProgress", begun=tx.now))
        return True

    def _submit(self, each: CommandInvocation) -> None:
        key = _key(each)
        with self._lock:
            news = key not in self._begun
            self._begun.add(key)
        if news:
            self._work.submit(key)
        if each.status == "Cancelling":
            self._cancelling.submit(key)

    def _carry_out(self, key: str) -> None:
        command_id, instance_id = key.split("/")
        try:
            with self.database.read() as tx:
                command = tx.get(Command, id=command_id)
                each = tx.get(CommandInvocation, command_id=command_id, instance_id=instance_id)
            if command is None or each is None or each.status not in UNFINISHED:
                return
            try:
                end = self.scripts.run(instance_id, self.rules.script_of(command, instance_id))
            except Closing:
                return
            except ServerOff:
                # Its end is about to be noted, or its start: it is asked again then.
                self.wake_in(AGAIN)
                return
            except Unresponsive as error:
                self._unheard[key] += 1
                if self._unheard[key] < TRIES:
                    self.wake_in(AGAIN)
                    return
                end = ScriptEnd("lost", -1, "", str(error))
            except ComputeError as error:
                log.error("command %s: %s: %s", command_id, instance_id, error)
                end = ScriptEnd("lost", -1, "", str(error))
            if end.how == "exited" and end.code == STEP_SUCCEEDED:
                end = replace(end, stdout=end.stdout + _MARKED, stderr="")
            del self._unheard[key]
            self._end(each, *_outcome(end), end)
        finally:
            with self._lock:
                self._begun.discard(key)

    def _cancel(self, key: str) -> None:
        command_id, instance_id = key.split("/")
        try:
            self.scripts.cancel(instance_id, command_id)
        except Closing:
            return
        except ComputeError as error:
            log.error("command %s: %s: not cancelled: %s", command_id, instance_id, error)

    def _end(self, each: CommandInvocation, status: Status, details: str, end: ScriptEnd | None = None) -> None:
        with self.database.write() as tx:
            current = _current(tx, each)
            if current is None or current.status not in UNFINISHED:
                return
            ended = replace(current, status=status, details=details, ended=tx.now if current.begun else None)
            if end is not None:
                stdout, stderr = shortened(end.stdout, STDOUT), shortened(end.stderr, STDOUT)[:STDERR]
                ended = replace(ended, code=end.code, stdout=stdout, stderr=stderr)
            tx.save(ended)
        log.info("command %s: %s: %s", each.command_id, each.instance_id, details)
        self.changed()


def shortened(text: str, most: int) -> str:
    """As the agent does it: what is as long as can be is cut as well.

    https://github.com/aws/amazon-ssm-agent/blob/mainline/agent/plugins/pluginutil/pluginutil.go (StringPrefix)
    """
    return text if len(text) < most else text[: most - len(TRUNCATED)] + TRUNCATED


def _outcome(end: ScriptEnd) -> tuple[Status, str]:
    match end.how:
        case "timed-out":
            return "TimedOut", "ExecutionTimedOut"
        case "cancelled":
            return "Cancelled", "Cancelled"
        case "exited" if end.code in (0, STEP_SUCCEEDED):
            return "Success", "Success"
    return "Failed", "Failed"


def _key(each: CommandInvocation) -> str:
    return f"{each.command_id}/{each.instance_id}"


def _current(tx: Tx, each: CommandInvocation) -> CommandInvocation | None:
    return tx.get(CommandInvocation, command_id=each.command_id, instance_id=each.instance_id)
