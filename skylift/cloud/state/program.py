"""What root gives to programs that it starts: a Python without the caller's modules, and a clean environment.

A variable can change what Python, the loader, a shell or apt executes, and the user's programs can set one before
the user becomes root. Only variables named here are passed on, and programs are looked for in root's directories.
"""

from __future__ import annotations

import os
import shutil
import site
import sys
from functools import cache
from pathlib import Path

from skylift.cloud.state.data import is_root_path

USUAL_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

SETTINGS = (
    # where the state is
    "SKYLIFT_HOME SKYLIFT_DATA "
    # where packages come from, for the image and for servers
    "PIP_INDEX_URL PIP_EXTRA_INDEX_URL PIP_TRUSTED_HOST PIP_PROXY PIP_CERT PIP_CONFIG_FILE "
    "UV_INDEX_URL UV_EXTRA_INDEX_URL UV_DEFAULT_INDEX UV_INDEX UV_INSECURE_HOST XDG_CONFIG_HOME "
    "SKYLIFT_SHARE_PASSWORDS "
    # the way out, and whom to trust
    "HTTP_PROXY HTTPS_PROXY ALL_PROXY NO_PROXY http_proxy https_proxy all_proxy no_proxy "
    "SSL_CERT_FILE SSL_CERT_DIR REQUESTS_CA_BUNDLE CURL_CA_BUNDLE AWS_CA_BUNDLE"
).split()
"""What the cloud reads of its user's environment. Files that these name are read with the user's rights."""

_FROM_PLACE = (
    "import runpy, sys; sys.path.insert(0, sys.argv.pop(1)); "
    "runpy.run_module(sys.argv.pop(1), run_name='__main__', alter_sys=True)"
)


def own_python(module: str) -> list[str]:
    """The command for a module of this package. -I: no variable, no directory of the user's, not the current one.

    Where this package is not in Python's own place (for one user, or a checkout), its place is said on the command
    line, and Python looks there only once it has started.
    """
    place = str(Path(__file__).parents[3])
    if place in site.getsitepackages():
        return [sys.executable, "-I", "-m", module]
    return [sys.executable, "-I", "-c", _FROM_PLACE, place, module]


def cloud_environment() -> dict[str, str]:
    """For the cloud's own process: its user's settings as well."""
    return own_environment(**_taken(*SETTINGS, "HOME", "SUDO_UID", "SUDO_GID", "SUDO_USER"))


def apt_environment(**more: str) -> dict[str, str]:
    """For apt, and what starts it: the way out as well."""
    proxies = _taken("http_proxy", "https_proxy", "no_proxy", "HTTPS_PROXY", "NO_PROXY")
    return own_environment(**proxies, DEBIAN_FRONTEND="noninteractive", **more)


def own_environment(**more: str) -> dict[str, str]:
    """For a program: where programs are, a language, and `more`."""
    return {"PATH": programs_path(), "LC_ALL": "C.UTF-8", **more}


def _taken(*names: str) -> dict[str, str]:
    return {name: os.environ[name] for name in names if name in os.environ}


def programs_path() -> str:
    """Where programs are looked for. Users' PATHs lack administrators' programs. On most systems sudo sets its own
    PATH; on others it passes the user's."""
    path = os.environ.get("PATH", os.defpath)
    return root_path(path) if os.geteuid() == 0 else f"{path}:{USUAL_PATH}"


def find_program(name: str) -> str | None:
    return shutil.which(name, path=programs_path())


@cache
def root_path(path: str) -> str:
    """The directories of a PATH that belong to root all the way, and the usual ones, for programs that root runs by
    name."""
    entries = [os.path.realpath(entry) for entry in path.split(os.pathsep) if Path(entry).is_absolute()]
    kept = [entry for entry in entries if is_root_path(Path(entry))]
    return os.pathsep.join(dict.fromkeys([*kept, *USUAL_PATH.split(os.pathsep)]))


def passed_by_sudo() -> list[str]:
    """The names that sudo lets through: the settings, and how to write on this terminal."""
    return [*SETTINGS, "LANG", "LC_ALL", "LC_CTYPE", "NO_COLOR"]
