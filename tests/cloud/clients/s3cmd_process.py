"""Runs s3cmd again and again, in the environment that has it: each command in a process of its own that has read the
program already. It is a script, which Python compiles at each start, and the tests have fifty commands.

Of standard input it takes a line for each command (see test_s3cmd.py), and answers with its exit code.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import traceback
from types import CodeType
from typing import Any

PARTS = ("S3", "Config", "S3Uri", "Utils", "Crypto", "Progress", "CloudFront", "FileLists", "MultiPart")


def run(program: CodeType, asked: dict[str, Any]) -> None:
    """In the new process, which does not come back."""
    code = 1
    try:
        for number, name in enumerate((os.devnull, asked["out"], asked["err"])):
            os.dup2(os.open(name, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600), number)
        os.chdir(asked["folder"])
        os.environ.clear()
        os.environ.update(asked["environment"])
        sys.argv = asked["words"]
        exec(program, {"__name__": "__main__", "__file__": asked["words"][0]})
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
        raise
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def main(path: str) -> None:
    for part in PARTS:
        importlib.import_module(f"S3.{part}")
    with open(path, encoding="utf-8") as file:
        program = compile(file.read(), path, "exec")
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            run(program, json.loads(line))
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
