"""Where jobs run: `--on local`, this machine's own EC2, or `--on aws`, the account that boto3 finds credentials of."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from skylift.cloud.home import default_home
from skylift.runner.errors import UsageError

if TYPE_CHECKING:
    from skylift.runner.job import Settings

On = Annotated[
    str | None,
    typer.Option(
        "--on",
        metavar="PLACE",
        envvar="SKYLIFT_ON",
        help="local (this machine, the default) or aws.",
        show_envvar=False,
    ),
]


def settings_for(on: str | None) -> Settings:
    """The place's settings. What `on` is in `[tool.skylift]` of the project around counts where nothing was said."""
    chosen = on if on is not None else _projects_place()
    if chosen == "local":
        from skylift.cli.local import local_settings

        return local_settings()
    if chosen == "aws":
        from skylift.runner.aws import aws_settings

        return aws_settings(default_home().path / "keys")
    raise UsageError(f"--on {chosen!r} is not a place where jobs run.", "It may be local or aws.")


def _projects_place() -> str:
    from skylift.runner.tool_table import project_table

    table = project_table(Path.cwd())
    return str(table.values.get("on", "local")) if table is not None else "local"
