"""Lists an account's jobs, found by their servers and their records. Nothing here changes a job, so that `skylift ps`
need not import what ends one."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from skylift.client.collect.other_servers import other_servers
from skylift.client.errors import JobNotFound, RecordDamaged
from skylift.client.job.job import BUILDER_FORM, NAME_FORM
from skylift.client.job.record import may_be_starting
from skylift.client.job.scheduled import parse_run
from skylift.client.job.server import Server
from skylift.client.job.server_record import NO_STATUS
from skylift.client.job.settings import Settings
from skylift.client.launch.fleet import active_fleets
from skylift.client.launch.server import all_live, live_servers, live_workers
from skylift.client.price.price import hourly_cost
from skylift.client.price.run_price import cost_of, run_cost, time_of_server
from skylift.client.remote.account import Account, open_account
from skylift.client.text.duration import moment
from skylift.client.waiting import Threads
from skylift.contract.record import JobRecord
from skylift.contract.states import ENDED, State
from skylift.contract.status import Status

_AT_ONCE = 8


@dataclass(frozen=True)
class Listed:
    """A line of `skylift ps`.

    `state` is what the supervisor has reported. It is `starting` before the first report, `lost` when the server has
    gone without a final one, `stranded` when results are on the disk of a stopped server, `waiting` when a spot job has
    no server until its fleet starts the next one, and `damaged` when the job's record cannot be read; `reason` says
    why. `instance_state` is EC2's state. `off_by` is when the server, or the next one, is off at the latest, and
    `hourly_usd` what it costs until then. `created` is when the job was submitted, which on a kept server is long after
    `launched`. `attempt` counts the servers of a spot job, `retries` how often the program was started again after a
    failure. `program` is the command, `seconds` how long it has run, and `cost_usd` what the job's servers have cost;
    without `charged` it is what they would have cost on AWS. `servers` is how many there are now: a map may have more
    than one, of which `instance` has the job. `is_map` is whether it is one.
    """

    name: str
    state: State
    instance: str | None = None
    instance_state: str | None = None
    address: str | None = None
    type: str | None = None
    launched: str | None = None
    exit_code: int | None = None
    started: str | None = None
    ended: str | None = None
    signal: str | None = None
    reason: str | None = None
    off_by: str | None = None
    hourly_usd: float | None = None
    attempt: int = 1
    retries: int = 0
    program: str | None = None
    created: str | None = None
    seconds: float | None = None
    cost_usd: float | None = None
    charged: bool = False
    servers: int = 0
    is_map: bool = False

    @property
    def is_over(self) -> bool:
        """Whether the job has ended or is lost, and has no server."""
        is_lost = self.state is State.LOST and not self._may_be_starting
        return self.instance_state is None and (self.state in ENDED or is_lost)

    @property
    def _may_be_starting(self) -> bool:
        if self.started is not None or self.created is None:
            return False
        return may_be_starting(moment(self.created), time.time())

    def as_json(self) -> dict[str, Any]:
        return dict(vars(self))


@dataclass(frozen=True)
class _Findings:
    """The facts about a job before it is decided whether to read its record too."""

    name: str
    state: State
    status: Status
    server: Server | None
    record: JobRecord | None
    reason: str | None = None
    waiting: bool = False

    @property
    def since(self) -> str:
        """When the job was submitted, or the nearest time that is known."""
        created = spell(self.record.created) if self.record else None
        return created or self.status.booted or (self.server.launched if self.server else "")


class JobListing:
    """The jobs of one account and region."""

    def __init__(self, settings: Settings, account: Account | None = None) -> None:
        self._account = account = account or open_account(settings)
        self._api, self._bucket = account.api, account.bucket

    def listed(
        self, *, ended: bool = False, last: int | None = None, states: Collection[str] = (), like: str | None = None
    ) -> list[Listed]:
        """Jobs that have a server, and with `ended` all others too, the newest first. `states` and `like` (a name with
        * and ?) select among them, and `last` is how many of the selected ones to return."""

        def chosen(name: str) -> bool:
            return not BUILDER_FORM.fullmatch(name) and (like is None or fnmatchcase(name, like))

        return self._listed_of(chosen, last, states, ended=ended)

    def runs(self, schedule: str, last: int | None = None) -> list[Listed]:
        """The runs of a schedule, the newest first."""
        return self._listed_of(lambda name: (parse_run(name) or ("",))[0] == schedule, last, (), ended=True)

    def _listed_of(
        self, chosen: Callable[[str], bool], last: int | None, states: Collection[str], *, ended: bool
    ) -> list[Listed]:
        """Reads no more jobs than it returns, but for those that are in other states or whose age is not known."""
        with Threads(_AT_ONCE) as pool:
            fleets = pool.submit(active_fleets, self._api)
            recorded = pool.submit(self._account.recorded) if ended else None
            submitted = pool.submit(self._account.submitted) if ended else None
            first, others = all_live(self._api)
            servers = {server.job: server for server in first}
            more = Counter(each.job for each in others if not each.gone)
            waiting = {each.job for each in fleets.result()}
            names: Iterable[str] = set(servers) | waiting | (set(recorded.result()) if recorded else set())
            names = [name for name in names if chosen(name)]
            since = _times(names, submitted.result() if submitted else {})

            def find(name: str) -> _Findings:
                return self._find(name, servers.get(name), name in waiting)

            # What was submitted at a time that is not known has to be read first.
            read = {each.name: each for each in pool.map(find, [name for name in names if name not in since])}
            left = sorted(names, key=lambda name: (since.get(name) or read[name].since, name))
            found: list[_Findings] = []
            while left and (last is None or len(found) < last):
                most = len(left) if last is None else max(last - len(found), _AT_ONCE if states else 0)
                newest = [left.pop() for _ in range(min(most, len(left)))]
                looked_at = pool.map(lambda name: read.get(name) or find(name), newest)
                found += [each for each in looked_at if not states or each.state in states]
            return list(pool.map(lambda each: self._line(each, more[each.name]), found[:last]))

    def one(self, name: str) -> Listed:
        servers = self._servers(name)
        found = self._find(name, servers[0] if servers else None, bool(active_fleets(self._api, name)))
        is_large = found.record is not None and bool(found.record.group)
        others = live_workers(self._api, name) if is_large else []
        return self._line(found, sum(not each.gone for each in others))

    def _find(self, name: str, server: Server | None, waiting: bool) -> _Findings:
        """Read the status, and the record only if the job is alive: for most jobs that have ended, the status is
        enough. A record that cannot be read becomes a line that says so, with what EC2 knows of the job."""
        record = None
        try:
            status = self._account.status(name)
            if status is None or server or waiting:
                record = self._recorded(name)
        except RecordDamaged as error:
            return _Findings(name, State.DAMAGED, NO_STATUS, server, record, reason=error.message)
        state = _state(status, server, waiting=waiting)
        return _Findings(name, state, status or NO_STATUS, server, record, waiting=waiting)

    def _line(self, found: _Findings, more: int) -> Listed:
        """`more` is how many servers it has besides."""
        status, server, record = found.status, found.server, found.record
        if record is None:
            with suppress(RecordDamaged):
                record = self._recorded(found.name)
        settings, alive = self._account.settings, server is not None
        kind = server.type if server else status.instance_type or (record.instance_type if record else "")
        stays = alive or (found.waiting and not status.final)
        spent = time_of_server(status.booted, status.ended, status.program_seconds, alive=alive)
        return Listed(
            name=found.name,
            state=found.state,
            instance=server.instance if server else status.instance,
            instance_state=server.state if server else None,
            address=server.address if server else None,
            type=kind or None,
            launched=server.launched if server else status.booted,
            exit_code=status.exit_code,
            started=status.started,
            ended=status.ended,
            signal=status.signal,
            reason=found.reason or status.reason,
            off_by=_off_by(record, status, server) if stays and found.state != State.DAMAGED else None,
            attempt=status.attempt,
            retries=status.retries,
            hourly_usd=hourly_cost(server, settings.region) if server and settings.billed else None,
            program=record.program if record else None,
            created=spell(record.created) if record else status.booted,
            seconds=_seconds(status, alive=alive),
            cost_usd=self._cost(found.name, run_cost(kind or "", settings.region, status.market, spent), record),
            charged=settings.billed,
            servers=more + (server is not None),
            is_map=record is not None and record.is_map,
        )

    def _cost(self, name: str, first: float | None, record: JobRecord | None) -> float | None:
        """With a map's other servers."""
        if first is None or record is None or not record.group:
            return first
        others = cost_of(other_servers(self._account, name), self._account.settings.region)
        return None if others is None else round(first + others, 8)

    def _recorded(self, name: str) -> JobRecord | None:
        """None when the job has been removed meanwhile."""
        try:
            return self._account.record(name)
        except JobNotFound:
            return None

    def _servers(self, name: str) -> list[Server]:
        """The job's servers. Raises JobNotFound when there is neither a server nor a record."""
        servers = live_servers(self._api, name) if NAME_FORM.fullmatch(name) else []
        if not servers:
            with suppress(RecordDamaged):
                self._account.record(name)
        return servers


def _times(names: Iterable[str], submitted: dict[str, float]) -> dict[str, str]:
    """When jobs were submitted, as far as that is known without reading them."""
    runs = {name: run[1].timestamp() for name in names if (run := parse_run(name)) is not None}
    return {name: spell(when) for name, when in {**runs, **submitted}.items()}


def _off_by(record: JobRecord | None, status: Status, server: Server | None) -> str | None:
    """The end of a kept server's wait, or else the deadline at which its operating system turns it off."""
    if record is None:
        return None
    deadline = record.deadline if server is None else record.deadline_on(moment(server.launched))
    return spell(status.until(deadline).kept_until or deadline)


def spell(when: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(when))


def _seconds(status: Status, *, alive: bool) -> float | None:
    """How long the program has run. None when it has not ended and has no server."""
    if status.program_seconds is not None and status.final:
        return status.program_seconds
    return time_of_server(status.started, status.ended, status.program_seconds, alive=alive)


def _state(status: Status | None, server: Server | None, *, waiting: bool) -> State:
    if status is not None and status.final:
        return status.state
    if server is None:
        return State.WAITING if waiting else State.LOST
    if server.state == "stopped":
        return State.STRANDED
    return State.STARTING if status is None else status.state
