"""The entry point of the coordinator's process, which a map's server starts (see server/map_server.py)."""

from __future__ import annotations

import json
import math
import os
import re
import signal
import sys
import time
from calendar import timegm
from email.utils import parsedate_to_datetime
from functools import partial
from pathlib import Path
from typing import Any

from skylift.agent.remote.aws import Aws, Metadata, Refused, Unreachable, retry_until
from skylift.agent.remote.prefix import Prefix
from skylift.agent.spot.spot_notice import is_taken_back
from skylift.agent.workers.map_server import OUTCOMES
from skylift.agent.workers.worker_group import keys_of_servers, open_group
from skylift.client.map.cluster_pool import ClusterPool
from skylift.client.map.coordinator import Coordinator, ServerPool
from skylift.client.map.dask_import import import_dask
from skylift.client.map.log_writer import LogWriter, Superseded
from skylift.client.map.looked_up import FOUND, complete, encode_found, list_keys
from skylift.client.map.outcome import MapLog
from skylift.client.map.scaling import MOST, MapScaling, say
from skylift.client.map.spec import chosen, parse_spec
from skylift.client.map.thread_pool import ThreadPool
from skylift.contract.document import Malformed, write
from skylift.contract.map_progress import Progress, times_in
from skylift.contract.map_spec import MapSpec

PATIENCE = 3600.0
"""Seconds in which S3 must accept the log. A job's cap, or its server's timer, ends it before."""
_DENIED = 3.0
"""Seconds for which a denial to read an entry is taken for a role that is not known everywhere yet."""
BROKEN = 125
_LOOKING_UP = 300.0
"""Seconds in which S3 must list the places of a schedule's map."""
_PROGRESS = "server/map/progress.json"
_DOCUMENT = "/latest/dynamic/instance-identity/document"
_SCHEDULES = "schedules/"
_DUE = re.compile(r"-([0-9]{8})-([0-9]{4})([0-9]{2})?/?$")
"""The end of a run's name, which is that of its prefix."""


class PrefixStore:
    """The job's prefix as a log's Store. An object that was written before `since`, in seconds since the epoch, is
    refused: the programs of a schedule's earlier runs may write where later ones will."""

    def __init__(self, prefix: Prefix, since: float = 0.0) -> None:
        self._prefix, self._since = prefix, since

    def look(self, key: str) -> bytes | None:
        return self._read(key, 0)

    def read(self, key: str) -> bytes | None:
        return self._read(key, _DENIED)

    def _read(self, key: str, seconds: float) -> bytes | None:
        try:
            status, headers, body = retry_until(key, lambda: self._prefix.request("GET", key), time.time() + seconds)
        except Unreachable:
            # A role that may not list the bucket is denied an object that is not there.
            return None
        if status == 404:
            return None
        if self._since and parsedate_to_datetime(headers["last-modified"]).timestamp() < math.floor(self._since):
            raise Refused(200, f"{key} was written before this run began, by another run of the schedule")
        return body

    def create(self, key: str, body: bytes) -> bool:
        return retry_until(key, lambda: self._prefix.put(key, body, first=True), time.time() + PATIENCE)


def main() -> None:
    code = _run()
    sys.stderr.flush()
    # Dask would close each connection in order first. Who is at the other end bears it that this process is killed.
    os._exit(code)


def _run() -> int:
    settings = json.loads(os.environ.pop("SKYLIFT_MAP"))
    aws = Aws(settings["region"], os.environ.get("AWS_ENDPOINT_URL"), Metadata(settings["imds"]))
    try:
        return coordinate(settings, aws, Prefix(aws, settings["bucket"], settings["prefix"]))
    except Superseded as error:
        say(f"Another coordinator goes on with this map: {error}.")
    except (Malformed, Refused, Unreachable) as error:
        say(f"The map cannot go on: {error}.")
    return BROKEN


