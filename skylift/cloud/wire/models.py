"""AWS's machine-readable service models: what the cloud half has of botocore, which are its data and none of its code.

Importing botocore's own reader takes as long as half of all models, and reading with it twice as long. A model is read
once, when first asked for; what leaves this file are small values of our own. Most of a model is text for people: what
is left of them can be kept in a file, which is read in a tenth of the time. An operation or a type stays JSON until
something asks for it.
"""

from __future__ import annotations

import importlib.util
import json
import logging
import subprocess
import sys
import threading
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, cast

from skylift.cloud.state.durable import replace_file
from skylift.cloud.state.program import own_environment, own_python
from skylift.cloud.wire.shape import SAID, Shapes, Structure

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class OperationModel:
    """One operation of a service, with what the wire needs to know about it."""

    service: str
    name: str
    method: str
    uri: str
    """The path template with its fixed query string, as in `/{Bucket}/{Key+}?uploads`."""
    status: int
    input: Structure | None
    output: Structure | None
    signed: bool
    """False for the few operations that need no signature, like AssumeRoleWithWebIdentity."""
    deprecated: bool
    checksummed: bool
    """Whether the request's `x-amz-checksum-*` headers describe its body; in CompleteMultipartUpload they do not."""
    checksum_required: bool

    @cached_property
    def streamed_input(self) -> str | None:
        """The member that is the request's body as a stream, if there is one."""
        return streamed_member(self.input)


def streamed_member(shape: Structure | None) -> str | None:
    """The member of an input or output that is the body itself, byte for byte, and may be of any size."""
    payload = shape.serialization.get("payload") if shape else None
    if shape is None or payload is None:
        return None
    return cast(str, payload) if shape.members[payload].serialization.get("streaming") else None


@dataclass(frozen=True)
class ModelledError:
    """The model's entry for an error code."""

    status: int
    sender: bool
    shape: str


@dataclass(frozen=True)
class ServiceModel:
    """One AWS API: its protocol, its operations by name, its errors by code.

    `signing_name` is what clients sign for (`monitoring` for `cloudwatch`). `protocols` are all protocols that it
    speaks; this value is for `protocol`. `speaks_as_query` is whether it uses the error codes of the query protocol,
    which it spoke before.
    """

    name: str
    signing_name: str
    protocol: str
    protocols: tuple[str, ...]
    speaks_as_query: bool
    api_version: str
    namespace: str
    target_prefix: str
    """The text before the operation's name in `X-Amz-Target`, and the version of JSON; for `json` services only."""
    json_version: str
    errors: Mapping[str, ModelledError]
    _described: Mapping[str, str] = field(repr=False, compare=False)
    """The operations in the model's form, as JSON; each is read when it is first asked for."""
    _shapes: Shapes = field(repr=False, compare=False)
    _operations: dict[str, OperationModel] = field(default_factory=dict, repr=False, compare=False)

    @property
    def operation_names(self) -> list[str]:
        return list(self._described)

    def operation(self, name: str) -> OperationModel:
        """KeyError for a name that the model does not have."""
        found = self._operations.get(name)
        if found is None:
            described = json.loads(self._described[name])
            found = self._operations[name] = _operation(self.name, name, described, self._shapes)
        return found

    def operations(self) -> Iterator[OperationModel]:
        return (self.operation(name) for name in self._described)


OWN_MODELS = Path(__file__).parent.parent / "models"
"""The models of services that AWS does not have."""

_GZIP = 31
"""Tells zlib that the data have a header and a checksum of gzip's."""

_FORMAT = 2
"""The version of the cached file; a file with another one is not used."""

_PATIENCE = 120.0
"""Seconds for another process to read the models, which takes one or two."""

_OPERATION = ("http", "input", "output", "authtype", "deprecated", "httpChecksum")

_loaded: dict[str, ServiceModel] = {}
_loading = threading.Lock()


def load(service: str) -> ServiceModel:
    """The newest model of a service (`ec2`, `iam`, `sts`, `s3`); loaded once per process."""
    found = _loaded.get(service)
    if found is None:
        with _loading:
            found = _loaded.get(service)
            if found is None:
                found = _loaded[service] = _model(service, _read_model(service))
    return found


def load_all(services: Sequence[str], kept: Path) -> None:
    """Load these now. The models come from the file of the models that are installed, which is made if it is not there.
    Only the cloud may be able to write to that file: its content is trusted.
    """
    found = _read_kept(services, kept) or _read_by_another(services, kept)
    for service in services:
        with _loading:
            if service not in _loaded:
                _loaded[service] = _model(service, found.get(service) or _read_model(service))


def keep_all(services: Sequence[str], kept: Path) -> None:
    """Write the file for `load_all`, unless it is there."""
    stamp = _stamp(services)
    try:
        with kept.open("rb") as file:
            if file.readline() == stamp:
                return
    except FileNotFoundError:
        pass
    _write(services, kept)


def _write(services: Sequence[str], kept: Path) -> None:
    models = {service: _read_model(service) for service in services}
    replace_file(kept, _stamp(services) + json.dumps(models, separators=(",", ":")).encode(), 0o600)


def _read_by_another(services: Sequence[str], kept: Path) -> dict[str, Any]:
    """The models that another process has read and kept. To read them whole leaves a process ten MiB larger for good.
    Nothing if that failed: then this process reads them."""
    command = [*own_python(__name__), str(kept), *services]
    try:
        subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, check=True, timeout=_PATIENCE, env=own_environment()
        )
    except (OSError, subprocess.SubprocessError) as error:
        # The last line of a traceback says what it was.
        said = (getattr(error, "stderr", None) or b"").decode(errors="replace").splitlines()
        log.warning("another process could not read AWS's models: %s", said[-1] if said else error)
    return _read_kept(services, kept)


