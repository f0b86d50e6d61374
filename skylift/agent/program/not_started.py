"""Says why a command could not be started, and what this server has instead."""

from __future__ import annotations

import difflib
import os
import re
import shutil
from typing import Dict, List

_EDITORS = ("nano", "vim", "vi", "emacs", "micro", "ed", "pico", "nvim", "joe", "mcedit")
_INSTALLERS = {"apt-get": "sudo apt-get update && sudo apt-get install -y %s", "dnf": "sudo dnf install -y %s"}

_PYTHON_TOOLS = {
    *("black", "flask", "gunicorn", "ipython", "jupyter", "jupyter-lab", "marimo", "mypy", "nox", "poetry", "pytest"),
    *("ruff", "streamlit", "tox", "uvicorn"),
}
_CONTAINERS = {"docker", "podman"}


def why_not_started(argv: List[str], error: OSError, env: Dict[str, str], cwd: str) -> str:
    """Sentences for the job's outcome. `env` and `cwd` are what the program would have had."""
    name, path = argv[0], env.get("PATH", os.defpath)
    if not isinstance(error, FileNotFoundError):
        return "%s could not be started: %s." % (name, error.strerror)
    if "/" in name:
        if os.path.exists(os.path.join(cwd, name)):
            return "%s could not be started: what its first line names as its interpreter is not on the server." % name
        return "%s is not on the server. What a job needs goes along with --in, relative to where you are." % name
    sentences = ["There is no command %s on the server." % name]
    first = name.split()[0] if name.split() else name
    if first != name:
        sentences.append("It was given as one word: %s would be started by the same words without quotes." % first)
        return " ".join(sentences)
    if name in _EDITORS:
        there = [each for each in _EDITORS if shutil.which(each, path=path)]
        if there:
            sentences.append("Editors that are there: %s." % ", ".join(there))
    else:
        near = difflib.get_close_matches(name, _commands(path), n=3, cutoff=0.75)
        if near:
            sentences.append("There is %s." % _or(near))
    return " ".join(sentences)


def how_to_install(argv: List[str], error: OSError, env: Dict[str, str]) -> str:
    """Lines for the job's outcome: a command that installs what is missing first. Empty if nothing can be installed, or
    if nothing is missing that could be. Each line leaves room in 80 columns for a prefix."""
    name, path = argv[0], env.get("PATH", os.defpath)
    if not isinstance(error, FileNotFoundError) or not re.fullmatch(r"[\w.+-]+", name):
        return ""
    if name in _PYTHON_TOOLS and shutil.which("uv", path=path):
        return "%s is a Python program. Add it to your requirements, or run:\n  uv tool run %s ..." % (name, name)
    installer = next((each for each in _INSTALLERS if shutil.which(each, path=path)), None)
    if installer is None or not shutil.which("sudo", path=path):
        return ""
    words = _INSTALLERS[installer] % "PACKAGE", name
    first = "To have it installed first:"
    if name in _CONTAINERS:
        first = "A server on this machine cannot run containers.\nTo have it installed first on AWS:"
    return first + "\n  sh -c '%s &&\n    %s ...'" % words


def _commands(path: str) -> List[str]:
    found = set()
    for folder in path.split(os.pathsep):
        if os.path.isdir(folder):
            found.update(os.listdir(folder))
    return sorted(found)


def _or(words: List[str]) -> str:
    return words[0] if len(words) == 1 else "%s or %s" % (", ".join(words[:-1]), words[-1])
