"""Lists of resources that no user and no account has here, because nothing makes them. Tools that clean up a user ask
for each.

https://docs.aws.amazon.com/IAM/latest/UserGuide/id_users_remove.html
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from skylift.cloud.domain.identity import Caller
from skylift.cloud.services.api.iam_rules import More, page_of
from skylift.cloud.services.api.operation import Params
from skylift.cloud.services.iam import user as users
from skylift.cloud.services.iam.operation import PAGES, reads
from skylift.cloud.services.iam.user import ON_USER
from skylift.cloud.store.database import Tx

if TYPE_CHECKING:
    from aws_shapes import iam


def ssh_public_keys(tx: Tx, caller: Caller, params: iam.ListSSHPublicKeysRequest) -> iam.ListSSHPublicKeysResponse:
    users.existing(tx, users.named_or_own(caller, params))
    return {"SSHPublicKeys": [], **_none(params)}


def signing_certificates(
    tx: Tx, caller: Caller, params: iam.ListSigningCertificatesRequest
) -> iam.ListSigningCertificatesResponse:
    users.existing(tx, users.named_or_own(caller, params))
    return {"Certificates": [], **_none(params)}


def server_certificates(
    _tx: Tx, _caller: Caller, params: iam.ListServerCertificatesRequest
) -> iam.ListServerCertificatesResponse:
    return {"ServerCertificateMetadataList": [], **_none(params)}


def saml_providers(_tx: Tx, _caller: Caller, _params: iam.ListSAMLProvidersRequest) -> iam.ListSAMLProvidersResponse:
    return {"SAMLProviderList": []}


def _none(params: Params) -> More:
    """The end of a list without items; raises for a page that cannot be."""
    _, more = page_of(params, [], str)
    return more


OPERATIONS = (
    ON_USER.reads("ListSSHPublicKeys", ssh_public_keys, PAGES),
    ON_USER.reads("ListSigningCertificates", signing_certificates, PAGES),
    reads("ListServerCertificates", server_certificates, f"PathPrefix {PAGES}"),
    reads("ListSAMLProviders", saml_providers),
)
