"""Where commands and what became of them are kept."""

from __future__ import annotations

from datetime import timedelta

from skylift.cloud.domain.command import UNFINISHED, Command, CommandInvocation
from skylift.cloud.store.database import Tx
from skylift.cloud.store.mapping import table

table(Command, "commands", key=("id",))
table(CommandInvocation, "command_invocations", key=("command_id", "instance_id"))

REMEMBERED = timedelta(days=30)


def unfinished(tx: Tx) -> list[CommandInvocation]:
    return tx.find_among(CommandInvocation, {"status": UNFINISHED})


def forget_commands(tx: Tx) -> bool:
    """Drop commands of more than thirty days ago, as AWS does: first what they were on their servers."""
    old = (tx.now - REMEMBERED).isoformat()
    of_old = "command_id IN (SELECT id FROM commands WHERE requested < ?)"
    return tx.forget(CommandInvocation, of_old, old) or tx.forget(Command, "requested < ?", old)
