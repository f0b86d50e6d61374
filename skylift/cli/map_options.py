"""The option --into, which all commands have that bring a map's results home."""

from __future__ import annotations

from typing import Annotated

import typer

DEFAULT = "out/{index}"
IntoOption = Annotated[
    str,
    typer.Option(
        "--into",
        metavar="TEMPLATE",
        help="Of a map: the folder for each input's results, with {index}, {name} or {stem} of the input.",
    ),
]
