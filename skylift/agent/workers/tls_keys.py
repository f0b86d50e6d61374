"""Keys and certificates for the parts of Dask that are made on a server: no client is there when a schedule's map runs.

They are like the ones from dask/authority.py. OpenSSL's program makes them, because Python's standard library cannot.
The authority is this map's own, and its key is forgotten as soon as all parts have their keys.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Dict, Sequence

from skylift.agent.machine.root_path import ROOT_PATH

_EARLIER = 3600.0
"""Seconds before now from which a certificate is valid: clocks differ."""
_LATER = 3600.0
_PATIENCE = 60.0
"""Seconds for a step of OpenSSL's."""
_AUTHORITY = "authority"
_SETTINGS = """
[req]
distinguished_name = name
prompt = no
[name]
commonName = unused
[ca]
default_ca = own
[own]
database = index
new_certs_dir = .
rand_serial = yes
unique_subject = no
default_md = sha256
policy = any
[any]
commonName = supplied
[authority]
basicConstraints = critical, CA:TRUE, pathlen:0
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
[part]
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = serverAuth, clientAuth
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
"""


class CannotIssue(Exception):
    """The text is for the user."""


def issue(
    job: str, parts: Sequence[str], now: float, until: float, place: Path, program: str = "openssl"
) -> Dict[str, Dict[str, str]]:
    """An identity for each part (`scheduler`, `worker`): {"ca", "cert", "key"}, all of it PEM. They hold from now on
    and a little longer than `until`, both in seconds since the epoch. While they are made, they are files in a private
    folder below `place`. Raises CannotIssue."""
    with tempfile.TemporaryDirectory(dir=str(place)) as folder:
        return _Issuing(program, Path(folder), now - _EARLIER, until + _LATER).run(job, parts)


class _Issuing:
    def __init__(self, program: str, folder: Path, begins: float, ends: float) -> None:
        self._program, self._folder = program, folder
        self._dates = ("-startdate", _date(begins), "-enddate", _date(ends))

    def run(self, job: str, parts: Sequence[str]) -> Dict[str, Dict[str, str]]:
        (self._folder / "settings").write_text(_SETTINGS)
        (self._folder / "index").touch()
        self._certify(_AUTHORITY, "skylift %s" % job, "-selfsign", "-extensions", "authority")
        signed = ("-cert", "%s.pem" % _AUTHORITY, "-extensions", "part")
        for each in parts:
            self._certify(each, "%s of %s" % (each, job), *signed)
        authority = self._read("%s.pem" % _AUTHORITY)
        return {
            each: {"ca": authority, "cert": self._read("%s.pem" % each), "key": self._read("%s.key" % each)}
            for each in parts
        }

    def _certify(self, part: str, name: str, *how: str) -> None:
        key, asked = "%s.key" % part, "%s.csr" % part
        self._do("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", key)
        self._do("req", "-new", "-config", "settings", "-key", key, "-subj", "/CN=%s" % name, "-out", asked)
        self._do(
            "ca", "-batch", "-notext", "-config", "settings", "-keyfile", "%s.key" % _AUTHORITY, "-in", asked,
            "-out", "%s.pem" % part, *self._dates, *how,
        )  # fmt: skip

    def _do(self, *arguments: str) -> None:
        # No settings of the image's own, and nothing of the job's: its programs may run already, and this is root.
        env = {"PATH": ROOT_PATH, "OPENSSL_CONF": os.devnull, "LANG": "C.UTF-8"}
        try:
            done = subprocess.run(
                [_found(self._program), *arguments], cwd=str(self._folder), env=env, umask=0o077, timeout=_PATIENCE,
                check=False, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            )  # fmt: skip
        except (OSError, subprocess.TimeoutExpired) as error:
            raise CannotIssue("OpenSSL's program, which makes the keys, cannot be run: %s" % error) from None
        if done.returncode != 0:
            words = done.stdout.decode(errors="replace").strip()[-500:]
            raise CannotIssue("OpenSSL's program has made no keys (%s): %s" % (arguments[0], words))

    def _read(self, name: str) -> str:
        return (self._folder / name).read_text()


def _found(program: str) -> str:
    """The path of a program: a name alone would be looked for in this process's own PATH, which is the job's."""
    return shutil.which(program, path=ROOT_PATH) or os.path.join("/usr/bin", program)


def _date(moment: float) -> str:
    return time.strftime("%Y%m%d%H%M%SZ", time.gmtime(moment))
