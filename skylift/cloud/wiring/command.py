"""Gives the loop of commands the servers that it runs scripts on, and what documents say."""

from __future__ import annotations

from collections.abc import Callable

from skylift.cloud.compute.server.script import Scripts
from skylift.cloud.compute.server.server import Servers
from skylift.cloud.domain.command import Command, Script
from skylift.cloud.loops.ssm.command import CommandLoop, Rules
from skylift.cloud.services.ssm import document
from skylift.cloud.store.database import Database


def make_commands(
    database: Database, servers: Servers, region: str, changed: Callable[[], None], wake_in: Callable[[float], None]
) -> CommandLoop:
    def script_of(command: Command, instance_id: str) -> Script:
        return document.script_of(command, instance_id, region)

    scripts = Scripts(servers.begin, servers.runs)
    return CommandLoop(database, scripts, Rules(script_of, document.allowance), changed, wake_in)
