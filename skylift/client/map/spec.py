"""The spec of a map, in/map.json: the client writes it, and the server runs it."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

from skylift.client.text.json_object import JsonObject, as_object, given, parse_object
from skylift.client.text.s3_glob import S3Glob
from skylift.contract.document import Malformed
from skylift.contract.map_progress import MOST_INPUTS

VERSION = 1
SPEC_LIMIT = 256 << 20
LONGEST_TEXT = 128 << 10
"""The most characters of an input's text, which becomes an argument: Linux takes no longer one."""
LONGEST_KEY = 1024
"""The most bytes of an object's key in S3."""
MOST_PLACES = 20
_SHA256 = re.compile(r"[0-9a-f]{64}")
_FILE_NAME = re.compile(r"[^/\0]{1,255}")
_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,38}[a-z0-9])?")
_ALWAYS = ("argv", "python", "args", "outputs", "servers", "per_server", "batch", "retries", "losses")
"""Fields that are written whatever their value is."""


@dataclass(frozen=True)
class Blob:
    """A local file that travels with the map: its digest, its bytes, and the name that it has on the server."""

    sha256: str
    size: int
    name: str


@dataclass(frozen=True)
class ObjectRange:
    """Bytes [begin, end) of an object in S3, behind its first `header` bytes. The server fetches them into a file
    called `name`, unless the object has another ETag by then."""

    bucket: str
    region: str
    key: str
    etag: str
    header: int
    begin: int
    end: int
    name: str


@dataclass(frozen=True)
class InputPlace:
    """A place in S3 whose objects are inputs: those that are there when a run of a schedule begins."""

    bucket: str
    region: str
    key: str

    @cached_property
    def glob(self) -> S3Glob:
        return S3Glob(self.key)

    def admits(self, key: str) -> bool:
        """Whether an object of this key may be an input: its name becomes an argument."""
        try:
            size = len(key.encode())
        except UnicodeEncodeError:
            return False
        return size <= LONGEST_KEY and "\0" not in key and self.glob.admits(key)

    def chosen(self, keys: Iterable[str]) -> list[str]:
        """Which of these are inputs. An object of exactly the place's name counts before a folder of that name."""
        found = [each for each in keys if self.admits(each)]
        return [self.key] if not self.glob.is_wild and self.key in found else found


@dataclass(frozen=True)
class MapInput:
    """`index` is its own in the map, and stays the same in a map that repeats some inputs. `text` replaces `{}` in the
    arguments; where there is a `blob` or a `part`, the path of that file on the server does, and `text` is what the
    user has called it. `name` is for people and for the templates of results. `losses` are servers that were lost under
    it in a map before this one."""

    index: int
    text: str
    name: str
    blob: Blob | None = None
    losses: int = 0
    part: ObjectRange | None = None


@dataclass(frozen=True)
class Halt:
    """The map ends early when so many inputs have failed, or so large a share of all of them (0 to 1)."""

    count: int | None = None
    share: float | None = None

    def limit(self, inputs: int) -> int:
        """The number of failures that is too many."""
        if self.count is not None:
            return max(self.count, 1)
        return max(math.ceil(round((self.share or 0.0) * inputs, 6)), 1)


@dataclass(frozen=True)
class MapSpec:
    """`argv` is the program as in a job's record, `args` what follows, in which each `{}` becomes the input's text;
    where there is none, the text comes last. `total` is SKYLIFT_COUNT, more than there are inputs in a map that repeats
    some. `outputs` are globs relative to the working directory of an input's program; `spares_tracked` is as in Job.

    `servers` is the most that there are at once; with `by_work`, nobody has asked for this number, and no more
    come than the work is worth. `per_server` how many inputs run on one at the same time (0: as it has
    virtual processors), `batch` how many inputs a server takes in one task (0: as their durations suggest). `retries`
    is how often an input's program is started again when it fails, `losses` how many servers an input may lose before
    it has failed.

    `script` is the digest of the program's own file, where it is one. A map that goes on where another one has ended
    names that one, `resumes`, and has the inputs that it runs itself; `failed_before` of the others have failed.

    The spec of a schedule's maps has `places`: each run looks up which inputs there are besides (looked_up.py)."""

    argv: tuple[str, ...]
    python: bool
    args: tuple[str, ...]
    inputs: tuple[MapInput, ...]
    outputs: tuple[str, ...] = ()
    spares_tracked: bool = False
    total: int = 0
    servers: int = 1
    per_server: int = 0
    batch: int = 0
    retries: int = 0
    losses: int = 3
    halt: Halt | None = None
    script: str = ""
    resumes: str = ""
    failed_before: int = 0
    places: tuple[InputPlace, ...] = ()
    by_work: bool = False


