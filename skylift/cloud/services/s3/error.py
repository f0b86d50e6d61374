"""S3's errors, worded and numbered as its API reference's "List of error codes" has them."""

from __future__ import annotations

from collections.abc import Mapping

from skylift.cloud.domain.error import ServiceError


def no_such_bucket(name: str) -> ServiceError:
    return ServiceError("NoSuchBucket", "The specified bucket does not exist", status=404, BucketName=name)


def no_such_key(key: str, headers: Mapping[str, str] | None = None) -> ServiceError:
    return ServiceError("NoSuchKey", "The specified key does not exist.", status=404, headers=headers, Key=key)


def no_such_upload(upload_id: str) -> ServiceError:
    return ServiceError(
        "NoSuchUpload",
        "The specified upload does not exist. The upload ID may be invalid, or the upload may have been aborted or "
        "completed.",
        status=404,
        UploadId=upload_id,
    )


def access_denied() -> ServiceError:
    return ServiceError("AccessDenied", "Access Denied", status=403)


def invalid_argument(name: str, value: object, message: str) -> ServiceError:
    return ServiceError("InvalidArgument", message, status=400, ArgumentName=name, ArgumentValue=str(value))


def invalid_token(token: str | None) -> ServiceError:
    """Of an empty one no value is told: `test_list_objects_v2_continuation_start_after`, recorded on AWS in
    LocalStack's test_s3_list_operations.snapshot.json."""
    message = "The continuation token provided is incorrect"
    if not token:
        return ServiceError("InvalidArgument", message, status=400, ArgumentName="continuation-token")
    return invalid_argument("continuation-token", token, message)


def invalid_request(message: str) -> ServiceError:
    return ServiceError("InvalidRequest", message, status=400)


def invalid_storage_class(asked: str) -> ServiceError:
    """As recorded on AWS: `test_put_object_storage_class_outposts` in LocalStack's test_s3.snapshot.json."""
    return ServiceError(
        "InvalidStorageClass", "The storage class you specified is not valid", status=400, StorageClassRequested=asked
    )


def malformed_xml() -> ServiceError:
    return ServiceError(
        "MalformedXML",
        "The XML you provided was not well-formed or did not validate against our published schema",
        status=400,
    )


def precondition_failed(header: str) -> ServiceError:
    return ServiceError(
        "PreconditionFailed",
        "At least one of the pre-conditions you specified did not hold",
        status=412,
        Condition=header,
    )


def not_modified(etag: str) -> ServiceError:
    """Not an error to HTTP: an answer of status 304 that has no body, and the ETag of what has not changed."""
    return ServiceError("NotModified", "Not Modified", status=304, ETag=f'"{etag}"')


def invalid_range(asked: str, size: int) -> ServiceError:
    return ServiceError(
        "InvalidRange",
        "The requested range is not satisfiable",
        status=416,
        RangeRequested=asked,
        ActualObjectSize=str(size),
    )


def bad_digest(what: str) -> ServiceError:
    return ServiceError("BadDigest", f"The {what} you specified did not match the calculated checksum.", status=400)


def conditional_conflict(header: str, key: str) -> ServiceError:
    return ServiceError(
        "ConditionalRequestConflict",
        "The conditional request cannot succeed due to a conflicting operation against this resource.",
        status=409,
        Condition=header,
        Key=key,
    )


def condition_not_implemented(header: str, additional: str) -> ServiceError:
    return ServiceError(
        "NotImplemented",
        "A header you provided implies functionality that is not implemented",
        status=501,
        Header=header,
        additionalMessage=additional,
    )


def not_implemented(parameter: str, value: object) -> ServiceError:
    return ServiceError(
        "NotImplemented",
        f"A header you provided implies functionality that is not implemented: {parameter} with the value {value}",
        status=501,
        Header=parameter,
    )
