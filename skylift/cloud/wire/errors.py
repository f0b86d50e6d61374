"""ServiceError to the wire, once: AWS's HTTP status for a code, and each protocol's own words for a failed signature.

Sources: the EC2 "Error codes" page, the "Common Errors" page of the IAM and STS references, and S3's "Error
responses"; the models for the codes they have.
"""

from __future__ import annotations

from collections.abc import Mapping

from skylift.cloud.domain.error import ServiceError
from skylift.cloud.wire.models import ServiceModel

_OF_FORMS = {
    "InternalError": 500,
    "InternalFailure": 500,
    "InvalidClientTokenId": 403,
    "MissingAuthenticationToken": 403,
    "OptInRequired": 403,
    "RequestEntityTooLarge": 413,
    "ServiceUnavailable": 503,
    "SignatureDoesNotMatch": 403,
}

EC2_STATUS = {
    **_OF_FORMS,
    "AuthFailure": 401,
    "Blocked": 403,
    "DryRunOperation": 412,
    "InsufficientInstanceCapacity": 500,
    "RequestLimitExceeded": 503,
    "Unavailable": 503,
    "UnauthorizedOperation": 403,
}

QUERY_STATUS = {
    **_OF_FORMS,
    "AccessDenied": 403,
    "AccessDeniedException": 403,
    "ExpiredToken": 403,
    "IncompleteSignature": 403,
    "MalformedQueryString": 404,
    "NotAuthorized": 403,
}

# The JSON services answer 400 also where others say 403.
JSON_STATUS = {
    "InternalFailure": 500,
    "InternalServerError": 500,
    "RequestEntityTooLarge": 413,
    "ServiceUnavailable": 503,
}

# As JSON_STATUS, but a refusal to a caller is 403.
REST_JSON_STATUS = {
    **JSON_STATUS,
    "AccessDeniedException": 403,
    "ExpiredTokenException": 403,
    "IncompleteSignatureException": 403,
    "InvalidSignatureException": 403,
    "MissingAuthenticationTokenException": 403,
    "UnknownOperationException": 404,
    "UnrecognizedClientException": 403,
}

S3_STATUS = {
    "AccessDenied": 403,
    "AccountProblem": 403,
    "AllAccessDisabled": 403,
    "BucketAlreadyExists": 409,
    "BucketAlreadyOwnedByYou": 409,
    "BucketNotEmpty": 409,
    "ConditionalRequestConflict": 409,
    "InternalError": 500,
    "InvalidAccessKeyId": 403,
    "InvalidBucketState": 409,
    "InvalidObjectState": 403,
    "InvalidPartNumber": 416,
    "InvalidRange": 416,
    "InvalidSecurity": 403,
    "MethodNotAllowed": 405,
    "MissingContentLength": 411,
    "NotFound": 404,
    "NotImplemented": 501,
    "NotModified": 304,
    "NotSignedUp": 403,
    "ObjectLockConfigurationNotFoundError": 404,
    "OperationAborted": 409,
    "OwnershipControlsNotFoundError": 404,
    "PermanentRedirect": 301,
    "PreconditionFailed": 412,
    "ReplicationConfigurationNotFoundError": 404,
    "RequestTimeTooSkewed": 403,
    "RestoreAlreadyInProgress": 409,
    "ServerSideEncryptionConfigurationNotFoundError": 404,
    "ServiceUnavailable": 503,
    "SignatureDoesNotMatch": 403,
    "SlowDown": 503,
    "TemporaryRedirect": 307,
}

_STATUS: Mapping[str, Mapping[str, int]] = {
    "ec2": EC2_STATUS,
    "json": JSON_STATUS,
    "query": QUERY_STATUS,
    "rest-json": REST_JSON_STATUS,
    "rest-xml": S3_STATUS,
}

_NOT_VALIDATED = "AWS was not able to validate the provided access credentials"
_INVALID_TOKEN = "The security token included in the request is invalid."  # noqa: S105 - a message

