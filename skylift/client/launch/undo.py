"""Undoing what has been made for a job that does not start."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from types import TracebackType
from typing import TypeVar

from skylift.client.errors import INTERRUPTED, SKYLIFT_FAILED, SkyliftError
from skylift.client.job.record import JobKeys
from skylift.client.job.server import Server
from skylift.client.launch.server import is_new, terminate
from skylift.client.remote.account import Account
from skylift.client.steps import in_thread, make_with_undo
from skylift.client.watcher import Watcher
from skylift.contract.states import State

T = TypeVar("T")


class Undo:
    """A stack of undo steps. An error in the block runs them, the last one first, unless `keep` was called.

    A step that fails is reported to the user, and the others run all the same. `interrupted` returns whether the user
    ended the run. `instance` is the id of the job's newest server.
    """

    def __init__(self, account: Account, job: str, watcher: Watcher, interrupted: Callable[[], bool]) -> None:
        self._account, self._job, self._watcher, self._interrupted = account, job, watcher, interrupted
        self._steps = AsyncExitStack()
        self._left_over: list[SkyliftError] = []
        self.instance: str | None = None

    @property
    def is_whole(self) -> bool:
        """Whether no step has failed so far, those of its parts among them."""
        return not self._left_over

    async def __aenter__(self) -> Undo:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        return await self._steps.__aexit__(kind, error, trace)

    async def make(self, make: Callable[[], T], unmake: Callable[[T], object]) -> T:
        """Make something in a thread, and register its undo. A caller that is cancelled meanwhile waits for both."""
        return await make_with_undo(self._steps, make, unmake, self._tell)

    def add(self, step: Callable[[], object]) -> None:
        """Register an undo step, which will be called in a thread."""
        self._steps.push_async_callback(self._take, step)

    def keep(self) -> None:
        """Forget all steps: what has been made so far stays."""
        self._steps.pop_all()

    @asynccontextmanager
    async def part(self) -> AsyncIterator[Undo]:
        """An Undo for a part of the work. Its steps run as soon as its block fails; after a block that succeeds they
        belong to this Undo."""
        part = Undo(self._account, self._job, self._watcher, self._interrupted)
        part._left_over = self._left_over
        async with part:
            yield part
            self._steps.push_async_exit(part._steps.pop_all())

    def see(self, server: Server) -> None:
        self.instance = server.instance

    def end_server(self, server: Server) -> None:
        """The undo of a launch."""
        self.see(server)
        terminate(self._account.api, server.instance, new=is_new(server))

    def write_off(self) -> None:
        """Write the job's final status, which says that it did not run. That is undone last: a server that starts late
        must not find the job ended while another one may have it."""
        write_off(self._account, self._job, self.instance, interrupted=self._interrupted())

    async def _take(self, step: Callable[[], object]) -> None:
        try:
            await in_thread(step)
        except SkyliftError as error:
            self._tell(error)

    def _tell(self, error: SkyliftError) -> None:
        self._left_over.append(error)
        tell_left_over(self._watcher, self._job, error)


def tell_left_over(watcher: Watcher, job: str, error: SkyliftError) -> None:
    """Report that an error has kept something of the job from being taken down."""
    watcher.note(f"Not everything could be taken down: {error.message} {error.advice}".rstrip())
    watcher.note(f"The server turns itself off. For the rest: `skylift cancel {job}`.")


def write_off(account: Account, job: str, instance: str | None, *, interrupted: bool) -> None:
    """Write the final status of a job whose client has ended the server before the program started."""
    status = {
        "job": job,
        "state": State.CANCELLED if interrupted else State.BROKEN,
        "final": True,
        "instance": instance,
        "exit_code": INTERRUPTED if interrupted else SKYLIFT_FAILED,
        "reason": "The run was interrupted." if interrupted else "The run failed.",
    }
    account.api.put(account.bucket, JobKeys(job).status, json.dumps(status).encode())
    account.forget_secrets(job)
