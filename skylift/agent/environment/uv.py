"""uv, which makes environments: the image's own, or the version in the job's bucket that the record names."""

from __future__ import annotations

import hashlib
import shutil
import zipfile
from pathlib import Path
from typing import Callable, Dict, Optional

from skylift.agent.machine.root_path import ROOT_PATH
from skylift.agent.remote.aws import Refused


class Uv:
    """`named` is {"key", "sha256"} of a wheel, or None where the record names none; `fetch` gets an object of the
    bucket into a file. `path` is where the image's own is looked for: the user's PATH is for a uv that runs as the
    user."""

    def __init__(
        self, named: Optional[Dict[str, str]], fetch: Callable[[str, Path], None], folder: Path, path: str = ROOT_PATH
    ) -> None:
        self._named, self._fetch, self._folder, self._path = named, fetch, folder, path

    def program(self) -> Optional[str]:
        """The path of uv; None without one."""
        found = shutil.which("uv", path=self._path)
        if found is not None or self._named is None:
            return found
        target = self._folder / "uv"
        if not target.exists():
            self._unpack(self._named, target)
        return str(target)

    def _unpack(self, named: Dict[str, str], target: Path) -> None:
        wheel, part = self._folder / "uv.whl", self._folder / "uv.part"
        self._folder.mkdir(mode=0o755, parents=True, exist_ok=True)
        self._folder.chmod(0o755)
        self._fetch(named["key"], wheel)
        if hashlib.sha256(wheel.read_bytes()).hexdigest() != named["sha256"]:
            raise Refused(200, "%s is not the wheel that the record names" % named["key"])
        with zipfile.ZipFile(str(wheel)) as archive:
            member = next(name for name in archive.namelist() if name.endswith(".data/scripts/uv"))
            with archive.open(member) as source, part.open("wb") as file:
                shutil.copyfileobj(source, file, 1 << 20)
        wheel.unlink()
        part.chmod(0o755)
        part.replace(target)