_JSON_WORDS = {
    "AccessDenied": ("AccessDeniedException", None),
    "AuthorizationHeaderMalformed": ("InvalidSignatureException", None),
    "AuthorizationQueryParametersError": ("IncompleteSignatureException", None),
    "ExpiredToken": ("ExpiredTokenException", "The security token included in the request is expired"),
    "IncompleteSignature": ("IncompleteSignatureException", None),
    "InternalError": ("InternalFailure", None),
    "InvalidAccessKeyId": ("UnrecognizedClientException", _INVALID_TOKEN),
    "InvalidAction": ("UnknownOperationException", None),
    "InvalidClientTokenId": ("UnrecognizedClientException", _INVALID_TOKEN),
    "InvalidToken": ("UnrecognizedClientException", _INVALID_TOKEN),
    "MaxMessageLengthExceeded": ("RequestEntityTooLarge", None),
    "MissingAuthenticationToken": ("MissingAuthenticationTokenException", "Missing Authentication Token"),
    "RequestExpired": ("InvalidSignatureException", None),
    "RequestTimeTooSkewed": ("InvalidSignatureException", None),
    "SignatureDoesNotMatch": ("InvalidSignatureException", None),
    "XAmzContentSHA256Mismatch": ("InvalidSignatureException", None),
}

# Keys and signatures are checked in one place, which speaks S3's detailed vocabulary. EC2 and the query services have
# fewer words for it; None keeps the message.
_REWORDED: Mapping[str, Mapping[str, tuple[str, str | None]]] = {
    "ec2": {
        "AuthorizationHeaderMalformed": ("AuthFailure", _NOT_VALIDATED),
        "AuthorizationQueryParametersError": ("AuthFailure", _NOT_VALIDATED),
        "ExpiredToken": ("RequestExpired", "Request has expired."),
        "InvalidAccessKeyId": ("AuthFailure", _NOT_VALIDATED),
        "InvalidToken": ("AuthFailure", _NOT_VALIDATED),
        "MaxMessageLengthExceeded": ("RequestEntityTooLarge", None),
        "RequestTimeTooSkewed": ("AuthFailure", _NOT_VALIDATED),
        "SignatureDoesNotMatch": ("AuthFailure", _NOT_VALIDATED),
        "XAmzContentSHA256Mismatch": ("AuthFailure", _NOT_VALIDATED),
    },
    "json": _JSON_WORDS,
    "query": {
        "AuthorizationHeaderMalformed": ("SignatureDoesNotMatch", None),
        "AuthorizationQueryParametersError": ("IncompleteSignature", None),
        "ExpiredToken": ("ExpiredToken", "The security token included in the request is expired"),
        "InvalidAccessKeyId": ("InvalidClientTokenId", _INVALID_TOKEN),
        "InvalidToken": ("InvalidClientTokenId", _INVALID_TOKEN),
        "MaxMessageLengthExceeded": ("RequestEntityTooLarge", None),
        "RequestExpired": ("SignatureDoesNotMatch", None),
        "RequestTimeTooSkewed": ("SignatureDoesNotMatch", None),
        "XAmzContentSHA256Mismatch": ("SignatureDoesNotMatch", None),
    },
    "rest-json": _JSON_WORDS,
    "rest-xml": {
        "IncompleteSignature": ("AuthorizationHeaderMalformed", None),
        "InvalidClientTokenId": ("InvalidAccessKeyId", None),
        "InvalidAction": ("NotImplemented", None),
        "RequestExpired": ("AccessDenied", "Request has expired"),
    },
}


def worded(service: ServiceModel, error: ServiceError) -> ServiceError:
    """The error in the words of the service's protocol."""
    code, message = _REWORDED[_vocabulary(service)].get(error.code, (error.code, None))
    return ServiceError(code, message or error.message, status=error.status, headers=error.headers, **error.detail)


def status_of(service: ServiceModel, error: ServiceError) -> int:
    """The HTTP status: what the error itself says, else AWS's for the code, else the model's, else 400 (404 for S3's
    NoSuchThing codes)."""
    if error.status is not None:
        return 400 if _vocabulary(service) == "json" and error.status == 403 else error.status
    listed = _STATUS[_vocabulary(service)].get(error.code)
    if listed is not None:
        return listed
    modelled = service.errors.get(error.code)
    if modelled is not None:
        return modelled.status
    return 404 if service.protocol == "rest-xml" and error.code.startswith("NoSuch") else 400


def _vocabulary(service: ServiceModel) -> str:
    return "query" if service.speaks_as_query else service.protocol
