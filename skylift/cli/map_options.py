"""Options of maps that only commands have, and several of them."""

from __future__ import annotations

from typing import Annotated

import typer

ListedOption = Annotated[
    str | None, typer.Option("--inputs", metavar="FILE", help="A file with an input a line; - is standard input.")
]
NumbersOption = Annotated[
    str | None, typer.Option("--range", metavar="A..B", help="The numbers from A to B, including both.")
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
