"""Another server for a map whose own one is lost, started by a client that watches the map.

The client that launches a map writes down how (`in/relaunch.json`), so that any client of the account can do it again.
The map's log has what came of each input so far, and its epochs keep two coordinators apart. However many clients
watch, one server comes: the token of RunInstances is made of the name of the server that was lost.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
import time
from dataclasses import dataclass
from typing import Any

from skylift.runner.errors import LaunchFailed, RecordDamaged, Refused
from skylift.runner.job.job import NAME_FORM
from skylift.runner.job.record import Prefix, Record
from skylift.runner.job.server import Server
from skylift.runner.launch.server import describe, launch_request, live_servers, run_in_first_zone, terminate
from skylift.runner.launch.stages import Checked, Provisioned
from skylift.runner.launch.worker_group import send_keys
from skylift.runner.remote.account import Account
from skylift.runner.text.duration import moment
from skylift.runner.text.json_object import Malformed, parse_object
from skylift.runner.text.visible import shown
from skylift.runner.watcher import Watcher

_LIMIT = 1 << 20
_LEAST = 120.0
"""Seconds until the deadline in which another server would be of no use."""
_SETTLING = 300.0
"""Seconds after its launch in which EC2 may not describe a server yet. It takes a few."""
MOST = 20
"""The most servers that a map has, one after the other."""
IN_VAIN = 3
"""The most servers that are started one after the other and do not take the map."""
_ATTEMPT = re.compile(r"(\d{1,4})\.json")
_SUBNET = re.compile(r"subnet-[0-9a-z]{1,32}")
_ZONE = re.compile(r"[a-z0-9-]{1,64}")


def note_launch(checked: Checked, provisioned: Provisioned) -> None:
    """Write down how the map's server is started."""
    network, job = provisioned.network, checked.job
    request = launch_request(
        job, "", network, "", provisioned.key.name, provisioned.role, checked.image, provisioned.user_data
    )
    told = {"request": request, "subnets": [list(each) for each in network.subnets], "base": checked.base}
    checked.account.api.put(checked.account.bucket, Prefix(job.name).relaunch, json.dumps(told).encode())


@dataclass(frozen=True)
class _Launch:
    request: dict[str, Any]
    subnets: tuple[tuple[str, str], ...]
    base: str


def _parse_launch(key: str, data: bytes) -> _Launch:
    """Raises RecordDamaged. RunInstances itself checks the request, with the rights of who asks for it."""
    try:
        fields = parse_object(data, _LIMIT)
        request = fields.inner("request")
        if request is None or not isinstance(request.content.get("NetworkInterfaces"), list):
            raise Malformed("`request` is no request")
        subnets = tuple(_subnet(each) for each in fields.list("subnets", 100))
        return _Launch(request.content, subnets, fields.text("base", 64) or "")
    except Malformed as error:
        raise RecordDamaged(key, str(error)) from None


def _subnet(pair: object) -> tuple[str, str]:
    words = pair if isinstance(pair, list) and len(pair) == 2 else ["", ""]
    zone, subnet = words
    if not (isinstance(zone, str) and _ZONE.fullmatch(zone) and isinstance(subnet, str) and _SUBNET.fullmatch(subnet)):
        raise Malformed("an entry of `subnets` is not [zone, subnet]")
    return zone, subnet


def _is_new(server: Server) -> bool:
    """Whether a server was launched so short a time ago that EC2 may not describe it yet. It describes one that has
    ended for an hour, and then no more: this machine may have slept meanwhile."""
    return server.state == "pending" and time.time() < moment(server.launched) + _SETTLING


