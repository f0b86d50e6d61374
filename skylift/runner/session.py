"""The second half of a run, by whoever is there: stream the output, collect the results, put away what is left."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from enum import Enum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from skylift.runner.collect.bigger_type import name_bigger_type
from skylift.runner.collect.outcome import conclude
from skylift.runner.collect.results import Manifest, bring_home, read_manifest
from skylift.runner.errors import SkyliftError, Unreachable
from skylift.runner.job.outcome import INTERRUPTED, Outcome
from skylift.runner.job.record import Prefix
from skylift.runner.job.server import Server
from skylift.runner.job.server_record import Status
from skylift.runner.job.states import State
from skylift.runner.jobs.jobs import Jobs
from skylift.runner.launch import fleet, role
from skylift.runner.launch import server as launch
from skylift.runner.launch.host_keys import HostKeys
from skylift.runner.launch.kept_server import put_roles_away
from skylift.runner.launch.undo import write_off
from skylift.runner.price.run_price import run_cost, with_price
from skylift.runner.remote.account import Account
from skylift.runner.remote.reconnect import Reconnect
from skylift.runner.steps import Clock, in_thread, together
from skylift.runner.text.duration import moment
from skylift.runner.text.json_object import FOREVER
from skylift.runner.text.size import spell_size
from skylift.runner.watch.dial import Dial, RunningProgram
from skylift.runner.watch.forward import Forwards
from skylift.runner.watch.relocation import Relocation
from skylift.runner.watch.ssh_access import SshAccess
from skylift.runner.watch.stream import Follower
from skylift.runner.watcher import Keyboard, Watcher

if TYPE_CHECKING:
    from skylift.runner.remote.ssh import Connection


_ENVIRONMENTS = {"taken": "as it was built before", "kept": "there already"}


@dataclass(frozen=True)
class WatchedJob:
    """What somebody who attends a job knows of it. `started_it` is the client that made it, which takes down what a
    failure before the program's start would leave. `home` is where results go, `connection` one to the server that is
    open already, `choice` why its type was chosen, if it was. A `spot` job's server may be followed by others.
    `outputs`, `script`, `deadline` and `max_time` are what the job's record says of its results, its program's file,
    its end and its cap."""

    name: str
    home: Path
    keep: int
    instance_type: str
    server: Server | None
    host_keys: HostKeys | None = None
    started_it: bool = False
    connection: Connection | None = None
    interactive: bool = False
    choice: dict[str, Any] | None = None
    spot: bool = False
    outputs: tuple[str, ...] = ()
    script: str = ""
    deadline: float = FOREVER
    max_time: int = 0


class Phase(Enum):
    """How far a job is, as its session knows: what Ctrl-C means, and what is turned off at the end, hangs on it."""

    PREPARING = "preparing"
    RUNNING = "running"
    COLLECTING = "collecting"
    LOST = "lost"
    DETACHED = "detached"


class Session:
    """One job that its server has, until its outcome. `run` may be called once; `interrupt` is Ctrl-C."""

    def __init__(
        self,
        account: Account,
        job: WatchedJob,
        watcher: Watcher,
        clock: Clock,
        keyboard: Keyboard | None = None,
        forwards: Forwards | None = None,
        dial: Dial | None = None,
    ) -> None:
        self._keyboard, self._forwards, self._dial = keyboard, forwards or Forwards(()), dial
        self._account, self._job, self._watcher, self._clock = account, job, watcher, clock
        self._prefix = Prefix(job.name)
        self._access = SshAccess(
            account, job.name, job.server, job.host_keys, job.connection, booting=job.started_it, spot=job.spot
        )
        self._reconnect = Reconnect(account.api, watcher, account.settings.revive)
        self._follower = Follower(
            account.api,
            account.bucket,
            self._prefix,
            self._access.connect,
            self._access.server_is_gone,
            self._reconnect,
            watcher,
            self._see_status,
            self._see_start,
            dial.measured if dial is not None else None,
        )
        self._forwards.lead(lambda: self._follower.connection)
        self._phase = Phase.PREPARING
        self._interrupts = 0
        self._relocation = Relocation(watcher)
        self._away = False
        self._open_steps: dict[str, float] = {}
        self._task: asyncio.Task[Outcome] | None = None

    async def run(self) -> Outcome:
        """Raises SkyliftError when the job's end cannot be known, or its results cannot be had."""
        self._task = asyncio.ensure_future(self._run())
        try:
            return await self._task
        except asyncio.CancelledError:
            if not self._interrupts:
                raise
            detached = self._phase == Phase.DETACHED
            reason = "Left running; nobody is watching it here." if detached else "Interrupted."
            return self._outcome(State.DETACHED if detached else State.CANCELLED, INTERRUPTED, reason)

    async def _run(self) -> Outcome:
        await self._forwards.open()
        if self._keyboard is not None:
            self._keyboard.look(self._leave)
        try:
            if not self._job.started_it:
                await in_thread(self._access.let_in, self._watcher)
            status = await self._follower.run()
            status = status.until(self._job.deadline) if status is not None else None
            self._phase = Phase.COLLECTING if status is not None else Phase.LOST
            # What is to be brought home is in S3 by now.
            manifest, _ = await together(self._collect(status), self._put_away(again=True))
        finally:
            self._close_keyboard()
            await self._forwards.close()
            await self._put_away()
        told = conclude(self._job.name, status, manifest, self._access.server)
        told = await in_thread(name_bigger_type, self._account.api, told, self._type)
        return self._dress(told)

    async def _put_away(self, *, again: bool = False) -> None:
        """A program that runs does not depend on us, so neither our error nor our leaving ends it. A kept server goes
        on needing its role, and so does one that stopped itself with results that nobody has; `skylift cancel` takes
        both away. With `again`, what the cloud did not answer to is left to another call."""
        early = self._phase == Phase.PREPARING and self._job.started_it
        if not self._away and (early or (self._phase == Phase.COLLECTING and not self._job.keep)):
            self._away = True
            troubles = await in_thread(self._take_down, early)
            self._away = not again or not any(isinstance(each, Unreachable) for each in troubles)
            for error in troubles if self._away else ():
                self._watcher.note(f"Not everything could be taken down: {error.message} {error.advice}".rstrip())
                self._watcher.note(f"The server turns itself off. For the rest: `skylift cancel {self._job.name}`.")

    def _take_down(self, early: bool) -> list[SkyliftError]:
        """Each by itself: what cannot be undone does not stand in the way of the rest, nor of the run's own end."""
        api, name = self._account.api, self._job.name
        steps: list[Callable[[], object]] = [self._remove_role]
        last: list[Callable[[], object]] = []
        if self._access.server is not None:
            instance, interrupted = self._access.server.instance, self._interrupts > 0
            steps.insert(0, partial(launch.terminate, api, instance))
            if early:
                last.append(partial(write_off, self._account, name, instance, interrupted=interrupted))
        first = [partial(fleet.put_away, api, name)] if self._job.spot else []
        with ThreadPoolExecutor(2) as pool:
            troubles = [*map(_trouble, first), *pool.map(_trouble, steps), *map(_trouble, last)]
        return [each for each in troubles if each is not None]

    def _remove_role(self) -> None:
        """That of the server which ends with us; a server that was passed on has taken the job's own along."""
        server = self._access.server
        if server is not None and server.role:
            role.remove_role_of(self._account.api, server.role, {self._job.name})
        else:
            put_roles_away(self._account, self._job.name, [])

    # The program.

    def _see_status(self, status: Status) -> None:
        """Steps that happen on the server, told as they begin and end."""
        state = status.state
        self._relocation.see(status)
        if state == State.ENVIRONMENT or status.environment is not None:
            self._begin("environment")
        if status.started is not None:
            how = _ENVIRONMENTS.get(status.environment or "", "ready")
            self._end("environment", how, status.environment_seconds)
            self._begin("program")
            self._see_start()
            self._show_run(status)
        if state == State.UPLOADING or status.final:
            self._give_back_keyboard()
            self._end("environment", "not made")
            self._end("program", f"exit code {status.exit_code}", status.program_seconds)
            self._begin("results")

    def _see_start(self) -> None:
        """The program has been started: a status says so, or its output, which may be here sooner."""
        if self._phase == Phase.PREPARING:
            self._phase = Phase.RUNNING
            self._forwards.tell(self._watcher)
            if self._keyboard is not None:
                self._keyboard.take(self._follower.order, self._leave)

    def _give_back_keyboard(self) -> None:
        if self._keyboard is not None:
            self._keyboard.give_back()

    def _close_keyboard(self) -> None:
        self._give_back_keyboard()
        if self._keyboard is not None:
            self._keyboard.close()

    def _show_run(self, status: Status) -> None:
        """How it is while it says nothing. What has a terminal has all of it."""
        if self._dial is None or self._job.interactive or status.started is None or status.booted is None:
            return
        # Of a spot job on its second server, nobody here knows what the first one has used of the cap.
        cap = self._job.max_time if status.attempt == 1 else 0
        settings = self._account.settings
        kind = status.instance_type or self._type
        self._dial.runs(
            RunningProgram(
                moment(status.started),
                moment(status.booted),
                cap,
                run_cost(kind, settings.region, status.market, 3600),
                settings.billed,
            )
        )

    def _begin(self, name: str) -> None:
        if name not in self._open_steps and name not in self._clock.seconds:
            self._open_steps[name] = time.monotonic()
            self._watcher.begin(name)

    def _end(self, name: str, detail: str, seconds: float | None = None) -> None:
        """`seconds` is the server's own measure, where it has one: a short step may be over before we hear of it."""
        began = self._open_steps.pop(name, None)
        if began is not None:
            self._clock.seconds[name] = time.monotonic() - began if seconds is None else seconds
            self._watcher.done(name, detail, self._clock.seconds[name])

    # Ctrl-C.

    def interrupt(self) -> None:
        """First: SIGINT to the program, or the end of a run whose program has not started. Second: the job is
        cancelled. Third: it is left running. Who came to look does not end what another one has started."""
        self._interrupts += 1
        assert self._task is not None
        if not self._job.started_it and self._phase != Phase.COLLECTING:
            self._leave()
        elif self._phase == Phase.COLLECTING:
            self._watcher.note(f"Stopped bringing results home: `skylift results {self._job.name}` goes on with it.")
            self._task.cancel()
        elif self._phase == Phase.PREPARING:
            self._watcher.note("Interrupted before the program started; taking everything down.")
            self._task.cancel()
        elif self._interrupts == 1:
            sent = self._follower.order(signal="INT")
            how = "sent to the program" if sent else "will reach the program when SSH is back"
            self._watcher.note(f"SIGINT {how}. Press Ctrl-C again to cancel the job.")
        elif self._interrupts == 2:
            if not self._follower.order(cancel=True) and self._job.spot:
                # Who leaves does not wait for it.
                threading.Thread(target=self._cancel_without_server, daemon=True).start()
            self._watcher.note("Cancelling: SIGTERM, and SIGKILL after 10 s. Press Ctrl-C again to leave it alone.")
        else:
            self._leave()

    def _cancel_without_server(self) -> None:
        """Where the fleet has yet to bring one, there is nobody who could hear of it."""
        api, name = self._account.api, self._job.name
        try:
            if not launch.live_servers(api, name):
                Jobs(self._account.settings, self._account).cancel(name)
        except SkyliftError as error:
            self._watcher.note(f"{name} could not be cancelled: {error.message}")

    def _leave(self) -> None:
        assert self._task is not None
        if self._phase == Phase.COLLECTING:
            self.interrupt()
        else:
            self._interrupts = max(self._interrupts, 1)
            self._phase = Phase.DETACHED
            self._close_keyboard()
            self._task.cancel()

    # Home again.

    async def _collect(self, status: Status | None) -> Manifest:
        if status is None or not status.sent_streams:
            return Manifest()
        account, home = self._account, self._job.home
        asked = self._job.outputs, self._job.script
        self._begin("results")
        manifest = await self._reconnect.reach(read_manifest, account.api, account.bucket, self._prefix, *asked)
        total = manifest.size

        def fetch() -> Manifest:
            come = 0

            def progress(more: int) -> None:
                nonlocal come
                come += more
                self._watcher.progress("results", come, total)

            return bring_home(account.api, account.bucket, self._prefix, manifest, home, progress)

        manifest = await self._reconnect.reach(fetch)
        count = len(manifest.results)
        self._end("results", f"{count} file{'s' * (count != 1)}, {spell_size(total)}" if count else "none")
        return manifest

    @property
    def _type(self) -> str:
        """Of a spot job's servers, which may be of several, the last one's."""
        server = self._access.server
        return server.type if self._job.spot and server is not None else self._job.instance_type

    def _outcome(self, state: State, exit_code: int, reason: str) -> Outcome:
        instance = self._access.server.instance if self._access.server else None
        return self._dress(
            Outcome(name=self._job.name, state=state, exit_code=exit_code, reason=reason, instance=instance)
        )

    def _dress(self, outcome: Outcome) -> Outcome:
        """With what only the one who watched knows."""
        watched = self._clock.elapsed()
        more: dict[str, Any] = {"watched_seconds": watched, "steps": dict(self._clock.seconds)}
        more["choice"] = self._job.choice
        if outcome.results:
            more["home"] = self._job.home
        told = replace(outcome, instance_type=outcome.instance_type or self._type, **more)
        return with_price(told, self._account.settings)


def _trouble(step: Callable[[], object]) -> SkyliftError | None:
    try:
        step()
    except SkyliftError as error:
        return error
    return None


def watched_job(account: Account, name: str, home: Path) -> WatchedJob:
    """What there is to know of a job that somebody else may have started. Raises JobNotFound."""
    record = account.record(name)
    servers = launch.live_servers(account.api, name)
    server = servers[0] if servers else None
    return WatchedJob(
        name,
        home,
        record.keep,
        record.instance_type,
        server,
        interactive=record.interactive,
        choice=record.choice,
        spot=record.spot,
        outputs=record.outputs,
        script=record.script,
        deadline=record.deadline,
        max_time=record.max_time,
    )
