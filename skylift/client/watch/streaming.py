"""Streaming: a job's output, its steps and the user's keys, until the job has ended or the user has left."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum

from skylift.client.errors import SkyliftError
from skylift.client.job.record import JobKeys
from skylift.client.job.server import Server
from skylift.client.launch.cap import cap_server
from skylift.client.launch.relaunch import Relaunch
from skylift.client.launch.server import live_servers
from skylift.client.price.run_price import run_cost
from skylift.client.remote.reconnect import Reconnect
from skylift.client.steps import Clock, in_thread
from skylift.client.text.duration import moment
from skylift.client.watch.forward import Forwards
from skylift.client.watch.lost import lost_job
from skylift.client.watch.monitor import Monitor, RunningProgram
from skylift.client.watch.relocation import Relocation
from skylift.client.watch.ssh_access import SshAccess
from skylift.client.watch.stream import Follower
from skylift.client.watch.watched_job import WatchedJob
from skylift.client.watcher import Keyboard, Watcher
from skylift.contract.states import State
from skylift.contract.status import Status

_ENVIRONMENTS = {"taken": "as it was built before", "imaged": "in the server's image", "kept": "there already"}


@dataclass(frozen=True)
class Streamed:
    """A job that has ended: all of its output has been shown. `server` is its last one, None when that has gone."""

    job: WatchedJob
    server: Server | None
    status: Status


class Phase(Enum):
    """How far the job is. What Ctrl-C means depends on it."""

    PREPARING = "preparing"
    RUNNING = "running"
    ENDED = "ended"
    DETACHED = "detached"


class Streaming:
    """One job's stream. `run` may be called once.

    `interrupt` is Ctrl-C, and `leave` is the user's wish to leave the job alone. Both return the state in which the
    user's own run ends now, and None when it goes on. `cancel` cancels a job by its name, in a thread.
    """

    def __init__(
        self,
        job: WatchedJob,
        watcher: Watcher,
        clock: Clock,
        cancel: Callable[[str], object],
        keyboard: Keyboard,
        forwards: Forwards,
        monitor: Monitor | None,
    ) -> None:
        self._job, self._watcher, self._clock, self._cancel = job, watcher, clock, cancel
        self._keyboard, self._forwards, self._monitor = keyboard, forwards, monitor
        account = job.account
        self._access = SshAccess(
            account,
            job.name,
            job.server,
            job.host_keys,
            job.connection,
            booting=job.launched_here,
            spot=job.spot,
            relaunch=Relaunch(account, job.name, watcher) if job.relaunched else None,
            cap=self._cap,
        )
        self._follower = Follower(
            account.api,
            account.bucket,
            JobKeys(job.name),
            self._access.connect,
            self._access.server_is_gone,
            Reconnect(account.api, watcher, account.settings.revive),
            watcher,
            self._see_status,
            self._on_started,
            monitor.measured if monitor is not None else None,
        )
        self._forwards.connect_through(lambda: self._follower.connection)
        self._phase = Phase.PREPARING
        self._interrupts = 0
        self._cancelling = False
        self._relocation = Relocation(watcher, is_map=job.is_map)
        self._leave: Callable[[], None] = lambda: None

    @property
    def server(self) -> Server | None:
        """The job's server as it was last seen; None when there is none."""
        return self._access.server

    @property
    def program_has_started(self) -> bool:
        """True also when nobody will know of it here any more."""
        return self._phase != Phase.PREPARING

    @property
    def program_runs(self) -> bool:
        return self._phase == Phase.RUNNING

    async def run(self, leave: Callable[[], None]) -> Streamed:
        """`leave` is called when the user types that they leave. Raises SkyliftError when the job's end cannot be
        known."""
        self._leave = leave
        self._keyboard.look(leave)
        if not self._job.launched_here:
            await in_thread(self._access.try_to_open_ssh, self._watcher)
            if self.server is not None and self._job.may_be_capped:
                await in_thread(self._cap, self.server)
        status = await self._follower.run()
        self._phase = Phase.ENDED
        if status is None:
            raise lost_job(self._job.name, self.server)
        return Streamed(self._job, self.server, status.until(self._job.deadline))

    def _cap(self, server: Server) -> None:
        """For a server that a fleet has started, or whose client was killed before it had done this."""
        with suppress(SkyliftError):
            cap_server(self._job.account, server.instance, self._job.deadline, fleet=self._job.spot)

    def tell_of_stdin(self) -> None:
        """Tell the server that there is more of the program's standard input in the job's record."""
        self._follower.hint(stdin=True)

    # Ctrl-C.

    def interrupt(self) -> State | None:
        """The first one sends SIGINT to the program, or ends a run whose program has not started. The second one
        cancels the job. The third one leaves. A client that did not launch the job leaves it at the first."""
        self._interrupts += 1
        if not self._job.launched_here:
            return self.leave()
        if self._phase == Phase.PREPARING:
            self._watcher.note("Interrupted before the program started; taking everything down.")
            return State.CANCELLED
        if self._interrupts == 1:
            sent = self._follower.order(signal="INT")
            how = "sent to the program" if sent else "will reach the program when SSH is back"
            self._watcher.note(f"SIGINT {how}. Press Ctrl-C again to cancel the job.")
            return None
        if self._interrupts == 2:
            self._cancelling = self._follower.order(cancel=True)
            if not self._cancelling and self._job.spot:
                # The user may leave without waiting for this.
                threading.Thread(target=self._cancel_without_server, daemon=True).start()
            when = "" if self._cancelling else ", once SSH is back"
            self._watcher.note(f"Cancelling: SIGTERM, and SIGKILL after 10 s{when}. Press Ctrl-C again to leave.")
            return None
        return self.leave()

    def leave(self) -> State:
        self._interrupts = max(self._interrupts, 1)
        self._phase = Phase.DETACHED
        if not self._cancelling:
            return State.DETACHED
        self._watcher.note(f"The server cancels the job. `skylift results {self._job.name}` brings what is there then.")
        return State.CANCELLED

    def _cancel_without_server(self) -> None:
        """While the fleet has not brought a server yet, no supervisor could receive the order."""
        try:
            if not live_servers(self._job.account.api, self._job.name):
                self._cancel(self._job.name)
        except SkyliftError as error:
            self._watcher.note(f"{self._job.name} could not be cancelled: {error.message}")

    # The program.

    def _see_status(self, status: Status) -> None:
        """Show the steps that happen on the server, as they begin and end."""
        state = status.state
        self._relocation.see(status)
        if state == State.ENVIRONMENT or status.environment is not None:
            self._clock.begin("environment")
        if status.started is not None:
            how = _ENVIRONMENTS.get(status.environment or "", "ready")
            self._clock.end("environment", how, status.environment_seconds)
            self._clock.begin("program")
            self._on_started()
            self._show_run(status)
        if state == State.UPLOADING or status.final:
            self._keyboard.give_back()
            self._clock.end("environment", "not made")
            self._clock.end("program", f"exit code {status.exit_code}", status.program_seconds)
            if status.started is not None and not self._job.is_map:
                self._clock.begin("results")

    def _on_started(self) -> None:
        """The program has been started: a status says so, or its output, which may arrive sooner."""
        if self._phase == Phase.PREPARING:
            self._phase = Phase.RUNNING
            self._forwards.tell(self._watcher)
            self._keyboard.take(self._follower.order, self._leave)

    def _show_run(self, status: Status) -> None:
        """Show how the program and its server are doing. An interactive program has the whole terminal instead."""
        if self._monitor is None or self._job.interactive or status.started is None or status.booted is None:
            return
        # When a spot job is on its second server, nobody here knows how much of the cap the first one has used.
        cap = self._job.max_time if status.attempt == 1 else 0
        settings = self._job.account.settings
        kind = status.instance_type or self._job.type_of(self.server)
        self._monitor.runs(
            RunningProgram(
                moment(status.started),
                moment(status.booted),
                cap,
                run_cost(kind, settings.region, status.market, 3600),
                settings.billed,
            )
        )
