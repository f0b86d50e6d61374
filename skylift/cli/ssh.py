"""`skylift ssh`: a shell, or one command, on a job's server."""

from __future__ import annotations

import os
import shutil
from typing import Annotated

import typer

from skylift.cli.place import JobName, On, account_there, job_called


def register(app: typer.Typer) -> None:
    app.command("ssh", context_settings={"allow_interspersed_args": False})(ssh)


def ssh(
    name: JobName,
    command: Annotated[
        list[str] | None,
        typer.Argument(help="A command, instead of a shell. One word is a line that the shell there reads."),
    ] = None,
    terminal: Annotated[
        bool, typer.Option("--tty", "-t", help="A terminal for the command, as top and editors need it.")
    ] = False,
    on: On = None,
) -> None:
    """Open a shell on a job's server, or run a command there.

    The exit code is the command's. The host key is pinned.
    """
    from skylift.client.errors import UsageError
    from skylift.client.jobs.jobs import Jobs

    words = tuple(command or ())
    words = words[1:] if words[:1] == ("--",) else words
    if shutil.which("ssh") is None:
        raise UsageError("There is no OpenSSH client on this machine.", "Install it: openssh-client.")
    account = account_there(on)
    argv = Jobs(account.settings, account).shell(job_called(account, name), words, terminal=terminal)
    os.execvp(argv[0], argv)  # noqa: S606 (an argv of ours, no shell)
