"""What is used of a server, as it reports while somebody watches. What its kernel does not tell is null."""

from typing import Annotated, Any, Dict, NamedTuple, Optional, Tuple

from skylift.contract.document import ALWAYS, Most, Range, Text

USAGE_LIMIT = 1 << 16
LONGEST_STREAM = 1 << 62
"""Bytes."""
Bytes = Annotated[int, Range(0, LONGEST_STREAM)]
Processors = Annotated[float, Range(0, 1e6)]


class Process(NamedTuple):
    pid: Annotated[int, Range(1, 1 << 30)]
    processor: Annotated[Processors, "the share of one that it has had since the last look"]
    seconds: Annotated[float, Range(0, 1e12), ALWAYS, "of work in all"] = 0.0
    memory: Annotated[Bytes, ALWAYS] = 0
    command: Annotated[str, Text(200), ALWAYS, "its own word for itself, which may be anything"] = ""


class Usage(NamedTuple):
    processor: Annotated[Optional[float], Range(0, 1), "the share of all that is at work"] = None
    processors: Optional[Processors] = None
    memory: Optional[Bytes] = None
    memory_limit: Annotated[Optional[int], Range(1, LONGEST_STREAM)] = None
    disk: Annotated[Optional[Bytes], "used of the disk that the job is on"] = None
    disk_size: Optional[Bytes] = None
    read: Annotated[Optional[Bytes], "a second, from disks"] = None
    written: Optional[Bytes] = None
    received: Annotated[Optional[Bytes], "a second, by the network"] = None
    sent: Optional[Bytes] = None
    processes: Annotated[Tuple[Process, ...], Most(100), "those that work most"] = ()
    processes_count: Annotated[int, Range(0, 1 << 30), "of how many"] = 0

    def as_json(self) -> Dict[str, Any]:
        return {**self._asdict(), "processes": [each._asdict() for each in self.processes]}
