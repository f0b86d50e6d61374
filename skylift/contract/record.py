"""A job's record, record.json: what to do. Its client writes it, and nobody else may.

Times are in seconds since the epoch, and spans in seconds. A schedule has one for all of its runs.
"""

import re
import shlex
from typing import Annotated, Any, Dict, FrozenSet, Literal, NamedTuple, Optional, Tuple

from skylift.contract.document import ALWAYS, FOREVER, Most, Range, Text

VERSION = 1
RECORD_LIMIT = 64 << 20
"""The most bytes of a record, which has the digest of each large input."""
LATEST_START = 86400
"""Seconds after its time in which EventBridge Scheduler starts a run that could not be started before."""
BEAT = 15.0
"""Seconds between two writes of a holder that is alive."""
LOG_CAP = 1 << 30
_BELOW = re.compile(r"(?!/)(?!(?:[^\0]*/)?\.\.(?:/|\Z))[^\0]*")
_PYTHON = re.compile(r"(?:3\.\d{1,2}(?:\.\d{1,2})?)?")
_MANY = Most(1_000_000)

Word = Annotated[str, Text(255)]
Path = Annotated[str, Text(4096)]
PathBelow = Annotated[str, Text(4096, _BELOW)]
Sha256 = Annotated[str, Text(64, re.compile(r"[0-9a-f]{64}"))]
Size = Annotated[int, Range(0, 1 << 62)]
Seconds = Annotated[int, Range(0, 1 << 40)]
Beat = Annotated[float, Range(0, 1e9), "seconds between two signs of life"]
Code = Annotated[int, Range(0, 255)]
Time = Annotated[float, Range(0, FOREVER)]
Overlap = Literal["skip", "queue", "allow"]


class Pack(NamedTuple):
    sha256: Annotated[Sha256, "of the archive, tar.gz, in inputs/sha256/"]
    files: Annotated[Size, ALWAYS, "how many entries it has"] = 0
    size: Annotated[Size, ALWAYS, "how many bytes its files have together"] = 0


class LargeInput(NamedTuple):
    place: Annotated[Path, "where in the job's folder it belongs"]
    sha256: Annotated[Sha256, "of its bytes, in inputs/sha256/"]
    size: Annotated[Size, ALWAYS, "bytes"] = 0
    mode: Annotated[Size, ALWAYS, "its permissions"] = 0o644


class Environment(NamedTuple):
    kind: Annotated[Literal["none", "script", "requirements", "project"], ALWAYS, "what uv reads"] = "none"
    path: Annotated[PathBelow, ALWAYS, "the file, or the project's folder, in the job's folder"] = ""
    python: Annotated[str, Text(16, _PYTHON), ALWAYS, "the wanted version"] = ""


class Terminal(NamedTuple):
    term: Annotated[Word, ALWAYS, "its kind"] = "xterm-256color"
    rows: Annotated[Size, ALWAYS, "its first size"] = 24
    columns: Annotated[Size, ALWAYS, "likewise"] = 80


class Succession(NamedTuple):
    checkpoint: Annotated[Path, ALWAYS, "the program's checkpoint, relative to cwd, or empty"] = ""
    beat: Beat = BEAT


class Retry(NamedTuple):
    times: Annotated[int, Range(0, 1 << 20), "how often at the most"]
    on: Annotated[Tuple[Tuple[Code, Code], ...], Most(256), ALWAYS, "exit codes that count; none: all but 0"] = ()
    pause: Annotated[float, Range(0, 1e9), "seconds before the first time; each later time twice as long"] = 1.0


class ScheduleTerms(NamedTuple):
    overlap: Annotated[Overlap, "what happens to a run that is due while an earlier one still goes"]
    lasts: Annotated[int, Range(1, 1 << 40), "seconds from its first boot until a run's server turns off"]
    spot: Annotated[bool, ALWAYS, "whether EC2 may take the server back before"] = False
    caps: Annotated[Tuple[Dict[str, Any], ...], Most(100), ALWAYS, "requests to have the cloud end it then"] = ()
    beat: Beat = BEAT


class MapTerms(NamedTuple):
    tools: Annotated[Optional[Dict[str, Any]], ALWAYS, "where Dask comes from (tool_environment.py)"] = None
    group: Annotated[Word, "the Auto Scaling group with its other servers, or those of a schedule's runs"] = ""
    relaunch: Annotated[bool, "whether a client starts another server when this one is lost"] = False
    beat: Beat = BEAT


class ClusterTerms(NamedTuple):
    servers: Annotated[int, Range(1, 10_000), "how many at the most, the program's own among them"]
    group: Annotated[Word, "the Auto Scaling group of the others"] = ""


