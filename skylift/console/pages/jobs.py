"""Jobs: those that run, and those that have ended."""

from __future__ import annotations

from collections.abc import Sequence

from skylift.console.cloud_view import CloudView
from skylift.console.poller import FlatRow
from skylift.console.widgets.element import button, copyable, go_to, link, tag
from skylift.console.widgets.frame import head
from skylift.console.widgets.grid import Column, listed

COLUMNS = (
    Column("id", "Job", 190, leads="/jobs/"),
    Column("state", "State", 128, kind="state"),
    Column("what", "Runs"),
    Column("created", "Submitted", 150),
    Column("seconds", "Time", 84, kind="seconds"),
    Column("exit", "Exit", 64, kind="number"),
    Column("cost", "Cost", 84, kind="money"),
    Column("type", "Type", 92),
    Column("server", "Server", 168, leads="/instances/"),
    Column("address", "Address", 112),
)


class JobsPage:
    def __init__(self, view: CloudView) -> None:
        with head("Jobs"):
            button("New job", lambda: go_to("/new-job"), "primary")
        listed(view.jobs, COLUMNS, label="Jobs", empty=_say_empty, command="skylift ps --all", count=_count)


def _count(rows: Sequence[FlatRow]) -> str:
    running = sum(bool(row["server"]) for row in rows)
    return f"{len(rows)} {'job' if len(rows) == 1 else 'jobs'}, {running} with a server"


def _say_empty() -> None:
    tag("h2", "No job has run here yet.")
    tag("p", "A program runs on a server of its own with one command:")
    copyable("skylift run job.py")
    link("Or drop a script here", "/new-job")
