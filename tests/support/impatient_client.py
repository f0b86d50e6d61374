"""`skylift`, for servers that have seconds instead of a quarter of an hour to deliver their results.

python tests/support/impatient_client.py SECONDS ARGUMENTS...
"""

from __future__ import annotations

import sys

from skylift.cli.main import main
from skylift.client.job import commands


def _shorten(patience: str) -> None:
    whole = commands.boot_argv

    def shortened(*arguments: object) -> list[str]:
        return [*whole(*arguments), f"--patience={patience}"]  # type: ignore[arg-type]

    commands.boot_argv = shortened  # type: ignore[assignment]


if __name__ == "__main__":
    _shorten(sys.argv.pop(1))
    main()
