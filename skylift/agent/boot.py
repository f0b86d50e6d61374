"""The program that user data starts. It sets the shutdown timer, and then fetches the supervisor from the prefix."""

from __future__ import annotations

import argparse
import contextlib
import functools
import hashlib
import importlib
import json
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

from skylift.agent.job.guardian import Handles, end_leftovers, guard
from skylift.agent.job.ledger import Ledger, boot_mark
from skylift.agent.machine.console import say
from skylift.agent.machine.etc_environment import read_environment
from skylift.agent.machine.power import RESERVE, arm_timer, power_off
from skylift.agent.remote.announce import announce
from skylift.agent.remote.aws import Aws, Metadata, Refused, Unreachable, retry_until
from skylift.agent.remote.prefix import Prefix

WHOLE = "supervisor.pyz"
TAG = "/latest/meta-data/tags/instance/skylift:job"
_AHEAD = 1.0
"""Seconds in which a guardian reads ahead. Until then it notices nothing else, such as its supervisor's end."""
_TAGGED = 300.0
"""Seconds in which a schedule's server must learn its run. A server without a run is useless."""
PATIENCE = 900
"""Seconds after the program's end in which the results must be in S3. After that the server stops and keeps its
disk."""


def boot(options: argparse.Namespace) -> None:
    # A shell starts background commands with these ignored, and an ignored signal stays so for the program.
    for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    for name, value in read_environment(Path(options.root)):
        os.environ.setdefault(name, value)
    rebooted = not boot_mark(Path(options.root)).exists()
    find_job(options)
    options.handed_over = False
    aws = Aws(options.region, os.environ.get("AWS_ENDPOINT_URL"), Metadata(options.imds))
    while True:
        folder = Path(options.root) / "var/lib/skylift" / options.prefix.rstrip("/").rsplit("/", 1)[-1]
        folder.mkdir(mode=0o711, parents=True, exist_ok=True)
        for each in (folder.parent, folder):
            each.chmod(0o711)
        ledger = Ledger(folder / "ledger")
        if not go_on(options, ledger):
            if rebooted and time.time() > options.deadline - RESERVE and {"start", "stranded"} & set(ledger.read()):
                # Somebody has started a stopped server again. It delivers its results, and nothing else runs.
                options.deadline = time.time() + options.patience + 2 * RESERVE
            # User data has set this timer already, before Python started.
            if options.deadline != float(os.environ.get("SKYLIFT_TIMER", "0")):
                arm_timer(options.deadline)
            how = (functools.partial(work, options, aws, ledger), functools.partial(prepare, options, aws))
            code = guard(folder, ledger, *how)
            if not go_on(options, ledger):
                sys.exit(code)
            end_leftovers()


def find_job(options: argparse.Namespace) -> None:
    """Where the job's record and inputs are (`source`), and where it reports (`prefix`). They differ for a schedule's
    run. The server's tag in EC2 names the run: SCHEDULE/TIME."""
    options.source = options.prefix
    folder, _, schedule = options.prefix.partition("/")
    if folder == "schedules":
        try:
            until = min(options.deadline - RESERVE, time.time() + _TAGGED)
            tag = retry_until("the tag", lambda: Metadata(options.imds).get(TAG), until)
            options.prefix = "jobs/" + run_of(schedule, tag)
        except (Unreachable, ValueError) as error:
            say("this server has no job: %s" % error)
            power_off()
            sys.exit(1)


def run_of(schedule: str, tag: str) -> str:
    """The name of a run: nightly-20261128-0200, with seconds only where there are any. Raises ValueError."""
    due = time.strptime(tag, schedule + "/%Y-%m-%dT%H:%M:%SZ")
    return schedule + time.strftime("-%Y%m%d-%H%M" + ("%S" if due.tm_sec else ""), due)


def go_on(options: argparse.Namespace, ledger: Ledger) -> bool:
    """Whether this server has the next job by now, in this boot or since an earlier one."""
    following = ledger.read().get("next")
    if following is not None:
        options.prefix = options.source = "jobs/" + following["job"]
        options.deadline, options.handed_over = following["deadline"], True
    return following is not None


