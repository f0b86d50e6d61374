"""The kernel's memory accounting: the limit, and how many processes the OOM killer has ended."""

from __future__ import annotations

from pathlib import Path
from typing import List, Optional

from skylift.agent.machine.kernel_files import read_number, read_table, read_text


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
        limits = [read_table(self._root / "proc/meminfo", unit=1024).get("MemTotal")]
        for folder in self._folders:
            limits += [read_number(folder / name) for name in ("memory.max", "memory.limit_in_bytes")]
        return min((limit for limit in limits if limit is not None), default=None)

    def _find_folders(self) -> List[Path]:
        """The folder of the innermost group with accounting, and its parents' folders."""
        mount = self._root / "sys/fs/cgroup"
        for line in read_text(self._root / "proc/self/cgroup").splitlines():
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
                found = read_table(folder / name).get("oom_kill")
                if found is not None:
                    return found
        return read_table(self._root / "proc/vmstat").get("oom_kill", 0)