class JobRecord(NamedTuple):
    created: Annotated[Time, "when its client has begun"]
    deadline: Annotated[Time, "when its server is off at the latest"]
    version: Annotated[int, Range(0, 1 << 31), ALWAYS, "1"] = VERSION
    job: Annotated[Word, "its name"] = ""
    argv: Annotated[Tuple[Annotated[str, Text(1 << 20)], ...], Most(100_000), ALWAYS, "what to start"] = ()
    python: Annotated[bool, ALWAYS, "whether argv[0] becomes the environment's interpreter"] = False
    cwd: Annotated[PathBelow, ALWAYS, "where in the job's folder"] = "."
    packs: Annotated[Tuple[Pack, ...], _MANY, ALWAYS, "archives of its files"] = ()
    large: Annotated[Tuple[LargeInput, ...], _MANY, ALWAYS, "files that come by themselves"] = ()
    environment: Annotated[Environment, ALWAYS, "of the program"] = Environment()
    outputs: Annotated[Tuple[Annotated[str, Text(8192)], ...], Most(10_000), ALWAYS, "globs relative to cwd"] = ()
    spares_tracked: Annotated[bool, "whether results replace nothing that git tracks at home"] = False
    has_env: Annotated[bool, ALWAYS, "whether there is in/env.json"] = False
    has_s3: Annotated[bool, ALWAYS, "whether there is in/s3.json"] = False
    max_time: Annotated[Seconds, ALWAYS, "from the program's start to its end"] = 0
    cap: Annotated[Word, ALWAYS, "the words for who set that"] = "--max-time"
    idle: Annotated[Seconds, ALWAYS, "without output and without work for the processor that end the program"] = 0
    sync_every: Annotated[Seconds, ALWAYS, "between two uploads of results while the program runs"] = 0
    keep: Annotated[Seconds, ALWAYS, "that the server stays after the end"] = 0
    promised: Annotated[Time, "until when it stays in any case: an earlier run of this server has said so"] = 0.0
    capped: Annotated[bool, ALWAYS, "whether the cloud may end the server after the deadline"] = False
    log_cap: Annotated[Size, "bytes of each stream that are kept"] = LOG_CAP
    instance_type: Annotated[str, Text(64), ALWAYS, "the server's"] = ""
    choice: Annotated[Optional[Dict[str, Any]], "why its server is of its type, if that was chosen"] = None
    stdin: Annotated[bool, "whether there is something in in/stdin/, or will be"] = False
    terminal: Annotated[Optional[Terminal], "of an interactive program: all it shows is in stdout"] = None
    spot: Annotated[Optional[Succession], "of a job that another server goes on with when this one is gone"] = None
    retry: Annotated[Optional[Retry], "of a program that is started again when it fails"] = None
    uv: Annotated[Optional[Dict[str, Any]], '{"key", "sha256"} of the wheel, for an image without'] = None
    prebuilt: Annotated[Optional[Dict[str, Any]], '{"place", "sha256", "shared", "proven"}: see prebuilt.py'] = None
    map: Annotated[Optional[MapTerms], "of a map, whose program is our own (map_server.py)"] = None
    cluster: Annotated[Optional[ClusterTerms], "of a program that has a Dask cluster (job_cluster.py)"] = None
    schedule: Annotated[Optional[ScheduleTerms], "of a schedule's record, which is that of its runs"] = None
    image: Annotated[str, Text(64), "what the server was started from"] = ""
    seal: Annotated[bool, "whether there is no program: the server is for an image (see image_build.py)"] = False

    @property
    def succession(self) -> Optional[Succession]:
        """Of a job that another server may go on with: a spot job, or a map whose client starts another one."""
        return Succession("", self.map.beat) if self.map is not None and self.map.relaunch else self.spot

    def stays_until(self, now: float) -> float:
        """Of a server whose job ends now; 0 if it turns off."""
        until = max(now + self.keep if self.keep else 0.0, self.promised)
        return until if until > now else 0.0

    @property
    def is_map(self) -> bool:
        return self.map is not None

    @property
    def relaunched(self) -> bool:
        """Whether a client that watches starts another server when this one is lost."""
        return self.map is not None and self.map.relaunch

    @property
    def fleet(self) -> bool:
        """Whether a fleet brings the next server."""
        return self.spot is not None

    @property
    def tools(self) -> Optional[Dict[str, Any]]:
        return self.map.tools if self.map is not None else None

    @property
    def group(self) -> str:
        part = self.map or self.cluster
        return part.group if part is not None else ""

    @property
    def inputs(self) -> FrozenSet[str]:
        """The digests of what the job was given."""
        return frozenset([each.sha256 for each in self.packs] + [each.sha256 for each in self.large])

    @property
    def keeps_disk(self) -> bool:
        """Whether the server may be stopped with results that could not be sent. A fleet would start another one at
        once, and EC2 stops no one-time spot server."""
        return not (self.fleet or (self.schedule is not None and self.schedule.spot))

    @property
    def script(self) -> str:
        """The program's own file, relative to the working directory; empty where it is none of the job's."""
        return self.argv[1] if self.python and self.argv[1:2] not in ((), ("-m",)) else ""

    @property
    def program(self) -> str:
        """The command as a user would type it; only the name and arguments of a script."""
        return shlex.join(self.argv[1:] if self.script else self.argv)

    def of_run(self, job: str, due: float) -> "JobRecord":
        """Of a schedule's record: that of its run that was due at this time."""
        assert self.schedule is not None
        return self._replace(job=job, created=due, deadline=due + LATEST_START + self.schedule.lasts)

    def deadline_on(self, launched: float) -> float:
        """The deadline on a server that was launched at this time."""
        return self.deadline if self.schedule is None else min(self.deadline, launched + self.schedule.lasts)
