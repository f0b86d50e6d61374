"""Becomes root for what needs it: starts the same program again, by absolute path, under sudo."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from skylift import version
from skylift.cloud.state.home import Home
from skylift.runner.errors import UsageError

PRESERVED = (
    # where the state is, and where this package is
    "SKYLIFT_HOME SKYLIFT_DATA PYTHONPATH "
    # where packages come from, for the image and for servers
    "PIP_INDEX_URL PIP_EXTRA_INDEX_URL PIP_TRUSTED_HOST PIP_PROXY PIP_CERT PIP_CONFIG_FILE "
    "UV_INDEX_URL UV_EXTRA_INDEX_URL UV_DEFAULT_INDEX UV_INDEX UV_INSECURE_HOST XDG_CONFIG_HOME "
    # the way out, and whom to trust
    "HTTP_PROXY HTTPS_PROXY ALL_PROXY NO_PROXY http_proxy https_proxy all_proxy no_proxy "
    "SSL_CERT_FILE SSL_CERT_DIR REQUESTS_CA_BUNDLE CURL_CA_BUNDLE AWS_CA_BUNDLE "
    # how to write on this terminal
    "LANG LC_ALL LC_CTYPE NO_COLOR"
).split()
"""What sudo lets through: a list, so that nothing else of the caller's environment reaches root."""


def is_root() -> bool:
    return os.geteuid() == 0


def run_as_root(home: Home, arguments: list[str]) -> int:
    """Run `skylift ARGUMENTS` as root and return its exit code. Asks for a password where sudo does.

    Raises UsageError where there is no way to become root.
    """
    sudo = shutil.which("sudo")
    if sudo is None:
        raise UsageError(
            f"`skylift {' '.join(arguments)}` needs root, and there is no sudo on this machine.",
            "Run it as root; servers need namespaces, mounts and a firewall that only root may make.",
        )
    code = subprocess.run(root_command(sudo, arguments), env=root_environment(home, os.environ), check=False).returncode
    if code == 1:
        # None of the commands that are run this way ends with 1; sudo does when it refuses.
        raise UsageError(
            f"sudo did not let `skylift {' '.join(arguments)}` run as root.",
            "Run it as root, or as a user that may use sudo; on a terminal, sudo asks for the password.",
        )
    return code


def root_command(sudo: str, arguments: list[str]) -> list[str]:
    """-P: nothing is imported from the directory that the caller happens to be in."""
    names = ",".join(PRESERVED)
    return [sudo, f"--preserve-env={names}", "--", sys.executable, "-P", "-m", "skylift.cli.main", *arguments]


def root_environment(home: Home, environment: Mapping[str, str]) -> dict[str, str]:
    """The caller's own, with what root cannot find by itself: the state, and this package."""
    return {**same_package(environment), "SKYLIFT_HOME": str(home.path)}


def same_package(environment: Mapping[str, str]) -> dict[str, str]:
    """With the way to this package, where it is not installed in Python's own place: for one user, or not at all."""
    package = Path(version.__file__).parent.parent
    if package.is_relative_to(sys.prefix):
        return dict(environment)
    others = [path for path in environment.get("PYTHONPATH", "").split(os.pathsep) if path and path != str(package)]
    return {**environment, "PYTHONPATH": os.pathsep.join([str(package), *others])}
