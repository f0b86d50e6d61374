"""The spec of a map, in/map.json: the client writes it, and the coordinator runs it."""

import math
import re
from typing import Annotated, NamedTuple, Optional, Tuple

from skylift.contract.document import ALWAYS, Malformed, Most, Range, Text
from skylift.contract.map_progress import MOST_INPUTS
from skylift.contract.record import Sha256

VERSION = 1
SPEC_LIMIT = 256 << 20
LONGEST_TEXT = 128 << 10
"""The most characters of an input's text, which becomes an argument: Linux takes no longer one."""
LONGEST_KEY = 1024
"""The most bytes of an object's key in S3."""
MOST_PLACES = 20

Size = Annotated[int, Range(0, 1 << 50), "bytes"]
Inputs = Annotated[int, Range(0, MOST_INPUTS)]
FileName = Annotated[str, Text(255, re.compile(r"(?!\.{1,2}\Z)[^/\0]{1,255}")), "that the file has on the server"]
BucketName = Annotated[str, Text(63)]
Region = Annotated[str, Text(64)]
Key = Annotated[str, Text(LONGEST_KEY)]
Argument = Annotated[str, Text(LONGEST_TEXT)]


class Blob(NamedTuple):
    """A local file that travels with the map."""

    sha256: Sha256
    size: Size
    name: FileName


class ObjectRange(NamedTuple):
    """A part of an object in S3. The server fetches it into a file, unless the object has another ETag by then."""

    bucket: BucketName
    region: Region
    key: Key
    etag: Annotated[str, Text(256)]
    header: Annotated[Size, "the first bytes of the object, which each part begins with"]
    begin: Size
    end: Annotated[Size, "exclusive"]
    name: FileName

    def check(self) -> None:
        if self.begin > self.end or self.header > self.begin:
            raise Malformed("`part` ends before it begins")


class InputPlace(NamedTuple):
    """A place in S3 whose objects are inputs: those that are there when a run of a schedule begins."""

    bucket: BucketName
    region: Region
    key: Key


class MapInput(NamedTuple):
    index: Annotated[int, Range(0, MOST_INPUTS - 1), "its own, also where a map repeats it"]  # type: ignore[assignment]
    text: Annotated[
        str,
        Text(LONGEST_TEXT, re.compile(r"[^\0]*")),
        "replaces {} in the arguments; with a file, its path there does, and this is what the user has called it",
    ]
    name: Annotated[Argument, "for people and for the templates of results; its text, if it is missing"] = ""
    blob: Optional[Blob] = None
    losses: Annotated[int, Range(0, 10_000), "servers that were lost under it in a map before this one"] = 0
    part: Optional[ObjectRange] = None

    def check(self) -> None:
        if self.blob is not None and self.part is not None:
            raise Malformed("input %d has both `blob` and `part`" % self.index)


class Halt(NamedTuple):
    """The map ends early when so many inputs have failed."""

    count: Annotated[Optional[int], Range(1, MOST_INPUTS)] = None  # type: ignore[assignment]  # (as tuple.count)
    share: Annotated[Optional[float], Range(0, 1), "of all of them"] = None

    def limit(self, inputs: int) -> int:
        """The number of failures that is too many."""
        if self.count is not None:
            return max(self.count, 1)
        return max(math.ceil(round((self.share or 0.0) * inputs, 6)), 1)


class Resumed(NamedTuple):
    """The map that this one goes on with, of whose inputs it has those that it runs itself."""

    job: Annotated[str, Text(40, re.compile(r"(?!-)[a-z0-9-]{1,40}(?<!-)"))]
    failed: Annotated[Inputs, ALWAYS, "how many of the others have failed"] = 0


class MapSpec(NamedTuple):
    argv: Annotated[Tuple[Argument, ...], Most(1000), "the program, as in a job's record"]
    python: bool
    args: Annotated[
        Tuple[Argument, ...],
        Most(10_000),
        "what follows; each {} becomes the input's text, which comes last where there is none",
    ]
    inputs: Annotated[Tuple[MapInput, ...], Most(MOST_INPUTS)]
    outputs: Annotated[
        Tuple[Annotated[str, Text(8192)], ...],
        Most(10_000),
        ALWAYS,
        "globs relative to the working directory of an input's program",
    ] = ()
    spares_tracked: Annotated[bool, "as in the record"] = False
    total: Annotated[Inputs, "SKYLIFT_COUNT: with the inputs of the map that is resumed"] = 0
    servers: Annotated[int, Range(1, 10_000), ALWAYS, "the most at once"] = 1
    per_server: Annotated[
        int, Range(0, 10_000), ALWAYS, "how many inputs run on one at the same time; 0: as it has virtual processors"
    ] = 0
    batch: Annotated[Inputs, ALWAYS, "how many inputs a server takes in one task; 0: as their durations suggest"] = 0
    retries: Annotated[int, Range(0, 100), ALWAYS, "how often an input's program is started again when it fails"] = 0
    losses: Annotated[int, Range(1, 100), ALWAYS, "how many servers an input may lose before it has failed"] = 3
    halt: Optional[Halt] = None
    script: Annotated[Sha256, "of the program's own file, where it is one"] = ""
    resumes: Optional[Resumed] = None
    places: Annotated[
        Tuple[InputPlace, ...], Most(MOST_PLACES), "of a schedule: each run looks up which inputs there are besides"
    ] = ()
    by_work: Annotated[bool, "whether nobody has asked for `servers`: no more come than the work is worth"] = False
    version: Annotated[int, Range(VERSION, VERSION), ALWAYS] = VERSION

    def check(self) -> None:
        if not self.argv:
            raise Malformed("`argv` is missing")
        if len({each.index for each in self.inputs}) < len(self.inputs):
            raise Malformed("`inputs` has an index twice")
