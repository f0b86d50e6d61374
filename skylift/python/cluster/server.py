"""Starts and ends one server of a cluster. Each is a job with the current folder's project, which runs `node.py`."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from skylift.client.dask.authority import Identity
from skylift.client.errors import LaunchFailed, UsageError
from skylift.client.job.job import NAME_FORM, Bundle, Job, Program, SentFile
from skylift.client.job.outcome import Outcome
from skylift.client.job.run_options import SharedOptions
from skylift.client.job.settings import Secret, Settings
from skylift.client.jobs.cluster import worker_name
from skylift.client.launch.stages import Launched
from skylift.client.plan.require_dask import require_pages
from skylift.client.remote.account import Account
from skylift.client.ship.bundle import find_project
from skylift.client.ship.needs import find_needs
from skylift.client.ship.snapshot import renew, take_snapshot
from skylift.python import work
from skylift.python.cluster.size import MOST
from skylift.python.watching import Recorder, log

SCHEDULER_PORT, DASHBOARD_PORT = 8786, 8787
"""As in node.py, which is imported on servers only."""
ALONE = 60
"""Seconds for which the cluster's parts live without each other, and the scheduler without a client."""
_NODE = Path(__file__).parents[2] / "client/dask/node.py"
_SENT = ".skylift-node.py"
_FOR_ALL = ("on", "image", "arch", "max_time", "ssh_from", "subnet", "security_group", "env", "in_", "trust_project")
FOR_WORKERS = (*_FOR_ALL, "type", "cpu", "memory", "gpu", "spot", "max_price", "or_on_demand")
_PRIVATE = re.compile(r"[0-9]{1,3}(?:\.[0-9]{1,3}){3}")


@dataclass(frozen=True)
class ServerPlans:
    """The jobs of a cluster, without what only its start brings: certificates, group, addresses."""

    scheduler: Job
    worker: Job
    settings: Settings


def check_name(name: str) -> None:
    """Raises UsageError for one that leaves no room for the workers' names."""
    if NAME_FORM.fullmatch(worker_name(name, MOST * 100)) is None:
        advice = "Lower-case letters, digits and `-`, at most 33 of them."
        raise UsageError(f"The name {name!r} cannot be used.", advice)


def plan_servers(name: str, options: SharedOptions, *, pages: bool) -> ServerPlans:
    """With `pages`, Dask's own are wanted. Raises UsageError for what cannot be."""
    unknown = sorted(set(options) - set(FOR_WORKERS))
    if unknown:
        raise UsageError(f"{unknown[0]}= is not for a cluster.", f"There are: {', '.join(sorted(FOR_WORKERS))}.")
    check_name(name)
    if pages:
        require_pages(find_needs(Path.cwd(), find_project(Path.cwd())))
    given: Mapping[str, Any] = options
    scheduler, settings = _plan(name, {each: given[each] for each in _FOR_ALL if each in given})
    worker, _ = _plan(worker_name(name, 1), {each: given[each] for each in FOR_WORKERS if each in given})
    return ServerPlans(scheduler, worker, settings)


def keep_code(plans: ServerPlans, folder: Path) -> ServerPlans:
    """The plans with a copy of the code in `folder`: workers that come later have the same as the scheduler, whatever
    is saved meanwhile. Raises UsageError."""
    bundle = take_snapshot(plans.scheduler.bundle, folder)
    return replace(
        plans, scheduler=replace(plans.scheduler, bundle=bundle), worker=replace(plans.worker, bundle=bundle)
    )


def _plan(name: str, options: dict[str, Any]) -> tuple[Job, Settings]:
    version = "{}.{}".format(*sys.version_info[:2])
    asked: Any = {**options, "command": [_SENT], "name": name, "python": version, "fresh": True}
    planned, settings = work.plan("skylift.Cluster()", None, (), asked)
    if planned.environment.kind == "none":
        raise UsageError(
            "The servers of a cluster have the environment of your project, and there is none in this folder.",
            "Make one whose dependencies have `distributed`: `uv init --bare && uv add distributed`.",
        )
    return replace(planned, program=Program("script", _SENT), bundle=_with_node(planned.bundle)), settings


def _with_node(bundle: Bundle) -> Bundle:
    real = _NODE.resolve()
    found = real.stat()
    place = os.path.normpath(f"{bundle.cwd}/{_SENT}")
    node = SentFile(place, real, real, found.st_dev, found.st_ino, found.st_size)
    files = sorted([*(each for each in bundle.files if each.place != place), node], key=lambda each: each.place)
    return replace(bundle, files=tuple(files), size=bundle.size + found.st_size)


def start_server(job: Job, settings: Settings, group: str, identity: Identity, told: dict[str, Any]) -> Launched:
    """Start the job of one part and wait until its server has it. `told` is what node.py is to know besides."""
    secret = Secret(json.dumps({**identity.encode(), "alone": ALONE, **told}))
    bundle = renew(job.bundle)
    for note in bundle.notes:
        log.warning("%s: %s.", job.name, note)
    dressed = replace(job, bundle=bundle, env=(*job.env, ("SKYLIFT_DASK", secret)), groups=(group,))
    taken = work.start_submission(dressed, settings, Recorder(), None).result()
    if isinstance(taken, Outcome):
        raise KeyboardInterrupt
    return taken


def private_address(account: Account, instance: str) -> str:
    found = account.api.call("ec2", "describe_instances", InstanceIds=[instance])["Reservations"][0]["Instances"][0]
    address = str(found.get("PrivateIpAddress", ""))
    if not _PRIVATE.fullmatch(address):
        raise LaunchFailed(f"The scheduler's server {instance} has no private address.")
    return address
