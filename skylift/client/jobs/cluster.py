"""Finds the clusters of an account, and ends them: servers, jobs, roles and the security group. See also
python/cluster."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from skylift.client.errors import JobNotFound, RecordDamaged, SkyliftError, UsageError
from skylift.client.job.job import NAME_FORM
from skylift.client.jobs.jobs import Jobs
from skylift.client.launch.job_group import job_groups, remove_job_group
from skylift.client.launch.server import live_servers
from skylift.client.remote.account import Account
from skylift.client.waiting import Threads

Note = Callable[[str], object]
_AT_ONCE = 8


def worker_name(cluster: str, number: int) -> str:
    return f"{cluster}-w{number}"


@dataclass(frozen=True)
class FoundCluster:
    """`made` is in seconds since the epoch; `scheduler` is whether the scheduler has a server, `workers` how many
    workers have one."""

    name: str
    group: str
    made: float
    scheduler: bool
    workers: int


def clusters(account: Account) -> list[FoundCluster]:
    """All that have a security group, the newest first. A map's servers have one, too: a map is none of them."""
    servers = live_servers(account.api)
    found = []
    for group, (name, made) in job_groups(account.api, kind="cluster").items():
        jobs = [each.job for each in servers if group in each.groups]
        found.append(FoundCluster(name, group, made, name in jobs, len({*jobs} - {name})))
    return sorted(found, key=lambda each: -each.made)


def find_clusters(account: Account, names: Iterable[str]) -> list[FoundCluster]:
    """Those of these names, each once. Raises UsageError where one is not there."""
    there = {each.name: each for each in clusters(account)}
    wanted = list(dict.fromkeys(names))
    for name in wanted:
        if name in there:
            continue
        if NAME_FORM.fullmatch(name) and job_groups(account.api, name):
            what = "map" if job_groups(account.api, name, "map") else "job with --servers"
            raise UsageError(f"{name!r} is a {what}, and no cluster.", f"To end it: skylift cancel {name}")
        raise UsageError(f"There is no cluster {name!r}.", "Those that are there: skylift cluster ls")
    return [there[name] for name in wanted]


def members_of(account: Account, name: str, group: str) -> list[str]:
    """A cluster's jobs, for a client that has not made them: those of its names that are younger than its group."""
    _, made = job_groups(account.api, name).get(group, (name, math.inf))
    form = re.compile(rf"{re.escape(name)}(-w[0-9]+)?")
    return [each for each in account.recorded() if form.fullmatch(each) and _created(account, each) >= made]


def _created(account: Account, name: str) -> float:
    try:
        return account.record(name).created
    except (JobNotFound, RecordDamaged):
        return 0.0


class TakeDown:
    """Ends a cluster's jobs and removes what was made for it; safe to repeat. `note` gets what could not be removed."""

    def __init__(self, account: Account, note: Note) -> None:
        self._account, self._note = account, note
        self._jobs = Jobs(account.settings, account)

    def whole(self, name: str, group: str, members: Iterable[str]) -> None:
        """`members` are the cluster's jobs as far as they are known; who has a server in the group is one, too. No
        other job is touched, whatever its name."""
        api = self._account.api
        found = {*members, *(each.job for each in live_servers(api) if group in each.groups)}
        if name in found:
            # First, so that workers need not hand anything over to others.
            self._try(name, lambda: self._jobs.cancel(name))
        with Threads(_AT_ONCE) as pool:
            list(pool.map(self.worker, sorted(found - {name})))
        if name in found:
            self._try(name, lambda: self._remove(name))
        self._try(name, lambda: remove_job_group(api, group))

    def worker(self, name: str) -> None:
        self._try(name, lambda: self._jobs.cancel(name))
        self._try(name, lambda: self._remove(name))

    def _remove(self, name: str) -> None:
        try:
            self._jobs.remove(name)
        except JobNotFound:
            # It was ended before it had a record: what it was ended with is all there is.
            self._account.remove(name)

    def _try(self, name: str, step: Callable[[], object]) -> None:
        """What cannot be taken down must not keep the rest."""
        try:
            step()
        except JobNotFound:
            return
        except SkyliftError as error:
            self._note(f"Not all of {name} could be removed: {error.message} `skylift sweep` finds the rest.")
