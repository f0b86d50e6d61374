"""The options that say what a server has to have, of each command that takes them."""

from __future__ import annotations

from typing import Annotated

import typer

from skylift.cli import complete

CpuOption = Annotated[str | None, typer.Option("--cpu", metavar="N", help="At least so many vCPUs.")]
MemoryOption = Annotated[str | None, typer.Option("--memory", metavar="SIZE", help="At least so much, like 16GiB.")]
ArchOption = Annotated[
    str | None,
    typer.Option("--arch", metavar="ARCH", help="x86_64 or arm64.", autocompletion=complete.architecture),
]
GpuOption = Annotated[str | None, typer.Option("--gpu", metavar="GPU", help="A number of GPUs, a name, or both: T4:2.")]
RegionOption = Annotated[
    str | None,
    typer.Option("--region", metavar="REGION", help="Whose prices.", autocompletion=complete.region),
]
