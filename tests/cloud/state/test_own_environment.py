"""Each program that root starts has an environment that was made for it."""

from __future__ import annotations

import ast
from pathlib import Path

import skylift

PACKAGE = Path(skylift.__file__).parent
ON_SERVERS = ("compute/image/debian13", "compute/server/run_script.py")
"""What runs on servers, as their root."""


def test_no_program_is_started_with_the_environment_that_the_caller_has() -> None:
    files = [*(PACKAGE / "cloud").rglob("*.py"), *(PACKAGE / "place").glob("*.py"), PACKAGE / "cli/setup.py"]
    starts, without = 0, []
    for file in files:
        if any(place in file.as_posix() for place in ON_SERVERS):
            continue
        for node in ast.walk(ast.parse(file.read_text())):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
                continue
            if ast.unparse(node.func.value) == "subprocess" and node.func.attr != "SubprocessError":
                starts += 1
                if "env" not in [keyword.arg for keyword in node.keywords]:
                    without.append(f"{file.relative_to(PACKAGE)}:{node.lineno}")
            elif ast.unparse(node.func.value) == "os" and node.func.attr.startswith(
                ("exec", "spawn", "posix_spawn", "system")
            ):
                without.append(f"{file.relative_to(PACKAGE)}:{node.lineno}")
    assert starts > 15
    assert without == []
