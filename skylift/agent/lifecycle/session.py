"""A job on its server: its streams, its status, and the sockets that clients use. All of this exists before the program
does, and also for a program that an earlier supervisor has started."""

from __future__ import annotations

from typing import Any, Dict, List, Optional

from skylift.agent.job.context import Context
from skylift.agent.job.env_values import EnvValues
from skylift.agent.job.status import Status
from skylift.agent.lifecycle.claim import Claim
from skylift.agent.lifecycle.retries import Retries
from skylift.agent.machine.clock import Stopwatch
from skylift.agent.machine.gauge import last_line
from skylift.agent.machine.usage import UsageMeter
from skylift.agent.program.control import JobControl
from skylift.agent.program.control_socket import ControlSocket
from skylift.agent.program.program import UserProcess
from skylift.agent.program.shipper import Shipper
from skylift.agent.program.stdin import ProgramStdin
from skylift.agent.program.stream import Stream, cuts
from skylift.agent.program.terminal import ProgramTerminal
from skylift.agent.results.results import Results
from skylift.agent.spot.checkpoint import Checkpoint
from skylift.agent.spot.spot_interruption import SpotReclaim
from skylift.agent.spot.spot_server import SpotServer
from skylift.contract.record import JobRecord
from skylift.contract.states import State


class JobSession:
    """`passed_on` is the time of the interruption notice that the program already knows. `tries` are the attempts under
    earlier supervisors; those on earlier servers are in the spot attempt.
    """

    def __init__(
        self,
        context: Context,
        record: JobRecord,
        claim: Claim,
        program: UserProcess,
        status: Status,
        passed_on: Optional[float],
        tries: Optional[List[Dict[str, Any]]] = None,
    ) -> None:
        self.context, self.record, self.program, self.status = context, record, program, status
        self.cwd = context.login.place / record.cwd
        self.env_values = EnvValues(context, record)
        self.stopwatch = Stopwatch()
        attempt = claim.attempt
        if tries is None:
            tries = attempt.fields.get("tries", []) if attempt is not None else []
        self.retries = Retries(record.retry, tries)
        if record.retry is not None:
            status.set(**self.retries.fields())
        owner = (context.login.uid, context.login.gid)
        before = attempt.fields if attempt is not None else {"bases": {}, "cut": {}}
        self.streams = [
            Stream(
                name,
                context.folder,
                status.changed,
                owner,
                record.log_cap,
                before["bases"].get(name, 0),
                before["cut"].get(name),
            )
            for name in ("stdout", "stderr")
        ]
        self.terminal = ProgramTerminal(context.handles, self.streams[0]) if record.terminal is not None else None
        journal = context.folder / "sent"
        self.results = Results(context.prefix, context.login.place, self.cwd, record.outputs, journal)
        self.stdin = ProgramStdin(context.folder, context.where()) if record.stdin else None
        self.control = JobControl(program, self.terminal, self.stdin)
        path = context.root / "run/skylift" / (context.job + ".sock")
        heard = (self.control, self.streams, status, self.under_way, self.usage)
        self.socket = ControlSocket(path, context.login.gid, *heard)
        self.shipper = Shipper(context.prefix, self.streams, status, context.folder)
        self.control.listen(context.prefix, context.poll)
        self.taken_back: Optional[SpotReclaim] = None
        if record.schedule is not None and record.schedule.spot:
            self.taken_back = SpotReclaim(context, program, status, passed_on)
        self.spot: Optional[SpotServer] = None
        if attempt is not None and record.succession is not None:
            self.results.inherit(attempt.fields["results"])
            checkpoint = None
            if record.succession.checkpoint:
                path, spool = self.cwd / record.succession.checkpoint, context.folder / "checkpoint"
                checkpoint = Checkpoint(path, context.prefix, attempt, context.login.user, spool)
                self.results.leave_out(path)
            more = (record.succession, passed_on, self.how_far)
            self.spot = SpotServer(context, attempt, checkpoint, program, status, *more)

    def under_way(self) -> Dict[str, Any]:
        """Progress of a slow step for clients: the last line of uv, or how much of the results has been sent."""
        state = self.status.fields.state
        if state == State.ENVIRONMENT:
            return {"doing": last_line(self.context.folder / "environment.log")}
        return {"sending": self.results.tally.fields()} if state == State.UPLOADING else {}

    def usage(self) -> UsageMeter:
        """The use of the server, measured from now on."""
        return UsageMeter(self.context.login.uid, self.context.login.home)

    def how_far(self) -> Dict[str, Any]:
        """The fields of the attempt that a spot job's next server continues from."""
        fields: Dict[str, Any] = {"shipped": self.shipper.shipped, "cut": cuts(self.streams)}
        if self.stopwatch.seconds is not None:
            fields.update(running=self.stopwatch.seconds)
        fields.update(results=self.results.latest, **self.retries.fields())
        return fields

    @property
    def ran_before(self) -> float:
        """Seconds that the program ran on earlier servers."""
        return float(self.spot.attempt.fields["ran"]) if self.spot is not None else 0.0