class Relaunch:
    """For one client that watches the map `name`."""

    def __init__(self, account: Account, name: str, watcher: Watcher) -> None:
        self._account, self._api, self._name, self._watcher = account, account.api, name, watcher
        self._prefix = Prefix(name)
        self._attempt, self._in_vain = 0, 0
        self._looking = threading.Lock()

    def server_after(self, lost: Server | None) -> Server | None:
        """The server that has the map now that its own one is gone: another one, or the same while it still shuts down.
        None when there is none, and none is to come."""
        with self._looking:
            return self._server_after(lost)

    def _server_after(self, lost: Server | None) -> Server | None:
        servers = live_servers(self._api, self._name)
        if servers:
            # One that stops keeps what could not be sent on its disk.
            return None if servers[0].gone else servers[0]
        status, record = self._account.status(self._name), self._account.record(self._name)
        if status is None or status.final or status.instance is None or not record.relaunched:
            return None
        last = describe(self._api, lost.instance if lost is not None else status.instance)
        is_over = time.time() > record.deadline - _LEAST
        if last is None and lost is not None and _is_new(lost) and not is_over:
            return lost
        if last is not None and last.job == self._name and last.state in ("pending", "running", "shutting-down"):
            return last
        if is_over or self._is_given_up():
            return None
        self._in_vain = 0 if status.attempt > self._attempt else self._in_vain + 1
        self._attempt = status.attempt
        if self._attempt >= MOST or self._in_vain >= IN_VAIN:
            number = self._attempt if self._attempt >= MOST else IN_VAIN
            self._watcher.note(f"{number} servers of {self._name} were lost, one after the other. No other is started.")
            return None
        before = lost.instance if lost is not None else status.instance
        return self._start(before, last.reason if last is not None else "", record)

    def _is_given_up(self) -> bool:
        """Whether somebody has cancelled the map, or another one goes on where this one has ended."""
        bucket = self._account.bucket
        if self._api.get(bucket, self._prefix.cancel, _LIMIT) is not None:
            return True
        mark = self._api.get(bucket, self._prefix.resumed, _LIMIT)
        if mark is None:
            return False
        try:
            later = parse_object(mark, _LIMIT).text("job", 40, NAME_FORM)
        except Malformed as error:
            raise RecordDamaged(self._prefix.resumed, str(error)) from None
        return later is None or self._api.get(bucket, Prefix(later).record, 64 << 20) is not None

    def _start(self, before: str, reason: str, record: Record) -> Server | None:
        key = self._prefix.relaunch
        found = self._api.get(self._account.bucket, key, _LIMIT)
        if found is None:
            return None
        launch = _parse_launch(key, found)
        self._end_attempt(before)
        if record.has_workers:
            send_keys(self._account, self._name, time.time(), record.deadline)
        token = hashlib.sha256(f"{self._name}/{before}".encode()).hexdigest()[:40]
        try:
            server = run_in_first_zone(self._api, launch.request, launch.subnets, token, launch.base)
        except LaunchFailed as error:
            self._watcher.note(f"The server of {self._name} is lost. {error.message} {error.advice}".rstrip())
            return None
        if self._is_given_up():
            # Somebody did so at the same time, and may not have seen this server.
            terminate(self._api, server.instance)
            return None
        why = f" ({shown(reason)})" if reason else ""
        self._watcher.note(f"The server {before} is lost{why}. {server.instance} goes on with the map.")
        return server

    def _end_attempt(self, before: str) -> None:
        """Write down that the lost server's attempt is over: EC2 says so. Otherwise the next server would wait for a
        sign of life."""
        api, bucket = self._api, self._account.bucket
        listed = api.pages("s3", "list_objects_v2", "Contents", Bucket=bucket, Prefix=self._prefix.attempts)
        names = [_ATTEMPT.fullmatch(str(each["Key"]).removeprefix(self._prefix.attempts)) for each in listed]
        numbers = [int(each[1]) for each in names if each is not None]
        if not numbers:
            return
        key = f"{self._prefix.attempts}{max(numbers)}.json"
        try:
            tag = api.call("s3", "head_object", Bucket=bucket, Key=key)["ETag"]
            content = dict(parse_object(api.get(bucket, key, _LIMIT) or b"", _LIMIT).content)
            if content.get("instance") == before and "over" not in content:
                content["over"] = {"lost": True}
                body = json.dumps(content).encode()
                api.call("s3", "put_object", Bucket=bucket, Key=key, Body=body, IfMatch=tag)
        except (Malformed, Refused):
            # The server waits for the sign of life, and finds out for itself.
            return
