"""Tags of whatever has them in IAM."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from skylift.cloud.domain.identity import Caller, InstanceProfile, ManagedPolicy, MfaDevice, OidcProvider, Role, User
from skylift.cloud.services.api.iam_rules import checked_tags, merged_tags, page_of, tag_list, without_tags
from skylift.cloud.services.api.operation import Nothing, Params
from skylift.cloud.store.database import Tx

Tagged = User | Role | InstanceProfile | ManagedPolicy | MfaDevice | OidcProvider

if TYPE_CHECKING:
    from aws_shapes import iam

    TagRequest = (
        iam.TagInstanceProfileRequest
        | iam.TagMFADeviceRequest
        | iam.TagOpenIDConnectProviderRequest
        | iam.TagPolicyRequest
        | iam.TagRoleRequest
        | iam.TagUserRequest
    )
    UntagRequest = (
        iam.UntagInstanceProfileRequest
        | iam.UntagMFADeviceRequest
        | iam.UntagOpenIDConnectProviderRequest
        | iam.UntagPolicyRequest
        | iam.UntagRoleRequest
        | iam.UntagUserRequest
    )
    ListTagsRequest = (
        iam.ListInstanceProfileTagsRequest
        | iam.ListMFADeviceTagsRequest
        | iam.ListOpenIDConnectProviderTagsRequest
        | iam.ListPolicyTagsRequest
        | iam.ListRoleTagsRequest
        | iam.ListUserTagsRequest
    )


@dataclass(frozen=True)
class Tags:
    """The operations on the tags of one noun, which `parameter` names.

    `existing` finds it or raises NoSuchEntity; `changeable` refuses what may be read only.
    """

    quota: str
    parameter: str
    existing: Callable[[Tx, str], Tagged]
    changeable: Callable[[Tx, str], Tagged]

    def tag(self, tx: Tx, _caller: Caller, params: TagRequest) -> Nothing:
        tagged = self.changeable(tx, self._name(params))
        tx.save(replace(tagged, tags=merged_tags(tagged.tags, checked_tags(params), self.quota)))
        return {}

    def untag(self, tx: Tx, _caller: Caller, params: UntagRequest) -> Nothing:
        tagged = self.changeable(tx, self._name(params))
        tx.save(replace(tagged, tags=without_tags(tagged.tags, params["TagKeys"])))
        return {}

    def list_all(self, tx: Tx, _caller: Caller, params: ListTagsRequest) -> iam.ListUserTagsResponse:
        tagged = self.existing(tx, self._name(params))
        tags, more = page_of(params, tag_list(tagged.tags), lambda pair: pair["Key"])
        return {"Tags": tags, **more}

    def _name(self, params: Params) -> str:
        name: str = params[self.parameter]
        return name