def encode_spec(spec: MapSpec) -> bytes:
    halt = spec.halt
    where_set = {
        "halt": halt and {name: value for name, value in vars(halt).items() if value is not None},
        "resumes": spec.resumes and {"job": spec.resumes, "failed": spec.failed_before},
        "places": [asdict(each) for each in spec.places],
        **{name: getattr(spec, name) for name in ("by_work", "spares_tracked", "script")},
    }
    fields = {
        "version": VERSION,
        **{name: getattr(spec, name) for name in _ALWAYS},
        "total": spec.total or len(spec.inputs),
        **{name: value for name, value in where_set.items() if value},
        "inputs": [input_fields(each) for each in spec.inputs],
    }
    return json.dumps(fields).encode()


def input_fields(each: MapInput) -> dict[str, Any]:
    fields: dict[str, Any] = {"index": each.index, "text": each.text}
    if each.name != each.text:
        fields["name"] = each.name
    if each.blob is not None:
        fields["blob"] = dict(vars(each.blob))
    if each.part is not None:
        fields["part"] = dict(vars(each.part))
    if each.losses:
        fields["losses"] = each.losses
    return fields


def parse_spec(data: bytes) -> MapSpec:
    """Raises Malformed."""
    fields = parse_object(data, SPEC_LIMIT)
    version = fields.integer("version", 0, 1 << 31)
    if version != VERSION:
        raise Malformed(f"it has version {version}, not {VERSION}")
    inputs = tuple(_input(as_object(each, "an entry of `inputs`")) for each in fields.list("inputs", MOST_INPUTS))
    _refuse_repeated(each.index for each in inputs)
    argv = fields.texts("argv", 1000, LONGEST_TEXT)
    if not argv:
        raise Malformed("`argv` is missing")
    resumes = fields.inner("resumes")
    return MapSpec(
        argv=argv,
        python=fields.flag("python"),
        args=fields.texts("args", 10_000, LONGEST_TEXT),
        inputs=inputs,
        outputs=fields.texts("outputs", 10_000, 8192),
        spares_tracked=fields.flag("spares_tracked"),
        total=max(fields.integer("total", 0, MOST_INPUTS) or 0, len(inputs)),
        servers=fields.integer("servers", 1, 10_000) or 1,
        per_server=fields.integer("per_server", 0, 10_000) or 0,
        batch=fields.integer("batch", 0, MOST_INPUTS) or 0,
        retries=fields.integer("retries", 0, 100) or 0,
        losses=fields.integer("losses", 1, 100) or 3,
        halt=_halt(fields.inner("halt")),
        script=fields.text("script", 64, _SHA256) or "",
        resumes=given(resumes.text("job", 40, _NAME), "job") if resumes is not None else "",
        failed_before=resumes.integer("failed", 0, MOST_INPUTS) or 0 if resumes is not None else 0,
        places=tuple(_place(as_object(each, "an entry of `places`")) for each in fields.list("places", MOST_PLACES)),
        by_work=fields.flag("by_work"),
    )


def _refuse_repeated(indexes: Iterable[int]) -> None:
    seen: set[int] = set()
    for each in indexes:
        if each in seen:
            raise Malformed(f"`inputs` has index {each} twice")
        seen.add(each)


def _input(fields: JsonObject) -> MapInput:
    index = given(fields.integer("index", 0, MOST_INPUTS - 1), "index")
    text = given(fields.text("text", LONGEST_TEXT), "text")
    if "\0" in text:
        raise Malformed(f"the text of input {index} has a null character")
    blob = fields.inner("blob")
    name, losses = fields.text("name", LONGEST_TEXT) or text, fields.integer("losses", 0, 10_000) or 0
    part = fields.inner("part")
    if blob is not None and part is not None:
        raise Malformed(f"input {index} has both `blob` and `part`")
    return MapInput(
        index, text, name, None if blob is None else _blob(blob), losses, None if part is None else _part(part)
    )


def _part(fields: JsonObject) -> ObjectRange:
    header, begin, end = (given(fields.integer(each, 0, 1 << 50), each) for each in ("header", "begin", "end"))
    if begin > end or header > begin:
        raise Malformed("`part` is no part")
    texts = (("bucket", 63), ("region", 64), ("key", 1024), ("etag", 256))
    bucket, region, key, etag = (given(fields.text(each, most), each) for each, most in texts)
    return ObjectRange(bucket, region, key, etag, header, begin, end, _file_name(fields))


def _place(fields: JsonObject) -> InputPlace:
    texts = (("bucket", 63), ("region", 64), ("key", LONGEST_KEY))
    return InputPlace(*(given(fields.text(each, most), each) for each, most in texts))


def _blob(fields: JsonObject) -> Blob:
    sha256 = given(fields.text("sha256", 64, _SHA256), "sha256")
    return Blob(sha256, given(fields.integer("size", 0, 1 << 50), "size"), _file_name(fields))


def _file_name(fields: JsonObject) -> str:
    name = given(fields.text("name", 255), "name")
    if _FILE_NAME.fullmatch(name) is None or name in (".", ".."):
        raise Malformed("`name` is no name of a file")
    return name


def _halt(fields: JsonObject | None) -> Halt | None:
    if fields is None:
        return None
    return Halt(fields.integer("count", 1, MOST_INPUTS), fields.number("share", 0, 1))
