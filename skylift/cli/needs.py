"""The options for what a server must have (`--cpu`, `--memory` and others), for each command that takes them."""

from __future__ import annotations

from typing import Annotated

import typer

from skylift.cli import complete
from skylift.cli.options import typer_option

CpuOption = Annotated[str | None, typer_option("cpu")]
MemoryOption = Annotated[str | None, typer_option("memory")]
ArchOption = Annotated[str | None, typer_option("arch")]
GpuOption = Annotated[str | None, typer_option("gpu")]
RegionOption = Annotated[
    str | None,
    typer.Option("--region", metavar="REGION", help="Show the prices of this region.", autocompletion=complete.region),
]
