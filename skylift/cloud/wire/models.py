"""AWS's machine-readable service models: the cloud half's only importer of botocore.

A model file takes tens of milliseconds to load, so each is read once, when first asked for. What leaves this file are
small values of our own; shapes travel as botocore built them, but the rest of wire sees them only through `Shape`.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol, cast

from botocore.loaders import Loader
from botocore.model import OperationModel as _BotocoreOperation
from botocore.model import ServiceModel as _BotocoreService
from botocore.validate import ParamValidator


class Shape(Protocol):
    """One type of a service's model. `serialization` says how it looks on the wire, `metadata` what it must satisfy."""

    name: str
    type_name: str
    serialization: Mapping[str, Any]
    metadata: Mapping[str, Any]


class Structure(Shape, Protocol):
    members: Mapping[str, Shape]


class ListShape(Shape, Protocol):
    member: Shape


class MapShape(Shape, Protocol):
    key: Shape
    value: Shape


@dataclass(frozen=True)
class Problem:
    """One reason why parameters do not fit their shape.

    `kind` is one of `missing`, `type`, `length`, `range`, `unknown`, `union`; `path` names the parameter in botocore's
    member names (`Filters[0].Name`); `value` is what was sent; `minimum` is the model's bound for `length` and `range`.
    """

    kind: str
    path: str
    value: Any = None
    minimum: Any = None


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
    """False for the few operations that clients call without a signature, like AssumeRoleWithWebIdentity."""
    deprecated: bool
    checksummed: bool
    """Whether `x-amz-checksum-*` headers of the request speak of its body; in CompleteMultipartUpload they do not."""
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
    """What the model says about an error code."""

    status: int
    sender: bool
    shape: str


@dataclass(frozen=True)
class ServiceModel:
    """One AWS API: its protocol, its operations by name, its errors by code.

    `signing_name` is what clients sign for (`monitoring` for `cloudwatch`). `protocols` are all that it speaks, and
    `protocol` is the one of these that this value is for. `speaks_as_query` tells that its error codes are those of the
    query protocol, which it spoke before.
    """

    name: str
    signing_name: str
    protocol: str
    protocols: tuple[str, ...]
    speaks_as_query: bool
    api_version: str
    namespace: str
    target_prefix: str
    """What precedes the operation's name in `X-Amz-Target`, and the version of JSON spoken; `json` services only."""
    json_version: str
    errors: Mapping[str, ModelledError]
    _source: Any = field(repr=False, compare=False)
    _operations: dict[str, OperationModel] = field(default_factory=dict, repr=False, compare=False)

    @property
    def operation_names(self) -> list[str]:
        return cast("list[str]", self._source.operation_names)

    def operation(self, name: str) -> OperationModel:
        """KeyError for a name that the model does not have."""
        found = self._operations.get(name)
        if found is None:
            if name not in self.operation_names:
                raise KeyError(name)
            found = self._operations[name] = _operation(self.name, self._source.operation_model(name))
        return found

    def operations(self) -> Iterator[OperationModel]:
        return (self.operation(name) for name in self.operation_names)


OWN_MODELS = Path(__file__).parent.parent / "models"
"""Of services that AWS does not have."""

# Not those in a user's ~/.aws/models: the cloud's process is root, and what it serves is not for a program to change.
_loader = Loader(
    extra_search_paths=[str(OWN_MODELS), Loader.BUILTIN_DATA_PATH],
    include_default_search_paths=False,
)
_loaded: dict[str, ServiceModel] = {}
_loading = threading.Lock()


def load(service: str) -> ServiceModel:
    """The newest model of a service (`ec2`, `iam`, `sts`, `s3`); loaded once per process."""
    found = _loaded.get(service)
    if found is None:
        with _loading:
            found = _loaded.get(service)
            if found is None:
                found = _loaded[service] = _load(service)
    return found


def problems(params: Mapping[str, Any], shape: Structure) -> list[Problem]:
    """Why `params` do not fit `shape`, by botocore's own validator; empty when they do."""
    return _validator.check(params, shape)


def _load(service: str) -> ServiceModel:
    description = _loader.load_service_model(service, "service-2")
    source = _BotocoreService(description, service)
    metadata = source.metadata
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
        errors=dict(_modelled_errors(source, description["shapes"])),
        _source=source,
    )


def _modelled_errors(source: Any, described: Mapping[str, Any]) -> Iterator[tuple[str, ModelledError]]:
    """Only of these are shapes made: EC2 has thousands of others."""
    for name in [name for name, shape in described.items() if shape.get("exception")]:
        shape = source.shape_for(name)
        error = shape.metadata.get("error", {})
        status = error.get("httpStatusCode", 400)
        yield error.get("code", name), ModelledError(status, bool(error.get("senderFault", status < 500)), name)


def _operation(service: str, source: _BotocoreOperation) -> OperationModel:
    return OperationModel(
        service=service,
        name=source.name,
        method=source.http.get("method", "POST"),
        uri=source.http.get("requestUri", "/"),
        status=source.http.get("responseCode", 200),
        input=source.input_shape,
        output=source.output_shape,
        signed=source.auth_type != "none",
        deprecated=bool(source.deprecated),
        checksummed="requestAlgorithmMember" in source.http_checksum,
        checksum_required=bool(source.http_checksum.get("requestChecksumRequired")),
    )


class _Findings:
    """Keeps what botocore found as values; botocore itself only hands out English sentences."""

    def __init__(self) -> None:
        self.found: list[Problem] = []

    def report(self, name: str, reason: str, **details: Any) -> None:
        path = name.removeprefix(".")
        match reason:
            case "missing required field":
                required = details["required_name"]
                self.found.append(Problem("missing", f"{path}.{required}" if path else required))
            case "unknown field":
                self.found.append(Problem("unknown", f"{path}.{details['unknown_param']}".removeprefix(".")))
            case "invalid length" | "invalid range":
                kind = reason.removeprefix("invalid ")
                self.found.append(Problem(kind, path, details["param"], details["min_allowed"]))
            case "empty input" | "more than one input":
                self.found.append(Problem("union", path))
            case _:
                self.found.append(Problem("type", path, details.get("param")))


class _Validator(ParamValidator):
    def check(self, params: Mapping[str, Any], shape: Structure) -> list[Problem]:
        findings = _Findings()
        cast(Any, self)._validate(params, shape, findings, name="")
        return findings.found

    def _validate_blob(self, param: Any, shape: Shape, errors: _Findings, name: str) -> None:
        """A blob is bytes or, when it was streamed to disk, a Spool: our decoders make nothing else."""


_validator = _Validator()
