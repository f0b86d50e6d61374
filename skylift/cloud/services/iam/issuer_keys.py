"""The keys of issuers, as the owner of this cloud gives them. AWS fetches them from the issuer; this cloud, which is
root's, asks no address that a user of it names.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from skylift.cloud.domain.error import ServiceError
from skylift.cloud.domain.identity import Caller, IssuerKeys
from skylift.cloud.services.api.operation import Check, Checks, Handler, Nothing, Operation, Params, on_all
from skylift.cloud.services.api.refusal import invalid_value
from skylift.cloud.services.iam.oidc_provider import checked_issuer, provider_arn
from skylift.cloud.services.iam.web_key import BadKeySet, parse_key_set
from skylift.cloud.store.database import Tx

if TYPE_CHECKING:
    from aws_shapes import skylift

MOST_ISSUERS = 100


def put(tx: Tx, _caller: Caller, params: skylift.PutIssuerKeysRequest) -> skylift.PutIssuerKeysResult:
    """In the place of those that the issuer had."""
    url, document = _issuer(params["Issuer"]), params["KeySet"]
    try:
        parse_key_set(document)
    except BadKeySet as error:
        raise ServiceError("InvalidParameterValue", f"This is no JSON Web Key Set. {error}", status=400) from error
    keys = IssuerKeys(url, document, tx.now)
    if tx.get(IssuerKeys, url=url) is not None:
        tx.save(keys)
    elif len(tx.find(IssuerKeys)) < MOST_ISSUERS:
        tx.add(keys)
    else:
        raise ServiceError("LimitExceeded", f"There are keys of {MOST_ISSUERS} issuers, which is the most.", status=400)
    return {"Issuer": _view(keys)}


def reset(tx: Tx, _caller: Caller, params: skylift.ResetIssuerKeysRequest) -> Nothing:
    keys = tx.get(IssuerKeys, url=_issuer(params["Issuer"]))
    if keys is not None:
        tx.remove(keys)
    return {}


def describe(tx: Tx, _caller: Caller, _params: skylift.DescribeIssuerKeysRequest) -> skylift.DescribeIssuerKeysResult:
    return {"Issuers": [_view(keys) for keys in sorted(tx.find(IssuerKeys), key=lambda one: one.url)]}


def _view(keys: IssuerKeys) -> skylift.Issuer:
    found = parse_key_set(keys.document)
    return {
        "Issuer": f"https://{keys.url}",
        "KeyCount": len(found),
        "KeyIds": [key.id for key in found if key.id],
        "UpdateTime": keys.given,
    }


def _issuer(text: str) -> str:
    try:
        return checked_issuer(text)
    except ServiceError as error:
        raise invalid_value(
            text, "Issuer", "It is an address like https://issuer.example.com: a domain with a dot, no port."
        ) from error


def _check_change(action: str) -> Checks:
    """Whoever gives an issuer's keys takes each role that trusts it: `skylift:*` alone must not be enough.

    On AWS the thumbprints say which server's keys count. Policies that keep IAM's own actions from somebody, as AWS's
    PowerUserAccess does, keep this from him too.
    """

    def checks(_tx: Tx, caller: Caller, params: Params) -> Iterable[Check]:
        arn = provider_arn(caller.account, params["Issuer"].removeprefix("https://"))
        return [Check(f"skylift:{action}", "*"), Check("iam:UpdateOpenIDConnectProviderThumbprint", arn)]

    return checks


def _changes(name: str, handler: Handler, takes: str) -> Operation:
    return Operation("skylift", name, handler, frozenset(takes.split()), _check_change(name), writes=True)


OPERATIONS = (
    _changes("PutIssuerKeys", put, "Issuer KeySet"),
    _changes("ResetIssuerKeys", reset, "Issuer"),
    Operation(
        "skylift", "DescribeIssuerKeys", describe, frozenset(), on_all("skylift:DescribeIssuerKeys"), writes=False
    ),
)
