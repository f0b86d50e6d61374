"""The rows of this folder's operations: each stands below its handler."""

from __future__ import annotations

from skylift.cloud.services.api.operation import Operation
from skylift.cloud.services.s3 import (
    bucket,
    bucket_policy,
    bucket_setting,
    cors,
    empty_listings,
    lifecycle,
    object,
    object_copy,
    object_list,
    object_tag,
    resource_tag,
    storage_class,
    upload,
    upload_completion,
    version_list,
)

OPERATIONS: tuple[Operation, ...] = (
    *bucket.OPERATIONS,
    *bucket_policy.OPERATIONS,
    *bucket_setting.OPERATIONS,
    *cors.OPERATIONS,
    *empty_listings.OPERATIONS,
    *lifecycle.OPERATIONS,
    *object.OPERATIONS,
    *object_copy.OPERATIONS,
    *object_list.OPERATIONS,
    *object_tag.OPERATIONS,
    *resource_tag.OPERATIONS,
    *storage_class.OPERATIONS,
    *upload.OPERATIONS,
    *upload_completion.OPERATIONS,
    *version_list.OPERATIONS,
)
