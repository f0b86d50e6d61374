"""OpenID Connect providers: issuers whose tokens roles may trust.

AWS fetches an issuer's certificate where a request names no thumbprint. This cloud asks no issuer: such a provider has
none, and the keys of an issuer are given to the cloud by its owner (`issuer_keys`).
https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles_providers_create_oidc.html
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from skylift.cloud.domain.error import ServiceError
from skylift.cloud.domain.identity import Caller, OidcProvider
from skylift.cloud.services.api.iam_rules import checked_tags, exists, invalid_input, over_quota, tag_list
from skylift.cloud.services.api.operation import Check, Nothing
from skylift.cloud.services.iam.operation import PAGES, checks_to_make, on_arn, reads, writes
from skylift.cloud.services.iam.tagging import Tags
from skylift.cloud.store.database import Tx

if TYPE_CHECKING:
    from aws_shapes import iam

MAX_PROVIDERS = 100
MAX_CLIENT_IDS = 100
MAX_THUMBPRINTS = 5

_SCHEME = "https://"
_ANY_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^/]+.*")
_LABEL = "[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?"
_ISSUER = re.compile(rf"https://(?:{_LABEL}\.)+(?=[A-Za-z]){_LABEL}(?:/[A-Za-z0-9._~%!$&'()*+,;=@/-]*)?")
"""A domain with a dot and perhaps a path: no address, port, query or user. A trust policy can ask for the claims of
these alone, as `keycloak/realm:sub` is no condition key.
"""
_THUMBPRINT = re.compile(r"[0-9A-Fa-f]{40}")


def create(
    tx: Tx, caller: Caller, params: iam.CreateOpenIDConnectProviderRequest
) -> iam.CreateOpenIDConnectProviderResponse:
    url = checked_issuer(params["Url"])
    arn = provider_arn(caller.account, url)
    client_ids, thumbprints = (
        _client_ids(params.get("ClientIDList", [])),
        _thumbprints(params.get("ThumbprintList", [])),
    )
    tags = checked_tags(params)
    if tx.get(OidcProvider, arn=arn) is not None:
        raise exists(f"Provider with url {_SCHEME}{url}")
    if len(tx.find(OidcProvider)) >= MAX_PROVIDERS:
        raise over_quota("OpenIdConnectProvidersPerAccount", MAX_PROVIDERS)
    tx.add(OidcProvider(arn, url, tx.now, client_ids, thumbprints, tags))
    made: iam.CreateOpenIDConnectProviderResponse = {"OpenIDConnectProviderArn": arn}
    return {**made, "Tags": tag_list(tags)} if tags else made


def get(tx: Tx, _caller: Caller, params: iam.GetOpenIDConnectProviderRequest) -> iam.GetOpenIDConnectProviderResponse:
    provider = existing(tx, params["OpenIDConnectProviderArn"])
    return {
        "Url": provider.url,
        "ClientIDList": list(provider.client_ids),
        "ThumbprintList": list(provider.thumbprints),
        "CreateDate": provider.created,
        "Tags": tag_list(provider.tags),
    }


def list_all(
    tx: Tx, _caller: Caller, _params: iam.ListOpenIDConnectProvidersRequest
) -> iam.ListOpenIDConnectProvidersResponse:
    arns = sorted(provider.arn for provider in tx.find(OidcProvider))
    return {"OpenIDConnectProviderList": [{"Arn": arn} for arn in arns]}


def delete(tx: Tx, _caller: Caller, params: iam.DeleteOpenIDConnectProviderRequest) -> Nothing:
    """The API reference says that a provider that does not exist is no error; AWS answers one.

    https://github.com/versity/versitygw/pull/2259
    """
    arn = params["OpenIDConnectProviderArn"]
    provider = tx.get(OidcProvider, arn=arn)
    if provider is None:
        raise ServiceError("NoSuchEntity", f"OpenId connect Provider {arn} cannot be found.", status=404)
    tx.remove(provider)
    return {}


def add_client_id(tx: Tx, _caller: Caller, params: iam.AddClientIDToOpenIDConnectProviderRequest) -> Nothing:
    """One that the provider has already is no error."""
    provider = existing(tx, params["OpenIDConnectProviderArn"])
    tx.save(replace(provider, client_ids=_client_ids([*provider.client_ids, params["ClientID"]])))
    return {}


def remove_client_id(tx: Tx, _caller: Caller, params: iam.RemoveClientIDFromOpenIDConnectProviderRequest) -> Nothing:
    """One that the provider does not have is no error."""
    provider = existing(tx, params["OpenIDConnectProviderArn"])
    left = tuple(client_id for client_id in provider.client_ids if client_id != params["ClientID"])
    tx.save(replace(provider, client_ids=left))
    return {}


def update_thumbprints(tx: Tx, _caller: Caller, params: iam.UpdateOpenIDConnectProviderThumbprintRequest) -> Nothing:
    provider = existing(tx, params["OpenIDConnectProviderArn"])
    tx.save(replace(provider, thumbprints=_thumbprints(params["ThumbprintList"])))
    return {}


def existing(tx: Tx, arn: str) -> OidcProvider:
    provider = tx.get(OidcProvider, arn=arn)
    if provider is None:
        raise ServiceError("NoSuchEntity", f"OpenIDConnect Provider not found for arn {arn}", status=404)
    return provider


def provider_arn(account: str, url: str) -> str:
    """`url` is the issuer's without its scheme."""
    return f"arn:aws:iam::{account}:oidc-provider/{url}"


