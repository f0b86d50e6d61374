"""Another server for a map whose own one is lost, started by a client that watches the map.

The client that launches a map writes down how in the tags of the map's role, so that any client of the account can do
it again (launch_terms.py). The request is made with the rights of the user who watches, so nothing of it is taken from
the bucket: not everybody who may write there may start servers.

The map's log has what came of each input so far, and its epochs keep two coordinators apart. However many clients
watch, one server comes: the token of RunInstances is made of the name of the server that was lost. A token counts in
one zone. So where one client finds a zone full and another one does not, the first that writes its server down keeps
it, and the other one terminates its own. The server that is written down may be lost, too: then the next one's token is
made of its name.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeVar

from skylift.client.errors import LaunchFailed, RecordDamaged, Refused, SkyliftError, UsageError
from skylift.client.job.record import JobKeys
from skylift.client.job.server import Server
from skylift.client.job.server_record import of_file
from skylift.client.launch import role
from skylift.client.launch.abandoned import is_abandoned
from skylift.client.launch.cap import cap_server, no_cap
from skylift.client.launch.job_group import job_groups
from skylift.client.launch.key import ensure_key
from skylift.client.launch.launch_terms import LaunchTerms, parse_terms
from skylift.client.launch.network import find_network
from skylift.client.launch.server import (
    TAKEN,
    describe,
    is_new,
    launch_request,
    live_servers,
    run_in_first_zone,
    started_by,
    terminate,
)
from skylift.client.launch.worker_group import send_keys
from skylift.client.remote.account import Account
from skylift.client.text.json_object import given, parse_object
from skylift.client.text.visible import shown
from skylift.client.waiting import pauses
from skylift.client.watcher import Watcher
from skylift.contract.document import Malformed
from skylift.contract.record import JobRecord

_LIMIT = 1 << 20
_LEAST = 120.0
"""Seconds until the deadline in which another server would be of no use."""
_LISTED = 30.0
"""Seconds in which EC2 must list a server that another client has started, and skylift's network."""
_UNLISTED = "Another client has started a server for it, and EC2 does not list it."
MOST = 20
"""The most servers that a map has, one after the other."""
IN_VAIN = 3
"""The most servers that are started one after the other and do not take the map."""
_INSTANCE = re.compile(r"i-[0-9a-f]{8,17}")
_ATTEMPT = re.compile(r"(\d{1,4})\.json")


T = TypeVar("T")


@dataclass(frozen=True)
class _MapServer:
    name: str
    instance_type: str


