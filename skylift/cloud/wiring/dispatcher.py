"""Takes a call from wire: finds its operation, authorises the caller, runs the handler in a transaction."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import cast

from skylift.cloud.domain.error import ServiceError, no_room
from skylift.cloud.domain.identity import Caller
from skylift.cloud.services.api import endpoint_path
from skylift.cloud.services.api.authorize import authorize
from skylift.cloud.services.api.operation import Handler, Operation, Outdated
from skylift.cloud.services.iam import identity
from skylift.cloud.services.s3 import cors
from skylift.cloud.services.s3.rules import OfBucket, bucket_of
from skylift.cloud.services.table import TABLE
from skylift.cloud.state.rootless import rootless
from skylift.cloud.store.database import Database, DiskFull, Tx
from skylift.cloud.wire.call import Encode, ModelCall, Response

LOOPED = ("autoscaling", "ec2", "scheduler", "skylift")
"""The loops carry out the changes of these services."""
LOOPED_TOO = (
    ("cloudwatch", "SetAlarmState"),
    ("s3", "PutBucketLifecycleConfiguration"),
    ("ssm", "CancelCommand"),
    ("ssm", "SendCommand"),
)
"""The loops also carry out these operations of other services."""

NEED_ROOT = ("CreateImage", "CreateSnapshot", "CreateSnapshots", "CreateVolume")
"""These make a file with a file system in it, which only root may mount."""

TRIES = 5
"""The most times that a request is prepared which others overtake."""


class Dispatcher:
    """Authenticates, authorises and carries out requests."""

    def __init__(self, database: Database, account: str, region: str, wake: Callable[[], None]) -> None:
        self._database = database
        self._account = account
        self._region = region
        self._wake = wake

    def secret_for(self, access_key_id: str, session_token: str | None) -> str:
        with self._database.read() as tx:
            return identity.secret_for(tx, access_key_id, session_token)

    def cors(self, bucket: str, origin: str, method: str, headers: Sequence[str]) -> dict[str, str] | None:
        """The headers by which a bucket allows a browser's page, before the caller is authenticated."""
        with self._database.read() as tx:
            return cors.allowed(tx, bucket, origin, method, headers)

    def perform(self, call: ModelCall, encode: Encode) -> Response:
        try:
            for _ in range(TRIES):
                with suppress(Outdated):
                    return self._perform(call, encode)
        except DiskFull as error:
            raise no_room() from error
        raise ServiceError(
            "OperationAborted",
            "A conflicting conditional operation is currently in progress against this resource. Please try again.",
            status=409,
        )

    def _perform(self, call: ModelCall, encode: Encode) -> Response:
        """Authenticate, refuse what would be ignored, authorise, and only then open the transaction that acts."""
        where = "a cloud without root" if call.operation in NEED_ROOT and rootless() else "skylift's embedded EC2"
        operation = TABLE.get((call.service, call.operation)) if where.startswith("skylift") else None
        if operation is None:
            if call.service == "s3":
                with self._database.read() as tx:
                    _find_bucket(tx, self._authenticated(tx, call), call)
            raise _not_here(call, f"The operation {call.operation} is not supported by {where}.")
        with self._database.read() as tx:
            caller = self._authenticated(tx, call)
            unnoted = identity.use_is_news(tx, caller)
            begun = None if unnoted else self._begin(tx, operation, caller, call, encode)
        if begun is None:
            self._note_use(caller, call.service)
            with self._database.read() as tx:
                # Anew: the key may have been deleted while its use was written.
                caller = self._authenticated(tx, call)
                begun = self._begin(tx, operation, caller, call, encode)
        if isinstance(begun, Response):
            return begun
        for handler in begun:
            with self._database.write() as tx:
                result = handler(tx, caller, call.params)
        if call.service in LOOPED or (call.service, call.operation) in LOOPED_TOO:
            # All that the loops make true.
            self._wake()
        return encode(result)

    def unsettled(self, call: ModelCall, answer: Mapping[str, object]) -> bool:
        """Whether an answer of `perform` shows something that is on its way to another state, and asked for by id."""
        unsettled = TABLE[call.service, call.operation].unsettled
        return unsettled is not None and unsettled(call.params, answer)

    def _begin(
        self, tx: Tx, operation: Operation, caller: Caller, call: ModelCall, encode: Encode
    ) -> Response | Iterable[Handler]:
        """The answer of a reading operation, or what a writing one is to do in its own transaction."""
        self._permit(tx, operation, caller, call)
        if operation.writes:
            return operation.prepared(tx, caller, call.params)
        return encode(operation.handler(tx, caller, call.params))

    def _permit(self, tx: Tx, operation: Operation, caller: Caller, call: ModelCall) -> None:
        """Raises what a request is refused with that asks for too much, or for what its caller may not do."""
        if unsupported := operation.unsupported(call.params):
            _find_bucket(tx, caller, call)
            names = ", ".join(unsupported)
            raise _not_here(call, f"{call.operation} in skylift's embedded EC2 does not support: {names}.")
        authorize(tx, caller, operation.checks(tx, caller, call.params), service=call.service)

    def _authenticated(self, tx: Tx, call: ModelCall) -> Caller:
        operation = TABLE.get((call.service, call.operation))
        circumstances: identity.Circumstances = {
            "account": self._account,
            "region": self._region,
            "source_ip": call.source_ip,
            "request_id": call.request_id,
            "secure": call.secure,
            "user_agent": call.user_agent,
            "referer": call.referer,
            "tls_version": call.tls_version,
            "signature": call.signature,
        }
        caller = identity.authenticate(
            tx,
            call.credential.access_key_id,
            call.credential.session_token,
            circumstances,
            service=call.service,
            unsigned=operation is not None and operation.unsigned,
        )
        return endpoint_path.by_endpoint_path(tx, caller, call.vpc_id, call.service) if call.vpc_id else caller

    def _note_use(self, caller: Caller, service: str) -> None:
        """Note the use of a user's key or of a role, also where the request is refused later. On a full disk one can
        still look.
        """
        with suppress(DiskFull), self._database.write() as tx:
            identity.note_use(tx, caller, service)


def _find_bucket(tx: Tx, caller: Caller, call: ModelCall) -> None:
    """S3 finds the bucket before it looks at what it is asked to do with it. Raises NoSuchBucket.

    AWS does so for everybody. Here an anonymous caller learns of no bucket that he may not use.
    """
    if caller.kind == "anonymous" or call.operation == "CreateBucket":
        return
    if call.service == "s3" and call.params.get("Bucket"):
        bucket_of(tx, caller, cast(OfBucket, call.params))


def _not_here(call: ModelCall, message: str) -> ServiceError:
    if call.service in ("s3", "s3control"):
        return ServiceError("NotImplemented", message, status=501)
    return ServiceError("UnsupportedOperation" if call.service == "ec2" else "InvalidAction", message, status=400)
