"""Lists of what no user and no account has here, because nothing makes it: whoever cleans up a user asks for each.

https://docs.aws.amazon.com/IAM/latest/UserGuide/id_users_remove.html
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from skylift.cloud.domain.identity import Caller
from skylift.cloud.services.api.iam_rules import page_of
from skylift.cloud.services.iam import user as users
from skylift.cloud.services.iam.operation import PAGES, on_account, reads
from skylift.cloud.services.iam.user import ON_USER
from skylift.cloud.store.database import Tx

if TYPE_CHECKING:
    from aws_shapes import iam


def ssh_public_keys(tx: Tx, caller: Caller, params: iam.ListSSHPublicKeysRequest) -> dict[str, Any]:
    users.existing(tx, users.meant(caller, params))
    return _none(params, "SSHPublicKeys")


def signing_certificates(tx: Tx, caller: Caller, params: iam.ListSigningCertificatesRequest) -> dict[str, Any]:
    users.existing(tx, users.meant(caller, params))
    return _none(params, "Certificates")


def service_credentials(tx: Tx, caller: Caller, params: iam.ListServiceSpecificCredentialsRequest) -> dict[str, Any]:
    users.existing(tx, users.meant(caller, params))
    return _none(params, "ServiceSpecificCredentials")


def server_certificates(_tx: Tx, _caller: Caller, params: iam.ListServerCertificatesRequest) -> dict[str, Any]:
    return _none(params, "ServerCertificateMetadataList")


def openid_connect_providers(_tx: Tx, _caller: Caller, _params: Any) -> dict[str, Any]:
    return {"OpenIDConnectProviderList": []}


def saml_providers(_tx: Tx, _caller: Caller, _params: Any) -> dict[str, Any]:
    return {"SAMLProviderList": []}


def _none(params: Any, member: str) -> dict[str, Any]:
    nothing: list[dict[str, Any]] = []
    found, more = page_of(params, nothing, str)
    return {member: found, **more}


OPERATIONS = (
    ON_USER.reads("ListSSHPublicKeys", ssh_public_keys, PAGES),
    ON_USER.reads("ListSigningCertificates", signing_certificates, PAGES),
    ON_USER.reads("ListServiceSpecificCredentials", service_credentials, f"ServiceName {PAGES}"),
    reads(
        "ListServerCertificates",
        server_certificates,
        f"PathPrefix {PAGES}",
        on_account("ListServerCertificates"),
    ),
    reads(
        "ListOpenIDConnectProviders",
        openid_connect_providers,
        "",
        on_account("ListOpenIDConnectProviders"),
    ),
    reads("ListSAMLProviders", saml_providers, "", on_account("ListSAMLProviders")),
)