def checked_issuer(text: str) -> str:
    """An issuer's URL without its scheme, to the letter: one with a slash at its end is another issuer."""
    if not _ANY_URL.fullmatch(text):
        raise ServiceError("ValidationError", "Invalid Open ID Connect Provider URL", status=400)
    if not text.startswith(_SCHEME):
        raise invalid_input("Invalid Open ID Connect Provider URL. The URL must begin with https://.")
    if not _ISSUER.fullmatch(text):
        raise invalid_input("Invalid Open ID Connect Provider URL.")
    return text.removeprefix(_SCHEME)


def check_create(_tx: Tx, caller: Caller, params: iam.CreateOpenIDConnectProviderRequest) -> Iterable[Check]:
    arn = provider_arn(caller.account, params["Url"].removeprefix(_SCHEME))
    return checks_to_make("OpenIDConnectProvider", arn, params)


def _client_ids(given: Sequence[str]) -> tuple[str, ...]:
    once = tuple(dict.fromkeys(given))
    if len(once) > MAX_CLIENT_IDS:
        raise over_quota("ClientIdsPerOpenIdConnectProvider", MAX_CLIENT_IDS)
    return once


def _thumbprints(given: Sequence[str]) -> tuple[str, ...]:
    """Digits in lower case, each thumbprint once."""
    if len(given) > MAX_THUMBPRINTS:
        raise invalid_input(f"Thumbprint list must contain fewer than {MAX_THUMBPRINTS} entries.")
    for thumbprint in given:
        if not _THUMBPRINT.fullmatch(thumbprint):
            raise invalid_input("Thumbprint must consist of 40 hexadecimal digits.")
    return tuple(dict.fromkeys(thumbprint.lower() for thumbprint in given))


ON_PROVIDER = on_arn("OpenIDConnectProviderArn")
TAGS = Tags("TagsPerOpenIDConnectProvider", "OpenIDConnectProviderArn", existing, existing)

OPERATIONS = (
    writes("CreateOpenIDConnectProvider", create, "Url ClientIDList ThumbprintList Tags", check_create),
    reads("ListOpenIDConnectProviders", list_all),
    ON_PROVIDER.reads("GetOpenIDConnectProvider", get),
    ON_PROVIDER.writes("DeleteOpenIDConnectProvider", delete),
    ON_PROVIDER.writes("AddClientIDToOpenIDConnectProvider", add_client_id, "ClientID"),
    ON_PROVIDER.writes("RemoveClientIDFromOpenIDConnectProvider", remove_client_id, "ClientID"),
    ON_PROVIDER.writes("UpdateOpenIDConnectProviderThumbprint", update_thumbprints, "ThumbprintList"),
    ON_PROVIDER.writes("TagOpenIDConnectProvider", TAGS.tag, "Tags"),
    ON_PROVIDER.writes("UntagOpenIDConnectProvider", TAGS.untag, "TagKeys"),
    ON_PROVIDER.reads("ListOpenIDConnectProviderTags", TAGS.list_all, PAGES),
)