def coordinate(settings: dict[str, Any], aws: Aws, prefix: Prefix) -> int:
    """`settings` is what the server's process knows: "socket", "instance" and "threads"; for a map on several servers
    also "dask", the identities of its parts, "group", and "built", whether Dask's environment is in the bucket."""
    store = PrefixStore(prefix, begun_since(settings))
    spec = _look_up(_read_spec(Prefix(aws, settings["bucket"], settings["source"])), aws, store)
    log = LogWriter(store, settings["instance"])
    (Path.home() / OUTCOMES).write_text(str(len(log.begin().outcomes)))
    metadata = Metadata(settings["imds"])
    here = (settings["socket"], settings["instance"], spec.per_server or settings["threads"])
    if not settings.get("dask"):
        return _see_through(spec, log, ThreadPool(*here), prefix, metadata)
    address = metadata.get("/latest/meta-data/local-ipv4").strip()
    pool = ClusterPool(*here, address, settings["dask"], partial(import_dask, settings["socket"]))
    group = open_group(aws, settings["group"], say, run_tag(settings))
    known, key, keeps = Path.home() / "known-servers", settings["dask"]["worker"], bool(settings.get("keeps"))
    keys = keys_of_servers(metadata, settings["region"])
    # The servers' time that the coordinator before has counted; none if it has reported nothing.
    before = times_in(PrefixStore(prefix).read(_PROGRESS) or b"") if log.log.epoch > 1 else ()
    # The first other server builds the environment, and the others take it.
    at_first = MOST if settings.get("built") else 1
    with MapScaling(
        group, pool, prefix, spec, key, keys, known, at_first=at_first, keeps=keeps, before=before
    ) as scaling:
        return _see_through(spec, log, pool, prefix, metadata, scaling)


def begun_since(settings: dict[str, Any]) -> float:
    """When a schedule's run was due, or its server was started if the clock that has named the run was ahead of EC2's;
    0 for any other map, which may have begun on another server."""
    due = _due(settings)
    if due is None:
        return 0.0
    metadata = Metadata(settings["imds"])
    told = retry_until("its start", partial(metadata.get, _DOCUMENT), time.time() + _LOOKING_UP)
    started = time.strptime(json.loads(told)["pendingTime"], "%Y-%m-%dT%H:%M:%SZ")
    return float(min(timegm(due), timegm(started)))


def run_tag(settings: dict[str, Any]) -> str:
    """The tag of the servers of a schedule's run, SCHEDULE/TIME; empty for any other map."""
    due = _due(settings)
    return (
        "" if due is None else settings["source"].removeprefix(_SCHEDULES) + time.strftime("/%Y-%m-%dT%H:%M:%SZ", due)
    )


def _due(settings: dict[str, Any]) -> time.struct_time | None:
    """When a schedule's run was due; None for any other map."""
    found = _DUE.search(settings["prefix"])
    if found is None or not settings["source"].startswith(_SCHEDULES):
        return None
    return time.strptime("".join(found.groups("00")), "%Y%m%d%H%M%S")


def _see_through(
    spec: MapSpec,
    log: LogWriter,
    pool: ServerPool,
    prefix: Prefix,
    metadata: Metadata,
    scaling: MapScaling | None = None,
) -> int:
    report, noticed = partial(_report, prefix, scaling), partial(is_taken_back, metadata)
    coordinator = Coordinator(spec, log, pool, report, noticed=noticed)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, frame: coordinator.stop())
    if scaling is not None:
        scaling.follow(coordinator)
    code = coordinator.run()
    if spec.inputs:
        _sum_up(spec, log.log)
    return code


def _read_spec(prefix: Prefix) -> MapSpec:
    found = retry_until("in/map.json", lambda: prefix.get("in/map.json"), time.time() + PATIENCE)
    if found is None:
        raise Refused(404, "in/map.json is not there")
    return parse_spec(found)


def _look_up(spec: MapSpec, aws: Aws, store: PrefixStore) -> MapSpec:
    """The spec with the inputs of this run. The run's first coordinator decides which these are."""
    if not spec.places:
        return spec
    until = time.time() + _LOOKING_UP
    listed = [retry_until(place.key, partial(list_keys, aws, place), until) for place in spec.places]
    body = encode_found([chosen(place, keys) for place, keys in zip(spec.places, listed, strict=True)])
    if not store.create(FOUND, body):
        first = store.read(FOUND)
        if first is None:
            raise Unreachable(f"{FOUND} cannot be read")
        body = first
    whole = complete(spec, body)
    if not whole.inputs:
        say("There is no input: no object is there now.")
    return whole


def _report(prefix: Prefix, scaling: MapScaling | None, progress: Progress) -> None:
    """Only for display: the log is the truth."""
    if scaling is not None:
        progress = progress._replace(others=scaling.times)
    try:
        prefix.put(_PROGRESS, json.dumps(write(progress)).encode())
    except (Unreachable, Refused) as error:
        say(f"The progress cannot be written: {error}")


def _sum_up(spec: MapSpec, log: MapLog) -> None:
    ours = [log.outcomes[each.index] for each in spec.inputs if each.index in log.outcomes]
    failed = sum(not each.succeeded for each in ours)
    say(f"{len(ours) - failed} succeeded, {failed} failed, {len(spec.inputs) - len(ours)} without an outcome.")
