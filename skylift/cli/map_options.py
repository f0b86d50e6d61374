"""Options of maps that several commands have: --into brings results home, the others say what is run on what."""

from __future__ import annotations

from typing import Annotated

import typer

ListedOption = Annotated[
    str | None,
    typer.Option("--inputs", metavar="FILE", help="A file with an input a line; - is standard input."),
]
NumbersOption = Annotated[
    str | None, typer.Option("--range", metavar="A..B", help="The numbers from A to B, including both.")
]
SplitOption = Annotated[
    str | None,
    typer.Option("--split", metavar="SIZE", help="Cut CSV and JSON lines into parts of at most this, like 64MiB."),
]
ServersOption = Annotated[
    str | None,
    typer.Option(
        "--servers",
        metavar="N|auto",
        help="The most servers; they start as the inputs need them. By default as with auto, and 8 at the most.",
    ),
]
PerServerOption = Annotated[
    int | None,
    typer.Option(
        "--per-server", metavar="K", help="Inputs that run at once on a server; its number of vCPUs by default.", min=1
    ),
]
BatchOption = Annotated[
    int | None,
    typer.Option("--batch", metavar="N", help="Inputs handed out at once; by their durations by default.", min=1),
]
HaltOption = Annotated[
    str | None,
    typer.Option("--halt", metavar="N|P%", help="End early when N inputs, or P percent, have failed."),
]
DEFAULT = "out/{index}"
IntoOption = Annotated[
    str,
    typer.Option(
        "--into",
        metavar="TEMPLATE",
        help="Of a map: the folder for each input's results, with {index}, {name} or {stem} of the input.",
    ),
]
