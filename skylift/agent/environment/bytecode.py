"""Bytecode of an environment's packages, made before any program can have changed them.

Python compiles a module when it is first imported. On a fresh server that would be each time, and for large packages it
takes longer than all else. Modules that only a package's own authors import are left out: half of pandas are its tests.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
from pathlib import Path
from typing import Dict, List

LEAST = 10.0
"""Seconds that compiling may always take. It may take as long as installing the packages did, too. Python compiles the
rest when it is imported, as usual."""

_LEFT_OUT = "tests?|idlelib|lib2to3|turtledemo"


def compile_argv(python: str, folders: List[Path]) -> List[str]:
    """Python compares the modification times of the sources to tell whether its bytecode is still theirs: a program
    that changes a package runs its own version. No hook that packages have put into Python is run.
    """
    tops = [str(folder) for folder in folders if folder.is_dir()]
    tests = "^(?:%s)/.*/(?:%s)/" % ("|".join(map(re.escape, tops)), _LEFT_OUT)
    options = ["-q", "-q", "-j", "0", "--invalidation-mode", "timestamp", "-x", tests]
    return [python, "-I", "-S", "-m", "compileall", *options, *tops]


def run_within(argv: List[str], seconds: float, env: Dict[str, str]) -> bool:
    """Whether a command has ended by itself. Otherwise it is killed with all processes that it has started, because
    they could still write files that are looked at next. Its output is dropped."""
    running = subprocess.Popen(
        argv, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        start_new_session=True,
    )  # fmt: skip
    try:
        running.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        os.killpg(running.pid, signal.SIGKILL)
        running.communicate()  # until none of them has the pipe's other end any more
        return False
    return True
