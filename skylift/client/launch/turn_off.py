"""The last step of a run: what a job still has in the cloud is taken down."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from skylift.client.errors import SkyliftError, Unreachable
from skylift.client.job.server import Server
from skylift.client.launch import fleet, role
from skylift.client.launch.job_group import remove_job_groups
from skylift.client.launch.kept_server import remove_roles
from skylift.client.launch.server import is_new, terminate
from skylift.client.launch.undo import tell_left_over, write_off
from skylift.client.launch.worker_group import remove_workers
from skylift.client.remote.account import Account
from skylift.client.steps import in_thread
from skylift.client.waiting import Threads
from skylift.client.watcher import Watcher


class TurnOff:
    """The end of one job's fleet, servers and roles. `server` is the job's last one, None when that has gone.

    Not every job is turned off by its client. A kept server still needs its role, and so does one that stopped itself
    with results that nobody has; `skylift cancel` ends both. `launched_here` is whether this client has made the role,
    unless the server was kept after another job and has that job's.
    """

    def __init__(
        self,
        account: Account,
        job: str,
        server: Server | None,
        watcher: Watcher,
        *,
        spot: bool,
        workers: bool = False,
        launched_here: bool = False,
    ) -> None:
        self._account, self._job, self._server, self._watcher, self._spot = account, job, server, watcher, spot
        self._workers, self._launched_here = workers, launched_here
        self._begun = self._is_away = False

    async def begin(self) -> None:
        """The first try. When the cloud is away, `finish` tries again."""
        self._begun = True
        errors = await in_thread(self._take_down)
        self._is_away = any(isinstance(each, Unreachable) for each in errors)
        if not self._is_away:
            self._tell(errors)

    async def finish(self) -> None:
        """The last try, unless the first one was enough."""
        if not self._begun or self._is_away:
            self._tell(await in_thread(self._take_down))

    async def take_back(self, *, interrupted: bool) -> None:
        """The end of a job whose program has not started. `interrupted` is whether the user ended it."""
        server = self._server
        last = (
            []
            if server is None
            else [partial(write_off, self._account, self._job, server.instance, interrupted=interrupted)]
        )
        self._tell(await in_thread(self._take_down, last))

    def _take_down(self, last: Sequence[Callable[[], object]] = ()) -> list[SkyliftError]:
        """Each step by itself: one that fails does not stand in the way of the others."""
        api = self._account.api
        first: list[Callable[[], object]] = [partial(fleet.remove_fleet, api, self._job)] if self._spot else []
        if self._workers:
            first.append(partial(remove_workers, api, self._job))
            # Once all servers have left it.
            last = [partial(remove_job_groups, api, self._job), *last]
        steps: list[Callable[[], object]] = [self._remove_role]
        if self._server is not None:
            steps.insert(0, partial(terminate, api, self._server.instance, new=is_new(self._server)))
        with Threads(2) as pool:
            errors = [*map(_error_of, first), *pool.map(_error_of, steps), *map(_error_of, last)]
        return [each for each in errors if each is not None]

    def _remove_role(self) -> None:
        """The role of the server that ends now. A server that another job has taken over has kept its role."""
        if self._launched_here and self._server is not None and self._server.role == role.role_name(self._job):
            # It is this client's own, so IAM need not be asked whose it is.
            role.remove_role(self._account.api, self._job)
        elif self._server is not None and self._server.role:
            role.remove_role_of(self._account.api, self._server.role, {self._job})
        else:
            remove_roles(self._account, self._job, [])

    def _tell(self, errors: Sequence[SkyliftError]) -> None:
        for error in errors:
            tell_left_over(self._watcher, self._job, error)


def _error_of(step: Callable[[], object]) -> SkyliftError | None:
    try:
        step()
    except SkyliftError as error:
        return error
    return None
