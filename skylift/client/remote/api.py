"""AWS's API, on AWS or on any endpoint that speaks it. The only file that knows botocore; it translates its errors."""

# mypy: disable-error-code="no-untyped-call"

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable, Collection, Iterator, MutableMapping
from contextlib import closing, contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import IO, Any, Protocol, cast
from urllib.parse import unquote_plus, urlsplit

import botocore
from botocore import exceptions, xform_name
from botocore.config import Config
from botocore.exceptions import ConnectionError as BotoConnectionError
from botocore.loaders import Loader, create_loader
from botocore.parsers import ResponseParserError
from botocore.session import Session
from botocore.utils import parse_timestamp

from skylift.agent.remote.aws import is_not_now
from skylift.client.errors import (
    NoCredentials,
    NotNow,
    NotPermitted,
    RecordDamaged,
    Refused,
    RunError,
    Unreachable,
    UsageError,
)
from skylift.client.job.cache import NOWHERE
from skylift.client.job.settings import Settings
from skylift.client.remote.advice import ADVICE, about_denial
from skylift.client.remote.patience import Patience
from skylift.client.remote.service_models import KeptModels
from skylift.client.remote.socket_owner import listener_at
from skylift.client.text.duration import spell_duration
from skylift.client.waiting import Threads, pauses
from skylift.version import __version__

