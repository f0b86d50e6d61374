"""What a server says while somebody watches: how it is, where its streams begin and go on, and how to log in."""

import re
from typing import Annotated, Dict, Literal, NamedTuple, Optional, Tuple

from skylift.contract.document import Malformed, Most, Range, Text
from skylift.contract.status import Instance, Offset

FRAME_LIMIT = 1 << 16
Name = Literal["stdout", "stderr"]
STREAMS: Tuple[Name, ...] = ("stdout", "stderr")


class Sending(NamedTuple):
    """Of the results that are on their way to S3."""

    files: Offset = 0
    files_sent: Offset = 0
    size: Annotated[Offset, "bytes"] = 0
    size_sent: Offset = 0

    def check(self) -> None:
        if self.files_sent > self.files or self.size_sent > self.size:
            raise Malformed("`sending` has more sent than there is")


class Gauge(NamedTuple):
    processor: Annotated[Optional[float], Range(0, 1), "the share of all that is at work"] = None
    memory: Annotated[Optional[Offset], "bytes"] = None
    memory_limit: Annotated[Optional[int], Range(1, 1 << 62)] = None
    doing: Annotated[str, Text(200), "what uv said last, while an environment is made"] = ""
    sending: Annotated[Sending, "while results are sent"] = Sending()


class Offsets(NamedTuple):
    stdout: Offset
    stderr: Offset

    def by_name(self) -> Dict[Name, int]:
        return {"stdout": self.stdout, "stderr": self.stderr}


class Skip(NamedTuple):
    stream: Name
    to: Annotated[Offset, "where it goes on"]


class HostKeys(NamedTuple):
    user: Annotated[str, Text(32, re.compile(r"[a-z_][a-z0-9_-]{0,31}")), "to log in as"]
    keys: Annotated[Tuple[Annotated[str, Text(16384)], ...], Most(32), "the server's public SSH keys"]
    instance: Instance = ""


class StdinTaken(NamedTuple):
    taken: Annotated[Offset, "bytes of its standard input that the program has been passed"]
