"""`skylift ps`: which jobs there are."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import typer

from skylift.cli import complete
from skylift.cli.place import On, settings_there
from skylift.cli.say import say, say_json

if TYPE_CHECKING:
    from skylift.cli.table import Cell
    from skylift.client.jobs.listing import Listed

_SHOWN = 20
_STYLES = {
    "running": "green",
    "succeeded": "dim",
    "skipped": "yellow",
    "damaged": "yellow",
    "stranded": "yellow",
    "waiting": "yellow",
}
_UNDER_WAY = ("starting", "booting", "unpacking", "environment", "uploading", "interrupted")


def register(app: typer.Typer) -> None:
    app.command("ps")(ps)


def ps(
    everything: Annotated[bool, typer.Option("--all", "-a", help="Also jobs that have ended.")] = False,
    last: Annotated[
        int | None,
        typer.Option("--last", "-n", metavar="N", min=1, help=f"The last N, ended ones too; of --all it is {_SHOWN}."),
    ] = None,
    state: Annotated[
        list[str] | None,
        typer.Option(
            "--state",
            metavar="STATE",
            help="Those in this state, ended ones too. Repeatable.",
            autocompletion=complete.state,
        ),
    ] = None,
    like: Annotated[
        str | None, typer.Option("--name", metavar="PATTERN", help="Those called that, ended ones too: 'train-*'.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="A list of objects, with all times absolute.")] = False,
    on: On = None,
) -> None:
    """List the jobs that have a server, the newest first."""
    from skylift.client.jobs.listing import JobListing

    _check_states(state or [])
    ended = everything or last is not None or bool(state) or like is not None
    most = last if last is not None or as_json or not ended else _SHOWN
    # One more shows whether there are more.
    found = JobListing(settings_there(on)).listed(
        ended=ended, last=None if most is None else most + 1, states=state or (), like=like
    )
    listed = found[:most]
    if as_json:
        say_json([job.as_json() for job in listed])
        return
    if listed:
        show_jobs(listed)
    else:
        say(
            "There is no such job." if ended else "No job has a server now. Those that have ended: skylift ps --all",
            to_stderr=True,
        )
    if len(found) > len(listed) and last is None:
        say(f"There are older ones: skylift ps --all -n {5 * _SHOWN}", to_stderr=True)


def _check_states(asked: list[str]) -> None:
    from skylift.client.errors import UsageError
    from skylift.contract.states import LISTED

    if unknown := [each for each in asked if each not in LISTED]:
        raise UsageError(f"--state {unknown[0]!r} is not a state of a job.", f"States are: {', '.join(LISTED)}.")


def show_jobs(jobs: list[Listed]) -> None:
    from skylift.cli.table import Column, show_table

    now = time.time()
    columns = (
        Column("NAME"),
        Column("RUNS", least=8),
        Column("STATE", least=9),
        Column("AGE", right=True),
        Column("TIME", right=True),
        Column("EXIT", right=True),
        Column("COST" if jobs[0].charged else "ON AWS", right=True),
        # Names, ids and addresses are copied from here: they are whole, or not shown.
        Column("SERVER", spare=1),
        Column("TYPE", spare=2),
        Column("OFF IN", right=True, spare=3),
        Column("ADDRESS", spare=4),
    )
    show_table(columns, [_row(job, now) for job in jobs])
    for job in jobs:
        if job.state == "stranded":
            say(
                f"{job.name}: its results could not be sent and are on the disk of {job.instance}, which was stopped."
                f" To try again, start it: aws ec2 start-instances --instance-ids {job.instance}",
                to_stderr=True,
            )
        if job.is_map and job.state == "lost":
            say(
                f"{job.name}: its server is lost. To run the inputs that are left: skylift map --resume {job.name}",
                to_stderr=True,
            )
        if job.state in ("damaged", "not-started"):
            say(f"{job.name}: {job.reason}", to_stderr=True)


def _row(job: Listed, now: float) -> tuple[str | Cell, ...]:
    from skylift.cli.table import Cell
    from skylift.client.text.duration import moment, spell_short

    style = _STYLES.get(job.state, "cyan" if job.state in _UNDER_WAY else "red")
    born, number = job.created or job.launched, job.attempt + job.retries
    return (
        job.name,
        job.program or "",
        Cell(job.state if number == 1 else f"{job.state} #{number}", style),
        spell_short(now - moment(born)) if born else "",
        _spell_time(job.seconds),
        "" if job.exit_code is None else str(job.exit_code),
        "" if job.cost_usd is None else f"${job.cost_usd:.4f}",
        _spell_servers(job) if job.instance_state else "",
        job.type or "",
        spell_short(moment(job.off_by) - now) if job.off_by else "",
        job.address or "",
    )


def _spell_servers(job: Listed) -> str:
    """`i-0abc +3`: the one that has the job, and a map's others."""
    others = f" +{job.servers - 1}" if job.servers > 1 else ""
    return f"{job.instance or ''}{others}"


def _spell_time(seconds: float | None) -> str:
    """`0.3s`, `42s`, `4m05s`, `1h05m`."""
    if seconds is None:
        return ""
    if seconds < 10:
        return f"{seconds:.1f}s"
    if seconds < 60:
        return f"{int(seconds)}s"
    small, large = ("s", "m") if seconds < 3600 else ("m", "h")
    parts = divmod(int(seconds) if seconds < 3600 else int(seconds) // 60, 60)
    return f"{parts[0]}{large}{parts[1]:02d}{small}"