def _read_kept(services: Sequence[str], kept: Path) -> dict[str, Any]:
    """The kept models by service; nothing if the file is missing, or of other models."""
    try:
        stamp, end, models = kept.read_bytes().partition(b"\n")
        return cast("dict[str, Any]", json.loads(models)) if stamp + end == _stamp(services) else {}
    except (OSError, ValueError):
        # The cached file is only a copy.
        return {}


def _stamp(services: Sequence[str]) -> bytes:
    """A line that identifies the installed models and the form in which they are kept."""
    files = [file for service in services for file in _files(service)]
    known = [(str(file), file.stat().st_size, file.stat().st_mtime_ns) for file in files]
    return json.dumps([_FORMAT, *known]).encode() + b"\n"


def _model(service: str, described: Mapping[str, Any]) -> ServiceModel:
    metadata, shapes = described["metadata"], Shapes(described["shapes"])
    return ServiceModel(
        name=service,
        signing_name=metadata.get("signingName", metadata["endpointPrefix"]),
        protocol=metadata["protocol"],
        protocols=tuple(metadata.get("protocols", (metadata["protocol"],))),
        speaks_as_query="awsQueryCompatible" in metadata,
        api_version=metadata["apiVersion"],
        namespace=metadata.get("xmlNamespace", ""),
        target_prefix=metadata.get("targetPrefix", ""),
        json_version=metadata.get("jsonVersion", ""),
        errors={code: ModelledError(*error) for code, error in described["errors"].items()},
        _described=described["operations"],
        _shapes=shapes,
    )


def _read_model(service: str) -> dict[str, Any]:
    """The newest version of a service's description, with botocore's corrections, and without the parts that this
    endpoint never reads. Each operation and each type is a separate JSON text.
    """
    described, *more = map(_read, _files(service))
    for extras in more:
        _merge(described, extras["merge"])
    return {
        "metadata": described["metadata"],
        "errors": dict(_modelled_errors(described["shapes"])),
        "operations": {name: _json(_only(_OPERATION, one)) for name, one in described["operations"].items()},
        "shapes": {name: _json(_without_remarks(one)) for name, one in described["shapes"].items()},
    }


def _json(value: Mapping[str, Any]) -> str:
    return json.dumps(value, separators=(",", ":"))


def _without_remarks(shape: Mapping[str, Any]) -> dict[str, Any]:
    found = _only(SAID, shape)
    if "members" in found:
        found["members"] = {name: _only(SAID, each) for name, each in found["members"].items()}
    return found | {each: _only(SAID, found[each]) for each in ("member", "key", "value") if each in found}


def _only(names: Iterable[str], of: Mapping[str, Any]) -> dict[str, Any]:
    return {name: of[name] for name in names if name in of}


def _files(service: str) -> list[Path]:
    """The description, and the corrections that are merged into it."""
    place = next(found for data in _PLACES if (found := data / service).is_dir())
    newest = max(version for version in place.iterdir() if version.is_dir())
    return sorted(newest.glob("service-2.json*")) + sorted(newest.glob("service-2.sdk-extras.json*"))


def _places() -> Iterator[Path]:
    """Not ~/.aws/models: the cloud's process is root, and the user's programs must not change what it serves."""
    yield OWN_MODELS
    botocore = importlib.util.find_spec("botocore")
    assert botocore is not None and botocore.submodule_search_locations, "botocore is one of our dependencies"
    yield from (Path(place, "data") for place in botocore.submodule_search_locations)


_PLACES = tuple(_places())
"""This is found at import: later, a sealed process finds no package that users other than root could change."""


def _read(file: Path) -> dict[str, Any]:
    content = file.read_bytes()
    return cast("dict[str, Any]", json.loads(zlib.decompress(content, _GZIP) if file.suffix == ".gz" else content))


def _merge(base: dict[str, Any], more: Mapping[str, Any]) -> None:
    for name, value in more.items():
        if isinstance(value, dict) and isinstance(base.get(name), dict):
            _merge(base[name], value)
        else:
            base[name] = value


def _modelled_errors(shapes: Mapping[str, Any]) -> Iterator[tuple[str, list[Any]]]:
    """The fields of each ModelledError, by its code."""
    for name, shape in shapes.items():
        if shape.get("exception"):
            error = shape.get("error", {})
            status = error.get("httpStatusCode", 400)
            yield error.get("code", name), [status, bool(error.get("senderFault", status < 500)), name]


def _operation(service: str, name: str, described: Mapping[str, Any], shapes: Shapes) -> OperationModel:
    http, checksum = described.get("http", {}), described.get("httpChecksum", {})
    shape = {
        each: cast(Structure, shapes.referred(described[each])) for each in ("input", "output") if each in described
    }
    return OperationModel(
        service=service,
        name=name,
        method=http.get("method", "POST"),
        uri=http.get("requestUri", "/"),
        status=http.get("responseCode", 200),
        input=shape.get("input"),
        output=shape.get("output"),
        signed=described.get("authtype") != "none",
        deprecated=bool(described.get("deprecated")),
        checksummed="requestAlgorithmMember" in checksum,
        checksum_required=bool(checksum.get("requestChecksumRequired")),
    )


if __name__ == "__main__":
    _write(sys.argv[2:], Path(sys.argv[1]))