class Relaunch:
    """For one client that watches the map `name`."""

    def __init__(self, account: Account, name: str, watcher: Watcher) -> None:
        self._account, self._api, self._name, self._watcher = account, account.api, name, watcher
        self._prefix = JobKeys(name)
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
        if last is None and lost is not None and lost.state == "pending" and is_new(lost) and not is_over:
            return lost
        if last is not None and last.job == self._name and last.state in ("pending", "running", "shutting-down"):
            return last
        if is_over or is_abandoned(self._account, self._name):
            return None
        self._in_vain = 0 if status.attempt > self._attempt else self._in_vain + 1
        self._attempt = status.attempt
        if self._attempt >= MOST or self._in_vain >= IN_VAIN:
            number = self._attempt if self._attempt >= MOST else IN_VAIN
            self._watcher.note(f"{number} servers of {self._name} were lost, one after the other. No other is started.")
            return None
        before = lost.instance if lost is not None else status.instance
        return self._start(before, last.reason if last is not None else "", record)

    def _start(self, before: str, reason: str, record: JobRecord) -> Server | None:
        terms = self._terms()
        if terms is None or time.time() > terms.deadline - _LEAST:
            return None
        self._end_attempt(before)
        if record.group:
            send_keys(self._account, self._name, time.time(), min(record.deadline, terms.deadline))
        try:
            server = self._server_of(terms, before)
        except (LaunchFailed, UsageError) as error:
            self._watcher.note(f"The server of {self._name} is lost. {error.message} {error.advice}".rstrip())
            return None
        if is_abandoned(self._account, self._name):
            # Somebody did so at the same time, and may not have seen this server.
            terminate(self._api, server.instance)
            return None
        try:
            cap_server(self._account, server.instance, terms.deadline)
        except SkyliftError as error:
            self._watcher.note(no_cap(server.instance, error))
        why = f" ({shown(reason)})" if reason else ""
        self._watcher.note(f"The server {before} is lost{why}. {server.instance} goes on with the map.")
        return server

    def _terms(self) -> LaunchTerms | None:
        """None for a map whose role is gone, or has no terms."""
        where = f"The role {role.role_name(self._name)}"
        return of_file(where, lambda: parse_terms(role.tags_of(self._api, self._name)))

    def _run(self, terms: LaunchTerms, token: str) -> Server:
        """Everything is made here, as for a first server, and nothing is taken from the bucket. Raises LaunchFailed."""
        account, api = self._account, self._api
        network = _listed(lambda: find_network(api, terms.access), "skylift's network is gone.")
        groups = (*network.groups, *job_groups(api, self._name, "map"))
        network = replace(network, public=not terms.access.private, groups=groups)
        key = ensure_key(api, account.settings.key_dir, account.number)
        script = terms.boot_script(account, self._name)
        job, profile = _MapServer(self._name, terms.instance_type), role.profile_of(self._name, account.number)
        request = launch_request(job, "", network, "", key.name, profile, terms.image, script)
        try:
            return run_in_first_zone(api, request, network.subnets, token, terms.base)
        except Refused as error:
            if error.code != TAKEN:
                raise
            # A client with another key or another version of skylift has used the token: there is a server already.
            return _listed(lambda: started_by(api, token, len(network.subnets)), _UNLISTED)

    def _server_of(self, terms: LaunchTerms, before: str) -> Server:
        """The server that comes after `before`: of those that clients have written down, the one that is not lost as
        well; or a new one. A client that comes late knows of no other way which ones were lost since, as such a server
        may have ended before it reported anything. Raises LaunchFailed and RecordDamaged."""
        for _ in range(MOST):
            token = hashlib.sha256(f"{self._name}/{before}".encode()).hexdigest()[:40]
            first = self._written_down(token)
            server = self._first_of(token, self._run(terms, token)) if first is None else self._known(token, first)
            if isinstance(server, Server):
                return server
            before = server
            self._end_attempt(before)
        raise LaunchFailed(f"{MOST} servers were lost, one after the other.")

    def _first_of(self, token: str, ours: Server) -> Server | str:
        """Ours, unless another client has written down one before, in another zone."""
        key, body = self._prefix.next_server(token), json.dumps({"instance": ours.instance}).encode()
        if self._api.put(self._account.bucket, key, body, first=True):
            return ours
        try:
            first = self._written_down(token)
        except RecordDamaged:
            terminate(self._api, ours.instance, new=True)
            raise
        if first == ours.instance:
            return ours
        terminate(self._api, ours.instance, new=True)
        if first is None:
            raise LaunchFailed("What another client had written down of its server is gone.")
        return self._known(token, first)

    def _written_down(self, token: str) -> str | None:
        """Raises RecordDamaged for what no client has written."""
        key = self._prefix.next_server(token)
        content = self._api.get(self._account.bucket, key, _LIMIT)
        if content is None:
            return None
        return of_file(key, lambda: given(parse_object(content, _LIMIT).text("instance", 64, _INSTANCE), "instance"))

    def _known(self, token: str, instance: str) -> Server | str:
        """The server that a client has written down, or its name if it has ended: EC2 lists a new one within seconds,
        and one that has ended for an hour. Raises RecordDamaged."""
        try:
            found = _listed(lambda: describe(self._api, instance), _UNLISTED)
        except LaunchFailed:
            return instance
        if found.job != self._name:
            raise RecordDamaged(self._prefix.next_server(token), f"{instance} is no server of {self._name}")
        return instance if found.state == "terminated" else found

    def _end_attempt(self, before: str) -> None:
        """Write down that the lost server's attempt is over: EC2 says so. Otherwise the next server would wait for a
        sign of life."""
        api, bucket = self._api, self._account.bucket
        listed = api.pages("s3", "list_objects_v2", "Contents", Bucket=bucket, Prefix=self._prefix.attempts)
        names = [_ATTEMPT.fullmatch(str(each["Key"]).removeprefix(self._prefix.attempts)) for each in listed]
        numbers = [int(each[1]) for each in names if each is not None]
        if not numbers:
            return
        key = self._prefix.attempt(max(numbers))
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


def _listed(look: Callable[[], T | None], lost: str) -> T:
    """Raises LaunchFailed with the words `lost` once EC2 had its time."""
    for _ in pauses(_LISTED):
        if (found := look()) is not None:
            return found
    raise LaunchFailed(lost)
