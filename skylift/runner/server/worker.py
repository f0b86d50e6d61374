"""The server of a map that only runs inputs. Its programs, and Dask's worker, belong to map_server.py.

It is prepared as the coordinator's server is. It has no streams, no status and no results of its own. When it cannot go
on it turns off: what ran here runs elsewhere. So it never begins a second time, neither after a reboot nor when this
process was killed.
"""

from __future__ import annotations

import os
import subprocess
import threading
from typing import Any, Dict, Optional

from skylift.runner.server.aws import Refused, Unreachable
from skylift.runner.server.console import say
from skylift.runner.server.context import Context
from skylift.runner.server.env_values import EnvValues
from skylift.runner.server.job_record import JobRecord
from skylift.runner.server.map_server import map_argv
from skylift.runner.server.outcome import Ended
from skylift.runner.server.power import power_off
from skylift.runner.server.preparation import Preparation, Prepared
from skylift.runner.server.program import Program
from skylift.runner.server.spot_server import SpotServer
from skylift.runner.server.status import Status
from skylift.runner.server.tool_environment import follow


class Worker:
    """What a preparation needs to know of a job, without the job's end."""

    spot: Optional[SpotServer] = None

    def __init__(self, context: Context) -> None:
        self.context = context
        self.status = Status(context.job, threading.Condition())
        self.program = Program(context.ledger, context.handles.ends_pipe)

    def run(self) -> None:
        try:
            self._run()
        except Ended as error:
            say("this server cannot run inputs: %s" % error.reason)
        except (Unreachable, Refused, OSError) as error:
            say("this server cannot run inputs: %s" % error)
        finally:
            power_off()

    def _run(self) -> None:
        mark = self.context.folder / "worker"
        if mark.exists():
            say("this server has run inputs before")
            return
        mark.touch()
        found = self.context.retry("record", lambda: self.context.prefix.get("record.json"))
        if found is None:
            raise Refused(404, "the map has no record")
        self.record = self._followed(JobRecord.parse(found))
        self.cwd = self.context.login.place / self.record.cwd
        self.env_values = EnvValues(self.context, self.record)
        code = self._serve(Preparation(self).run())
        say("no more inputs run here (%d)" % code)

    def _followed(self, record: JobRecord) -> JobRecord:
        """Environments that the coordinator's server has built are taken from there, and none is put there."""
        tools, prebuilt = record.tools, record.prebuilt
        if tools is None:
            raise Refused(200, "the record is not a map's")
        tools = dict(tools, environment=dict(tools["environment"], shared=False))
        if prebuilt is not None and prebuilt["shared"] and not prebuilt["sha256"]:
            shelf = self.context.place(prebuilt["place"])
            prebuilt = dict(prebuilt, shared=False, sha256=follow(shelf, "the environment"))
        return record._replace(tools=tools, prebuilt=prebuilt)

    def _serve(self, prepared: Prepared) -> int:
        context, environment = self.context, prepared.environment
        env: Dict[str, Any] = context.login.environment()
        if environment.bin:
            env.update(PATH=environment.bin + ":" + env["PATH"], VIRTUAL_ENV=os.path.dirname(environment.bin))
        env.update(prepared.secrets)
        archive = context.root / "var/lib/skylift/supervisor.pyz"
        argv = map_argv(
            archive, environment.python, prepared.tools, context.where(), str(context.root), context.login,
            self.record.cwd, part="worker",
        )  # fmt: skip
        return subprocess.Popen(argv, cwd=str(self.cwd), env=env, stdin=subprocess.DEVNULL, umask=0o022).wait()