_DENIED = {"AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "403"}
_NOT_KNOWN = {
    "AuthFailure",
    "ExpiredToken",
    "InvalidAccessKeyId",
    "InvalidClientTokenId",
    "SignatureDoesNotMatch",
    "UnrecognizedClientException",
}
_IN_ONE = 8 << 20
_COPIED_IN_ONE = 5 << 30
_LARGEST = 16 << 20
"""Bytes of an object that is read into memory, by default."""
_UNSPEAKABLE = re.compile("[\x00-\x1f\ud800-\udfff\ufffe\uffff]")
"""Characters of a key that XML cannot express. An object with such a key is deleted by a call of its own."""
_REQUEST_ID = re.compile(rb"<requestId>[^<]*</requestId>")
"""As EC2 answers. A text of a user's has no < in XML."""
_UNSIGNED = "s3, with bodies that are not signed"
"""The client for parts. A part's signature covers a CRC32 of its bytes, which S3 compares, and not their SHA-256,
as botocore does it over TLS: who sends parts knows the SHA-256 of all of them, and whoever fetches them compares it.
"""
_LOOK = "of looks"
"""Their client is theirs: an answer that is not read is kept from nobody else."""
_LATER = "Try again in a while: https://health.aws.amazon.com says what is out of order."
_SETTLING = 30.0
"""Seconds in which all of AWS must know of a new resource. AWS promises no time; mostly it takes less than five."""


class Sink(Protocol):
    def write(self, data: bytes, /) -> object: ...


def default_region() -> str | None:
    """The region that boto3 finds in the environment or the profile."""
    with _signing_in():
        region: str | None = Session().get_config_variable("region")
        return region or None


class Api:
    """The clients of one account and region, each made once. Every call may raise Refused, NotPermitted, Unreachable.
    What AWS answers with "not now" is asked again for as long as `patience` lasts, and is NotNow after that."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.patience = Patience(settings.note)
        self._endpoint = settings.endpoint_url
        self._clients: dict[str, Any] = {}
        self._looks: dict[tuple[str, str], _LastAnswer] = {}
        self._making = threading.Lock()
        keys = settings.credentials
        token = keys.session_token if keys else None
        with _signing_in():
            self._session: Any = Session()
            self._session.lazy_register_component("data_loader", self._loader)
            self._session.get_component("response_parser_factory").set_parser_defaults(timestamp_parser=read_time)
            if settings.listeners is not None:
                send_only_to(settings.listeners, self._session)
            if keys is not None:
                self._session.set_credentials(
                    keys.access_key_id, keys.secret_access_key.reveal(), token.reveal() if token else None
                )
        addressing = {"addressing_style": "path" if settings.endpoint_url else "auto"}
        self._config = Config(
            # It is `patience` that decides on that.
            retries={"mode": "standard", "total_max_attempts": 1},
            connect_timeout=5,
            read_timeout=60,
            max_pool_connections=20,
            user_agent_extra=f"skylift/{__version__}",
            s3=addressing,
            # No proxy leads to an endpoint of this machine's.
            proxies=None if settings.listeners is None else {},
        )
        self._unsigned = self._config.merge(Config(s3={**addressing, "payload_signing_enabled": False}))

    @property
    def region(self) -> str:
        return self._settings.region

    def address(self, service: str) -> str:
        """The URL of a service."""
        return str(self._client(service).meta.endpoint_url)

    def move(self, endpoint: str) -> None:
        """Use another endpoint: a cloud that was restarted may have another port."""
        with self._making:
            if endpoint != self._endpoint:
                self._endpoint = endpoint
                self._clients.clear()
                self._looks.clear()

    def warm(self) -> None:
        """Make the clients that every run needs. Making one takes tens of milliseconds."""
        for service in ("ec2", "s3", "iam"):
            self._client(service)

    def _client(self, service: str, operation: str = "") -> Any:
        """A client for this operation of a service. Most operations have the same one."""
        kind = _UNSIGNED if operation == "upload_part" else f"{service}, {_LOOK}" if operation == _LOOK else service
        found = self._clients.get(kind)
        if found is not None:
            return found
        # One after the other: the later ones use the files that were read for the first one.
        with self._making:
            if kind not in self._clients:
                config = self._unsigned if kind == _UNSIGNED else self._config
                with _signing_in():
                    made = self._session.create_client(
                        service, self._settings.region, endpoint_url=self._endpoint, config=config
                    )
                    made.meta.events.register("needs-retry", self._repeats)
                    if not self._clients and (found := self._session.get_credentials()) is not None:
                        # Now, not in the middle of a call: a profile may name files and programs that do not exist.
                        found.get_frozen_credentials()
                self._clients[kind] = made
            return self._clients[kind]

    def _loader(self) -> Loader:
        """A user's own service models are used, as in boto3."""
        paths = self._session.get_config_variable("data_path")
        own = os.path.isdir(Loader.CUSTOMER_DATA_PATH)  # noqa: PTH112 (Path's raises where it may not look)
        if self._settings.cache is NOWHERE or paths or own:
            return cast(Loader, create_loader(paths))
        return _KeptLoader(KeptModels(self._settings.cache, botocore.__version__))

    def _repeats(self, operation: Any, caught_exception: Exception | None, **asked: Any) -> float | None:
        """botocore asks after each attempt how many seconds it shall wait before the next one. None: there is none."""
        if caught_exception is not None and not isinstance(
            caught_exception, (BotoConnectionError, exceptions.HTTPClientError)
        ):
            return None
        state = asked["request_dict"]["context"].setdefault("skylift", {})
        name = f"{operation.service_model.service_name} {xform_name(operation.name)}"
        return 0.0 if self.patience.again(name, asked["response"], asked["attempts"], state) else None

    def call(self, service: str, operation: str, **params: Any) -> Any:
        """One operation, by boto3's name for it (`describe_vpcs`) and in boto3's parameters."""
        with translated(operation, service):
            return getattr(self._client(service, operation), operation)(**params)

    def retry_not_found(self, service: str, operation: str, seconds: float = _SETTLING, **params: Any) -> Any:
        """Make a call about a resource that was made a moment ago, and repeat it while AWS does not know the resource
        yet, or refuses it because of another change to it."""
        return self.retry(_is_not_found_yet, service, operation, seconds, **params)

    def retry_concurrent(self, service: str, operation: str, **params: Any) -> Any:
        """Make a call, and repeat it while IAM refuses it because of another change to the same resource."""
        return self.retry(_is_concurrent, service, operation, **params)

    def retry(
        self, passes: Callable[[Refused], bool], service: str, operation: str, seconds: float = _SETTLING, **params: Any
    ) -> Any:
        """Make a call, and repeat it for so many seconds while what it is refused for passes by itself."""
        for more in pauses(seconds):
            try:
                return self.call(service, operation, **params)
            except Refused as error:
                if not more or not passes(error):
                    raise
        raise AssertionError("the last turn returns or raises")

    def pages(self, service: str, operation: str, key: str, **params: Any) -> list[Any]:
        """All of a paginated list."""
        with translated(operation, service):
            pages = self._client(service).get_paginator(operation).paginate(**params)
            return [item for page in pages for item in page.get(key, [])]

    def look(self, service: str, operation: str, key: str) -> list[Any]:
        """All of a list that is asked for again and again, for readers, who change nothing of it. An answer with the
        bytes of the last one is not read: the list is the same one as then."""
        client = self._client(service, _LOOK)
        with self._making:
            seen = self._looks.get((service, operation))
            if seen is None:
                called = client.meta.method_to_api_mapping[operation]
                seen = self._looks[service, operation] = _LastAnswer()
                of = client.meta.service_model.service_id.hyphenize()
                client.meta.events.register(f"before-parse.{of}.{called}", seen.compare)
        # One look at a time: each is compared with the one before it.
        with seen.looking, translated(operation, service):
            seen.begin()
            try:
                pages = [page.get(key, []) for page in client.get_paginator(operation).paginate()]
            except _Unchanged:
                return seen.found
            return seen.keep([item for page in pages for item in page], pages=len(pages))

    def get(self, bucket: str, key: str, most: int = _LARGEST) -> bytes | None:
        """The content of an object, or None when there is none. Raises RecordDamaged when it has more than `most`
        bytes; no more than that is read."""
        try:
            with translated("get_object"):
                found = self._client("s3").get_object(Bucket=bucket, Key=key)
                with closing(found["Body"]) as body:
                    data: bytes = body.read(most + 1) if found["ContentLength"] <= most else b""
            if found["ContentLength"] > most or len(data) > most:
                raise RecordDamaged(key, f"it has more than {most} bytes")
            return data
        except Refused as error:
            if error.code in {"NoSuchKey", "404", "NoSuchBucket"}:
                return None
            raise

    def has(self, bucket: str, key: str) -> bool:
        return self.size(bucket, key) is not None

    def stream(self, bucket: str, key: str, target: Sink, offset: int = 0, most: int | None = None) -> Iterator[int]:
        """Write an object to a file, from an offset on: all of it, or at most `most` bytes. Yields the size of each
        piece that has been written."""
        last = "" if most is None else offset + most - 1
        params = {"Range": f"bytes={offset}-{last}"} if offset or most is not None else {}
        with translated("get_object"):
            found = self._client("s3").get_object(Bucket=bucket, Key=key, **params)
            for piece in found["Body"].iter_chunks(1 << 20):
                target.write(piece)
                yield len(piece)

    def span(self, bucket: str, key: str, start: int, end: int, etag: str) -> bytes:
        """The bytes [start, end) of the object with this ETag. Raises Refused when it has another one by now."""
        with translated("get_object"):
            asked = {"Bucket": bucket, "Key": key, "Range": f"bytes={start}-{end - 1}", "IfMatch": etag}
            with closing(self._client("s3").get_object(**asked)["Body"]) as body:
                return bytes(body.read(end - start))

    def presigned(self, bucket: str, key: str, seconds: int) -> str:
        """A URL with which anybody can read an object for so long. No call is made."""
        with translated("get_object"):
            params = {"Bucket": bucket, "Key": key}
            return str(self._client("s3").generate_presigned_url("get_object", Params=params, ExpiresIn=seconds))

    def put(self, bucket: str, key: str, body: bytes, *, first: bool = False) -> bool:
        """Write an object. With `first`, only if there is none: False when there is. botocore repeats a call whose
        answer was lost, and finds our own object then. So with `first`, `body` must differ from what any other caller
        writes."""
        params = {"IfNoneMatch": "*"} if first else {}
        try:
            self.call("s3", "put_object", Bucket=bucket, Key=key, Body=body, **params)
        except Refused as error:
            if first and error.code in {"PreconditionFailed", "412", "ConditionalRequestConflict"}:
                return self._has(bucket, key, body)
            raise
        return True

    def _has(self, bucket: str, key: str, body: bytes) -> bool:
        try:
            return self.get(bucket, key, len(body)) == body
        except RecordDamaged:
            return False

    def uploads(self, bucket: str, prefix: str) -> list[Any]:
        """Multipart uploads that were begun and not completed. S3 bills them like objects. Their keys may have
        characters that XML cannot express."""
        operation = "list_multipart_uploads"
        with translated(operation):
            paginator = self._client("s3").get_paginator(operation)
            return [
                {**each, "Key": unquote_plus(each["Key"])} if page.get("EncodingType") == "url" else each
                for page in paginator.paginate(Bucket=bucket, Prefix=prefix, EncodingType="url")
                for each in page.get("Uploads", [])
            ]

    def abort_uploads(self, bucket: str, prefix: str) -> None:
        for each in self.uploads(bucket, prefix):
            try:
                self.call("s3", "abort_multipart_upload", Bucket=bucket, Key=each["Key"], UploadId=each["UploadId"])
            except Refused as error:
                if error.code != "NoSuchUpload":
                    raise

    def delete_below(self, bucket: str, prefix: str, last: str | None = None) -> int:
        """Delete all objects whose keys begin with a prefix, and unfinished uploads. Returns the number of objects. The
        object `last` is deleted after all others, so that a repeated call can find what an interrupted one has left."""
        self.abort_uploads(bucket, prefix)
        found = [each["Key"] for each in self.pages("s3", "list_objects_v2", "Contents", Bucket=bucket, Prefix=prefix)]
        odd = [key for key in found if key != last and _UNSPEAKABLE.search(key)]
        with Threads(8) as pool:
            list(pool.map(lambda key: self.call("s3", "delete_object", Bucket=bucket, Key=key), odd))
        keys = sorted(set(found) - {last} - set(odd))
        batches = [keys[start : start + 1000] for start in range(0, len(keys), 1000)]
        if last in found:
            batches.append([str(last)])
        for batch in batches:
            objects = [{"Key": key} for key in batch]
            answer = self.call("s3", "delete_objects", Bucket=bucket, Delete={"Objects": objects, "Quiet": True})
            for error in answer.get("Errors", []):
                raise Refused(str(error.get("Code")), f"{error.get('Key')}: {error.get('Message')}", "delete_objects")
        return len(found)

    def upload(self, file: IO[bytes], size: int, bucket: str, key: str, progress: Callable[[int], None]) -> None:
        """Upload an open file, in parts when it is large. `progress` is called from any thread with the size of each
        piece that has been sent."""
        if size <= _IN_ONE:
            self.put(bucket, key, file.read())
            progress(size)
            return
        # The import is slow, and most jobs do not need it.
        from s3transfer.manager import TransferConfig, TransferManager  # noqa: PLC0415

        config = TransferConfig(multipart_threshold=_IN_ONE, multipart_chunksize=16 << 20, max_request_concurrency=4)
        try:
            with translated("upload"), TransferManager(self._client("s3"), config, None, Threads) as manager:
                manager.upload(file, bucket, key, subscribers=[_Progress(progress)]).result()
        except Refused as error:
            if not self.is_complete(error, bucket, key, size):
                raise

    def copy(self, bucket: str, source: str, target: str, size: int) -> None:
        """Copy an object within a bucket, in parts when it is large. It is S3 that reads and writes it."""
        if size <= _COPIED_IN_ONE:
            self.call("s3", "copy_object", Bucket=bucket, Key=target, CopySource={"Bucket": bucket, "Key": source})
            return
        from s3transfer.manager import TransferManager  # noqa: PLC0415

        with translated("copy"), TransferManager(self._client("s3"), None, None, Threads) as manager:
            manager.copy({"Bucket": bucket, "Key": source}, bucket, target).result()

    def is_complete(self, error: Refused, bucket: str, key: str, size: int) -> bool:
        """Whether a multipart upload that S3 does not know has in fact been completed: the answer was lost, and
        botocore repeated the call. Only for keys that are made of their content."""
        return error.code == "NoSuchUpload" and self.size(bucket, key) == size

    def size(self, bucket: str, key: str) -> int | None:
        """The size of an object in bytes; None when there is none."""
        try:
            return int(self.call("s3", "head_object", Bucket=bucket, Key=key)["ContentLength"])
        except Refused as error:
            if error.code in {"NoSuchKey", "404", "NotFound"}:
                return None
            raise


class _Unchanged(Exception):
    """An answer has the bytes of the last one. botocore lets it pass."""


class _LastAnswer:
    """To a question that is asked again and again. Of two answers that say the same, only the ids of their requests
    differ. An answer of several pages is not kept."""

    def __init__(self) -> None:
        self.looking = threading.Lock()
        self.found: list[Any] = []
        self._kept: bytes | None = None
        self._come: bytes | None = None

    def begin(self) -> None:
        self._come = None

    def compare(self, response_dict: MutableMapping[str, Any], **_: Any) -> None:
        """Before an answer is parsed. Of several pages, the first one is compared."""
        if response_dict["status_code"] != 200:
            return
        if self._come is None:
            self._come = _REQUEST_ID.sub(b"", response_dict["body"], count=1)
            if self._come == self._kept:
                raise _Unchanged

    def keep(self, found: list[Any], *, pages: int) -> list[Any]:
        self.found, self._kept, self._come = found, self._come if pages == 1 else None, None
        return found


class _Progress:
    """A subscriber to a transfer. s3transfer finds its callbacks by the names of the methods."""

    def __init__(self, progress: Callable[[int], None]) -> None:
        self._progress = progress

    def on_progress(self, bytes_transferred: int, **_: object) -> None:
        self._progress(bytes_transferred)


def read_time(value: Any) -> datetime:
    """A time of an answer. botocore leaves them to dateutil, which takes half of the time that an answer takes."""
    if isinstance(value, str) and value[:1].isdigit() and value.endswith("Z"):
        with suppress(ValueError):
            return datetime.fromisoformat(value)
    found: datetime = parse_timestamp(value)
    return found


class _KeptLoader(Loader):
    """botocore's loader, with a cache of the data that skylift uses."""

    def __init__(self, kept: KeptModels) -> None:
        super().__init__()
        self._kept = kept

    def load_service_model(self, service_name: str, type_name: str, api_version: str | None = None) -> Any:
        def whole() -> Any:
            return super(_KeptLoader, self).load_service_model(service_name, type_name, api_version)

        return self._kept.get(".".join(filter(None, (service_name, type_name, api_version))), whole)

    def load_data_with_path(self, name: str) -> tuple[Any, str]:
        def whole() -> tuple[Any, str]:
            found: tuple[Any, str] = super(_KeptLoader, self).load_data_with_path(name)
            return found

        if name not in {"endpoints", "partitions"}:
            return whole()
        return self._kept.get(name, lambda: whole()[0]), str(Path(self.BUILTIN_DATA_PATH, name))


def _is_concurrent(error: Refused) -> bool:
    return error.code == "ConcurrentModification"


def _is_not_found_yet(error: Refused) -> bool:
    return error.code.endswith(".NotFound") or error.code == "NoSuchEntity" or _is_concurrent(error)


class _NothingSent(exceptions.EndpointConnectionError):
    fmt = "{error} at {endpoint_url}. Nothing was sent there."


def send_only_to(listeners: Collection[int], session: Any) -> None:
    """Have the session's clients look, before each request, who listens at its address: a cloud that has ended holds it
    no more. Others than these users count as nobody. Raises botocore's ConnectionError, from calls."""

    def look(request: Any, **_: object) -> None:
        url = urlsplit(request.url)
        place = f"http://{url.netloc}"
        try:
            found = listener_at((url.hostname or "", url.port or 80))
        except OSError as error:
            raise _NothingSent(endpoint_url=place, error=f"It cannot be known ({error}) who listens") from None
        if found is None:
            raise exceptions.EndpointConnectionError(endpoint_url=place)
        if found.uid not in listeners:
            raise _NothingSent(endpoint_url=place, error="Not the cloud but another user of this machine listens")

    session.register("before-send", look)


@contextmanager
def translated(operation: str, service: str = "s3") -> Iterator[None]:
    """Translate botocore's exceptions into ours, with advice where a user can do something."""
    try:
        yield
    except exceptions.ClientError as error:
        found = error.response.get("Error", {})
        # EC2 appends hundreds of encoded characters to a denial, which only DecodeAuthorizationMessage can read.
        code, message = str(found.get("Code", "")), str(found.get("Message", "")).partition(" Encoded authorization")[0]
        if code in _NOT_KNOWN:
            advice = "The credentials are not valid here, or have expired."
            raise NotPermitted(code, message, operation, advice) from None
        if code in _DENIED:
            advice = about_denial(service, error.operation_name, message)
            raise NotPermitted(code, message, operation, advice) from None
        answer = error.response.get("ResponseMetadata", {})
        if is_not_now(answer.get("HTTPStatusCode", 0), code):
            waited = f" AWS has said so for {spell_duration(answer['waited'])}." if "waited" in answer else ""
            raise NotNow(code, message + waited, operation, ADVICE.get(code, _LATER)) from None
        raise Refused(code, message, operation, ADVICE.get(code, "")) from None
    except (exceptions.NoCredentialsError, exceptions.PartialCredentialsError, exceptions.ProfileNotFound) as error:
        raise NoCredentials(str(error), "Run `aws configure`, or set AWS_PROFILE or AWS_ACCESS_KEY_ID.") from None
    except (exceptions.SSOError, exceptions.TokenRetrievalError) as error:
        # They may also expire in the middle of a job, so this is no usage error.
        raise RunError(f"{operation}: {error}", "Run `aws sso login`.") from None
    except (BotoConnectionError, exceptions.HTTPClientError, exceptions.IncompleteReadError) as error:
        raise Unreachable(f"{operation}: {error}") from None
    except (exceptions.BotoCoreError, ResponseParserError) as error:
        raise RunError(f"{operation}: {error}") from None


@contextmanager
def _signing_in() -> Iterator[None]:
    """Before the first call, every error comes from the user's own settings: raise a UsageError that says so."""
    try:
        with translated("sign in"):
            yield
    except (RunError, OSError, ValueError) as error:
        if isinstance(error, (Refused, Unreachable)):
            raise
        advice = error.advice if isinstance(error, RunError) else ""
        raise UsageError(
            f"AWS's settings on this machine cannot be used: {str(error).removeprefix('sign in: ')}",
            advice or "They are in ~/.aws/config, ~/.aws/credentials, and variables that begin with AWS_.",
        ) from None
