"""Nouns of Systems Manager's Run Command: a command, and its invocation on each server."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

Status = Literal["Pending", "InProgress", "Cancelling", "Success", "Failed", "TimedOut", "Cancelled"]
UNFINISHED: tuple[Status, ...] = ("Pending", "InProgress", "Cancelling")

STDOUT, STDERR = 24_000, 8_000
"""The most characters of a script's two outputs in an answer."""
TRUNCATED = "--output truncated--"
"""This ends an output that was longer."""


@dataclass(frozen=True)
class Target:
    """Servers that a command is meant for: those with a tag (`tag:KEY`, `tag-key`), or with an id (`InstanceIds`)."""

    key: str
    values: tuple[str, ...]


@dataclass(frozen=True)
class Command:
    """One request to run a document. Servers that it has not reached at `expires` are given up.

    `timeout` is how many seconds were given to reach them. At most `max_concurrency` servers run it at the same time,
    and no other begins once more than `max_errors` have failed: numbers, or percentages of the servers.
    """

    id: str
    document: str
    document_version: str
    parameters: dict[str, list[str]]
    requested: datetime
    expires: datetime
    timeout: int
    comment: str = ""
    instance_ids: tuple[str, ...] = ()
    targets: tuple[Target, ...] = ()
    bucket: str = ""
    prefix: str = ""
    max_concurrency: str = "50"
    max_errors: str = "0"


@dataclass(frozen=True)
class CommandInvocation:
    """A command on one server. `code` is the script's exit code; -1 as long as it has none.

    `details` says more than `status` does, in a word of AWS's (`ExecutionTimedOut`).
    """

    command_id: str
    instance_id: str
    status: Status = "Pending"
    details: str = "Pending"
    code: int = -1
    begun: datetime | None = None
    ended: datetime | None = None
    stdout: str = ""
    stderr: str = ""


@dataclass(frozen=True)
class Script:
    """What a server is to run as root. `key` is its name on the server: a script runs once under one name.

    It is stopped after `seconds`. Its output is copied to `bucket` below `prefix`, if there is a bucket.
    """

    key: str
    text: str
    directory: str
    seconds: int
    environment: dict[str, str] = field(default_factory=dict)
    bucket: str = ""
    prefix: str = ""


@dataclass(frozen=True)
class ScriptEnd:
    """How a script ended, and the beginning of what it wrote. `lost`: the server went off while it ran."""

    how: Literal["exited", "timed-out", "cancelled", "lost"]
    code: int
    stdout: str
    stderr: str
