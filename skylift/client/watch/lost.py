"""The error for a job whose server is gone and never reported the job's end."""

from __future__ import annotations

from skylift.client.errors import RunError
from skylift.client.job.server import Server


def lost_job(name: str, server: Server | None, *, is_map: bool = False) -> RunError:
    return RunError(_explain(name, server), _advise(name, server, is_map))


def _explain(name: str, server: Server | None) -> str:
    if server is None:
        return f"The server of {name} is gone, and the job's end was never reported."
    state = "stopped; what it had is on its disk" if server.state.startswith("stop") else "gone"
    return (
        f"The server {server.instance} is {state}, and the job's end was never reported"
        f" ({server.reason or 'no reason given'})."
    )


def _advise(name: str, server: Server | None, is_map: bool) -> str:
    if server is None or not server.state.startswith("stop"):
        if is_map:
            return f"Outcomes that it had recorded are kept. To run what is left: skylift map --resume {name}"
        return "Output and results that it had sent are kept in the job's prefix."
    return (
        f"It costs its disk as long as it is there. To have it try again: aws ec2 start-instances --instance-ids"
        f" {server.instance}, and then skylift attach {name}. To give its results up: skylift cancel {name}."
    )
