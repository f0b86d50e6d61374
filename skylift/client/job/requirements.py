"""Requirements of a server, as people write them: `4`, `16GiB`, `arm64`, `T4:2`, `memory-optimized`."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from skylift.client.errors import UsageError

if TYPE_CHECKING:
    from skylift.catalogue import InstanceType

MIB = {
    "MIB": 1.0,
    "M": 1.0,
    "GIB": 1024.0,
    "G": 1024.0,
    "TIB": 1024.0**2,
    "T": 1024.0**2,
    "MB": 1e6 / 2**20,
    "GB": 1e9 / 2**20,
    "TB": 1e12 / 2**20,
}
_GB = {"GB": 1.0, "G": 1.0, "TB": 1000.0, "T": 1000.0, "GIB": 2**30 / 1e9, "TIB": 2**40 / 1e9}
_GBPS = {"": 1.0, "G": 1.0, "GBPS": 1.0, "GBIT": 1.0, "M": 0.001, "MBPS": 0.001, "MBIT": 0.001}
_SIZE_FORM = re.compile(r"(\d+(?:\.\d+)?)\s*([A-Za-z]*)")
_GPU_FORM = re.compile(r"(?:(\d+)|([A-Za-z][A-Za-z0-9 -]*?)(?::(\d+))?)")
ARCHITECTURES = {"x86_64": "x86_64", "x86-64": "x86_64", "amd64": "x86_64", "arm64": "arm64", "aarch64": "arm64"}

CATEGORIES = (
    "general-purpose",
    "compute-optimized",
    "memory-optimized",
    "storage-optimized",
    "accelerated",
    "high-performance-computing",
)
BURSTABLE = "burstable"
WORDS = (*CATEGORIES, BURSTABLE)
"""AWS's words for groups of families, and `burstable`, which each type is checked for."""


@dataclass(frozen=True)
class Requirements:
    """Zero and empty where nothing is asked. `words` are those of WORDS, and families like m7i: any of them
    will do, but burstable is asked besides.
    """

    cpu: int = 0
    memory_mib: int = 0
    arch: str = ""
    gpus: int = 0
    gpu: str = ""
    disk_gb: float = 0
    network_gbps: float = 0
    words: tuple[str, ...] = field(default=())

    def __bool__(self) -> bool:
        return self != NOTHING

    def spell(self) -> str:
        """As options: `--cpu 4 --memory 16GiB`."""
        gpu = f"{self.gpu}:{self.gpus}" if self.gpu else str(self.gpus)
        spelled = [
            ("--cpu", str(self.cpu), self.cpu),
            ("--memory", spell_memory(self.memory_mib), self.memory_mib),
            ("--arch", self.arch, self.arch),
            ("--gpu", gpu, self.gpus),
            ("--disk", f"{self.disk_gb:g}GB", self.disk_gb),
            ("--network", f"{self.network_gbps:g}Gbps", self.network_gbps),
        ]
        return " ".join([*self.words, *(f"{option} {text}" for option, text, given in spelled if given)])

    def as_json(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if value}


NOTHING = Requirements()


def read_requirements(
    *,
    cpu: str | None = None,
    memory: str | None = None,
    arch: str | None = None,
    gpu: str | None = None,
    disk: str | None = None,
    network: str | None = None,
    words: Sequence[str] = (),
) -> Requirements:
    """Raises UsageError, with the option's name, for what cannot be read."""
    gpus, gpu_name = _read_gpu(gpu) if gpu is not None else (0, "")
    return Requirements(
        cpu=_read_cpu(cpu) if cpu is not None else 0,
        memory_mib=math.ceil(read_size(memory, "--memory", MIB, "16GiB or 512MiB")) if memory is not None else 0,
        arch=_read_arch(arch) if arch is not None else "",
        gpus=gpus,
        gpu=gpu_name,
        disk_gb=read_size(disk, "--disk", _GB, "100GB or 2TB") if disk is not None else 0,
        network_gbps=read_size(network, "--network", _GBPS, "10Gbps") if network is not None else 0,
        words=tuple(word.lower() for word in words),
    )


def _read_cpu(text: str) -> int:
    if not re.fullmatch(r"[1-9]\d{0,5}", text.strip()):
        raise UsageError(f"--cpu {text!r} is not a number of vCPUs.", "Write it like 4.")
    return int(text)


def read_size(text: str, option: str, units: dict[str, float], example: str) -> float:
    found = _SIZE_FORM.fullmatch(text.strip())
    unit = units.get(found[2].upper()) if found is not None else None
    if found is None or unit is None:
        raise UsageError(f"{option} {text!r} is not a size with its unit.", f"Write it like {example}.")
    size = float(found[1]) * unit
    if not 0 < size < 1e9:
        raise UsageError(f"{option} {text!r} is not a size that a server could have.", f"Write it like {example}.")
    return size


def _read_arch(text: str) -> str:
    if text.lower() not in ARCHITECTURES:
        raise UsageError(f"--arch {text!r} is not known.", "It may be x86_64 or arm64.")
    return ARCHITECTURES[text.lower()]


def _read_gpu(text: str) -> tuple[int, str]:
    found = _GPU_FORM.fullmatch(text.strip())
    number = (found[1] or found[3] or "1") if found is not None else "0"
    if found is None or int(number) == 0:
        raise UsageError(f"--gpu {text!r} is not understood.", "Write a number, a name like T4, or both: T4:2.")
    return int(number), found[2] or ""


def spell_memory(mib: float) -> str:
    """`512MiB`, `16GiB`, `1.5GiB`, and `4GB` where that was asked for."""
    decimal = round(mib / MIB["GB"])
    if mib % 256 and mib == math.ceil(decimal * MIB["GB"]):
        return f"{decimal}GB"
    return f"{mib / 1024:g}GiB" if mib >= 1024 else f"{mib:g}MiB"


def check_words(words: Iterable[str], types: Iterable[InstanceType]) -> None:
    """Raises UsageError for a word that no type answers to."""
    known = {*WORDS, *(name for each in types for name in (each.family, each.name))}
    for word in words:
        if word not in known:
            near = difflib.get_close_matches(word, sorted(known), n=3)
            near += [each for each in WORDS if difflib.get_close_matches(word, each.split("-"))]
            near = list(dict.fromkeys(near))
            advice = f"Near it: {', '.join(near)}." if near else f"There are {', '.join(WORDS)}, and names like m7i."
            raise UsageError(f"There are no instance types called {word!r}.", advice)
