"""The kernel's memory accounting: the limit, and how many processes the OOM killer has ended."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Dict, List, Optional


class Memory:
    """This process's own control group, of either version; without one, the whole system's counters."""

    def __init__(self, root: Path = Path("/"), before: Optional[int] = None) -> None:
        self._root = root
        self._folders = self._find_folders()
        self.before = self._kills() if before is None else before

    def kills(self) -> int:
        """The number of processes that the OOM killer has ended since `before` was counted. A reboot starts at zero."""
        return max(0, self._kills() - self.before)

    def limit(self) -> Optional[int]:
        """The bytes that all processes here may use together."""
        limits = [self._meminfo()]
        for folder in self._folders:
            for name in ("memory.max", "memory.limit_in_bytes"):
                limits.append(_number(_read(folder / name)))
        return min((limit for limit in limits if limit is not None), default=None)

    def _find_folders(self) -> List[Path]:
        """The folder of the innermost group with accounting, and those of its parents."""
        mount = self._root / "sys/fs/cgroup"
        for line in _read(self._root / "proc/self/cgroup").splitlines():
            _, controllers, place = line.split(":", 2)
            top = mount / "memory" if "memory" in controllers.split(",") else mount
            if controllers and top == mount:
                continue
            folder = top / place.lstrip("/")
            # In a cgroup namespace the path may not exist below the mount.
            for inner in (folder, top):
                if (inner / "memory.events").exists() or (inner / "memory.oom_control").exists():
                    return [inner, *(each for each in inner.parents if each == top or top in each.parents)]
        return []

    def _kills(self) -> int:
        for folder in self._folders[:1]:
            for name in ("memory.events", "memory.oom_control"):
                found = _table(_read(folder / name)).get("oom_kill")
                if found is not None:
                    return found
        return _table(_read(self._root / "proc/vmstat")).get("oom_kill", 0)

    def _meminfo(self) -> Optional[int]:
        for line in _read(self._root / "proc/meminfo").splitlines():
            if line.startswith("MemTotal:"):
                return int(line.split()[1]) << 10
        return None


def _read(path: Path) -> str:
    with contextlib.suppress(OSError):
        return path.read_text()
    return ""


def _number(text: str) -> Optional[int]:
    return int(text) if text.strip().isdigit() else None


def _table(text: str) -> Dict[str, int]:
    pairs = [line.split() for line in text.splitlines()]
    return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2 and pair[1].isdigit()}
