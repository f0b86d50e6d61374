"""Where jobs run: `--on local`, this machine's own EC2, or `--on aws`, the account that boto3 finds credentials of."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from skylift.cli import complete
from skylift.cli.bar import build_bar
from skylift.cli.options import typer_option
from skylift.cli.say import say, say_trouble

if TYPE_CHECKING:
    from skylift.client.job.settings import Access, Settings
    from skylift.client.remote.account import Account

On = Annotated[str | None, typer_option("on")]

_NAME_HELP = "The job, as `skylift ps` shows it, or the beginning of its name; `-` is the last one of this folder"
JobName = Annotated[str, typer.Argument(metavar="NAME", help=f"{_NAME_HELP}.", autocompletion=complete.job_name)]
LastJobName = Annotated[
    str | None, typer.Argument(metavar="[NAME]", help=f"{_NAME_HELP}, as is none.", autocompletion=complete.job_name)
]
JobNames = Annotated[
    list[str],
    typer.Argument(
        metavar="NAME...",
        help="Jobs, as `skylift ps` shows them; the beginning of a name is enough.",
        autocompletion=complete.job_name,
    ),
]


def settings_for(on: str | None, access: Access | None = None) -> Settings:
    """The settings of the place. If its image has to be built, a bar shows the progress."""
    from skylift.place.settings import settings_for as find

    return replace(find(on, access, showing=build_bar), note=say_trouble)


def settings_there(on: str | None, region: str | None = None) -> Settings:
    """The same for commands that show or end jobs: they do not start a cloud that is down."""
    from skylift.place.settings import settings_for as find

    return replace(find(on, showing=build_bar, start=False, region=region), note=say_trouble)


def job_called(account: Account, asked: str | None, *, whole: bool = False) -> str:
    """The whole name of the job that is meant, which is said where it is another word. On a terminal, nothing is `-`.
    Raises UsageError."""
    from skylift.client.errors import UsageError
    from skylift.client.jobs.names import LAST, find_job_name

    if asked is None and not sys.stderr.isatty():
        raise UsageError("Which job?", f"Name it. `{LAST}` is the last one that was started from this folder.")
    name = find_job_name(account, asked or LAST, whole=whole)
    if name != asked and sys.stderr.isatty():
        say(f"Job {name}", to_stderr=True)
    return name


def account_there(on: str | None) -> Account:
    from skylift.client.remote.account import open_account

    return open_account(settings_there(on))
