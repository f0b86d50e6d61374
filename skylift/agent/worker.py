"""Another server than the job's own: of a map, where it only runs inputs, or of a job with a Dask cluster.

Programs of inputs, and the worker of Dask that hands them out, belong to map_server.py. A worker of a job's cluster
runs the program's own code as its user (dask/node.py).

It is prepared like the job's own server. It has no streams, no status and no results. If it cannot go on, it turns off:
what ran here runs elsewhere. So it never begins a second time, neither after a reboot nor after this process was
killed.
"""

from __future__ import annotations

import json
import signal
import subprocess
import threading
import time
from typing import Callable, Optional

from skylift.agent.environment.tool_environment import follow, pinned
from skylift.agent.job.context import Context
from skylift.agent.job.env_values import EnvValues
from skylift.agent.job.job_record import read_record
from skylift.agent.job.outcome import Ended
from skylift.agent.job.status import Status
from skylift.agent.lifecycle.preparation import Preparation, Prepared
from skylift.agent.lifecycle.retries import LONGEST
from skylift.agent.machine.console import say
from skylift.agent.machine.power import power_off
from skylift.agent.program.program import UserProcess
from skylift.agent.remote.aws import Metadata, Refused, Unreachable
from skylift.agent.spot.spot_notice import Notice, Notices
from skylift.agent.spot.spot_server import SpotServer
from skylift.agent.workers.job_cluster import ALONE, STARTING, place_node
from skylift.agent.workers.map_server import map_argv
from skylift.agent.workers.worker_group import take_key
from skylift.contract.record import JobRecord, Retry


def seconds_alone(retry: Optional[Retry]) -> float:
    """For how long a worker of a job's cluster does without a scheduler: over the pause before the program is started
    again, if it may be, and the start of the next scheduler."""
    return ALONE if retry is None else ALONE + LONGEST + STARTING


def work_until_notice(
    start: Callable[[], "subprocess.Popen[bytes]"], metadata: Optional[Metadata], pause: float
) -> int:
    """Runs a Dask worker, and another one each time the scheduler has ended it. Returns the last one's exit code. When
    EC2 takes this server back, the worker hands over what only it has, and no other one follows. `metadata` is None on
    a server that EC2 does not take back."""
    changing, over, running = threading.Lock(), threading.Event(), []  # type: ignore[var-annotated]

    def leave(notice: Notice) -> None:
        say("EC2 takes this server back")
        with changing:
            over.set()
            for each in running:
                each.send_signal(signal.SIGTERM)

    nothing = lambda *_: None  # noqa: E731
    notices = None
    if metadata is not None:
        notices = Notices(metadata, pause, noticed=leave, moved=nothing, late=nothing, advised=nothing)
    code = 0
    while code == 0:
        with changing:
            if over.is_set():
                break
            running[:] = [start()]
        code = running[0].wait()
    if notices is not None:
        notices.stop()
    return code


class Worker:
    """What a preparation needs to know of a job, without the job's end."""

    spot: Optional[SpotServer] = None

    def __init__(self, context: Context) -> None:
        self.context = context
        self.status = Status(context.job, threading.Condition())
        self.program = UserProcess(context.ledger, context.handles.ends_pipe)

    def run(self) -> None:
        try:
            self._run()
        except Ended as error:
            say("this server cannot work: %s" % error.reason)
        except (Unreachable, Refused, OSError) as error:
            say("this server cannot work: %s" % error)
        finally:
            power_off()

    def _run(self) -> None:
        mark = self.context.folder / "worker"
        if mark.exists():
            say("this server has worked before")
            return
        mark.touch()
        self.record = self._followed(read_record(self.context))
        self.cwd = self.context.login.place / self.record.cwd
        self.env_values = EnvValues(self.context, self.record)
        prepared = Preparation(self, needs_dask=True).run()
        code = self._serve(prepared) if self.record.cluster is None else self._work(prepared)
        say("this server has nothing more to do (%d)" % code)

    def _followed(self, record: JobRecord) -> JobRecord:
        """The job's own server builds the environment and uploads it, and this server only downloads it. The first of
        the other servers builds Dask's environment."""
        terms, prebuilt = record.map, record.prebuilt
        if record.tools is None and record.cluster is None:
            raise Refused(200, "the record is not of a job with several servers")
        if terms is not None and terms.tools is not None:
            environment = pinned(terms.tools["environment"], self.context.place)
            terms = terms._replace(tools=dict(terms.tools, environment=environment))
        if prebuilt is not None and prebuilt["shared"] and not prebuilt["sha256"]:
            prefix = self.context.place(prebuilt["place"])
            prebuilt = dict(prebuilt, shared=False, sha256=follow(prefix, "the environment"))
        return record._replace(map=terms, prebuilt=prebuilt)

    def _work(self, prepared: Prepared) -> int:
        """The worker of a job's cluster. If its scheduler ends it, another worker follows. That one finds the new
        scheduler of a program that was started again, or leaves."""
        context, place = self.context, self.context.root / "var/lib/skylift/dask"
        found = take_key(context.prefix, context.metadata(), context.aws.region, context.aws.instance(), time.sleep)
        if found is None:
            say("nobody wants this server")
            return 1
        place.mkdir(exist_ok=True)
        node = place_node(context.archive, place)
        # Read by the program's user.
        place.chmod(0o755)
        node.chmod(0o644)
        alone, script = seconds_alone(self.record.retry), self.record.script
        settings = dict(found, part="worker", name=context.aws.instance(), alone=alone, script=script)
        env = dict(prepared.variables(context.login), SKYLIFT_DASK=json.dumps(settings))

        def start() -> "subprocess.Popen[bytes]":
            return subprocess.Popen(
                [prepared.environment.python, str(node)], cwd=str(self.cwd), env=env, stdin=subprocess.DEVNULL,
                umask=0o022, **context.login.identity(),
            )  # fmt: skip

        return work_until_notice(start, context.metadata() if self.record.fleet else None, context.poll)

    def _serve(self, prepared: Prepared) -> int:
        context, environment = self.context, prepared.environment
        env = prepared.variables(context.login)
        argv = map_argv(context, environment.python, prepared.tools, self.record.cwd, part="worker")
        return subprocess.Popen(argv, cwd=str(self.cwd), env=env, stdin=subprocess.DEVNULL, umask=0o022).wait()
