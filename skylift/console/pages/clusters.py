"""Dask clusters: those that are there, and their end. Their members are jobs."""

from __future__ import annotations

from shlex import quote

from skylift.console.cloud_view import CloudView
from skylift.console.poller import FlatRow
from skylift.console.widgets.dialog import confirm
from skylift.console.widgets.element import button, copyable, enable, tag
from skylift.console.widgets.frame import head
from skylift.console.widgets.grid import Column, listed

COLUMNS = (
    Column("id", "Cluster", leads="/jobs/"),
    Column("state", "State", 130, kind="state"),
    Column("workers", "Workers", 110, kind="number"),
    Column("created", "Made", 170),
    Column("group", "Security group", 210, leads="/security-groups/"),
)


class ClustersPage:
    def __init__(self, view: CloudView) -> None:
        self._view = view
        with head("Clusters"):
            self._end = button("Take down", lambda: self._grid.with_one(self._ask), "danger")
        self._grid = listed(
            view.clusters,
            COLUMNS,
            label="Clusters",
            empty=_say_empty,
            command="skylift cluster ls",
            on_choice=lambda chosen: enable(self._end, len(chosen) == 1),
        )

    def _ask(self, row: FlatRow) -> None:
        confirm(
            "Take this cluster down?",
            [
                f"{row['id']}, {row['workers']} workers",
                "Its servers are turned off, and what they have in memory is lost.",
                "Its jobs' records and roles and its security group are removed.",
            ],
            f"skylift cluster down {quote(row['id'])}",
            "Take down",
            lambda: self._view.job_port.take_down(row["id"]),
            done=self._view.clusters.look_soon,
        )


def _say_empty() -> None:
    tag("h2", "There is no cluster.")
    tag("p", "A Dask cluster is there for a program, and goes with it:")
    copyable("skylift cluster up --servers 0..8 -- python train.py")
