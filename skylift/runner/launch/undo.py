"""What has been made for a job, and how it is taken back when the job does not start."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from types import TracebackType
from typing import TypeVar

from skylift.runner.errors import SKYLIFT_FAILED, SkyliftError
from skylift.runner.job.outcome import INTERRUPTED
from skylift.runner.job.record import Prefix
from skylift.runner.job.server import Server
from skylift.runner.job.states import State
from skylift.runner.launch import server as launch
from skylift.runner.remote.account import Account
from skylift.runner.steps import in_thread, made
from skylift.runner.watcher import Watcher

T = TypeVar("T")


class Undo:
    """The steps back, the last made first. They are gone when the block is left by an error, unless `keep` was called.

    A step that fails is told to the user and does not stand in the way of the others. `interrupted` says whether the
    user ended the run; `instance` is the job's server that was seen last.
    """

    def __init__(self, account: Account, job: str, watcher: Watcher, interrupted: Callable[[], bool]) -> None:
        self._account, self._job, self._watcher, self._interrupted = account, job, watcher, interrupted
        self._steps = AsyncExitStack()
        self.instance: str | None = None

    async def __aenter__(self) -> Undo:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        return await self._steps.__aexit__(kind, error, trace)

    async def make(self, make: Callable[[], T], unmake: Callable[[T], object]) -> T:
        """Make something in a thread, and have it unmade; also when the caller is cancelled meanwhile."""
        return await made(self._steps, make, unmake, self._tell)

    def add(self, step: Callable[[], object]) -> None:
        """A step back, which is called in a thread."""
        self._steps.push_async_callback(self._take, step)

    def keep(self) -> None:
        """What has been made so far stays."""
        self._steps.pop_all()

    @asynccontextmanager
    async def part(self) -> AsyncIterator[Undo]:
        """What is made within is unmade at once when the block fails, and else with all that was made before it."""
        part = Undo(self._account, self._job, self._watcher, self._interrupted)
        async with part:
            yield part
            self._steps.push_async_exit(part._steps.pop_all())

    def see(self, server: Server) -> None:
        self.instance = server.instance

    def end_server(self, server: Server) -> None:
        """The undo of a launch: a job that never came to its end says so."""
        launch.terminate(self._account.api, server.instance)
        write_off(self._account, self._job, server.instance, interrupted=self._interrupted())

    def write_off(self) -> None:
        write_off(self._account, self._job, self.instance, interrupted=self._interrupted())

    async def _take(self, step: Callable[[], object]) -> None:
        try:
            await in_thread(step)
        except SkyliftError as error:
            self._tell(error)

    def _tell(self, error: SkyliftError) -> None:
        tell_left_over(self._watcher, self._job, error)


def tell_left_over(watcher: Watcher, job: str, error: SkyliftError) -> None:
    """Something of the job is still there, because of this error."""
    watcher.note(f"Not everything could be taken down: {error.message} {error.advice}".rstrip())
    watcher.note(f"The server turns itself off. For the rest: `skylift cancel {job}`.")


def write_off(account: Account, job: str, instance: str | None, *, interrupted: bool) -> None:
    """The final status of a job whose server was ended by its client before the program began."""
    status = {
        "job": job,
        "state": State.CANCELLED if interrupted else State.BROKEN,
        "final": True,
        "instance": instance,
        "exit_code": INTERRUPTED if interrupted else SKYLIFT_FAILED,
        "reason": "The run was interrupted." if interrupted else "The run failed.",
    }
    account.api.put(account.bucket, Prefix(job).status, json.dumps(status).encode())
    account.forget_secrets(job)