def work(options: argparse.Namespace, aws: Aws, ledger: Ledger, handles: Handles) -> None:
    """The supervisor, in a separate process."""
    prefix = Prefix(aws, options.bucket, options.prefix)
    shown = (Path(options.root), options.user, aws, prefix, options.deadline - RESERVE)
    announcing = threading.Thread(target=announce, args=shown, daemon=True)
    # The client waits for the host keys. It connects by SSH while we load the rest. On a kept server it has them: then
    # the claim is written first, because the job waits for it.
    later = options.worker or options.handed_over
    if not later:
        announcing.start()
    try:
        archive = fetch_whole(Prefix(aws, options.bucket, options.source), options)
    except (Unreachable, Refused, OSError) as error:
        if options.worker:
            say("the supervisor cannot begin: %s" % error)
            return power_off()
        return give_up(ledger, error, prefix, aws)
    load(archive).supervise(options, aws, prefix, ledger, handles, announcing if later else None)
    return None


def give_up(ledger: Ledger, error: Exception, prefix: Prefix, aws: Aws) -> None:
    """Report the job's end, if no other server has the job, and turn off, if no program has run here."""
    say("the supervisor cannot begin: %s" % error)
    if "start" in ledger.read():
        return
    end = {"state": "broken", "final": True, "exit_code": 125, "reason": "The server could not begin: %s" % error}
    try:
        end["instance"] = aws.instance()
        claim = {"instance": end["instance"], "claimed": "", "over": {"final": end}}
        if prefix.put("server/attempts/1.json", json.dumps(claim).encode(), first=True):
            prefix.put("server/status.json", json.dumps(end).encode())
    except (Unreachable, Refused) as second:
        say("the failure cannot be reported: %s" % second)
    power_off()


def prepare(options: argparse.Namespace, aws: Aws) -> None:
    """In the guardian: import and ask ahead what takes a supervisor longest at its start."""
    if is_here(options):
        load(whole_place(options))
    with contextlib.suppress(Unreachable, ValueError, LookupError):
        # A supervisor that has none of it asks again, and for longer.
        aws.look_ahead(_AHEAD)


def load(archive: Path) -> Any:
    """Imports the supervisor from the archive, which also has the missing modules of loaded packages."""
    for name, module in list(sys.modules.items()):
        place = str(archive / name.replace(".", "/"))
        if name.partition(".")[0] == "skylift" and place not in getattr(module, "__path__", [place]):
            module.__path__.insert(0, place)
    importlib.invalidate_caches()
    return importlib.import_module("skylift.agent.supervisor")


def whole_place(options: argparse.Namespace) -> Path:
    return Path(options.root) / "var/lib/skylift" / WHOLE


def is_here(options: argparse.Namespace) -> bool:
    """Whether the archive is here and has the digest that it was sent with."""
    place = whole_place(options)
    return place.exists() and hashlib.sha256(place.read_bytes()).hexdigest() == str(options.sha256)


def fetch_whole(source: Prefix, options: argparse.Namespace) -> Path:
    """The path of the archive, which is fetched unless an earlier boot has done so."""
    place = whole_place(options)
    if not is_here(options):
        place.parent.mkdir(mode=0o711, parents=True, exist_ok=True)
        part = place.with_suffix(".part")
        retry_until("the supervisor", lambda: source.fetch("in/" + WHOLE, part), options.deadline - RESERVE)
        if hashlib.sha256(part.read_bytes()).hexdigest() != options.sha256:
            raise Refused(200, "in/%s is not what was sent" % WHOLE)
        part.chmod(0o755)
        part.replace(place)
    return place


def main() -> None:
    parser = argparse.ArgumentParser(prog="supervisor")
    parser.add_argument("--root", default="/")
    verbs = parser.add_subparsers(dest="verb", required=True)
    first = verbs.add_parser("boot")
    for name in ("bucket", "prefix", "region", "user", "sha256"):
        first.add_argument("--" + name, required=True)
    first.add_argument("--deadline", type=float, required=True)
    first.add_argument("--imds", default="http://169.254.169.254")
    # A map's server that only runs inputs.
    first.add_argument("--worker", action="store_true")
    first.add_argument("--poll", type=float, default=5.0)
    first.add_argument("--patience", type=float, default=PATIENCE)
    attach = verbs.add_parser("attach")
    attach.add_argument("job")
    options = parser.parse_args()
    if options.verb == "boot":
        return boot(options)
    from skylift.agent.program.attach import join_socket  # noqa: PLC0415 (not there before the rest has come)

    return join_socket(options.root, options.job)
