"""AssumeRoleWithWebIdentity: a role for whoever has a token of an issuer that the role trusts. Nobody signs it.

The token is verified before the write transaction opens: strangers do not hold up the one writer.
https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRoleWithWebIdentity.html
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING

from skylift.cloud.domain.error import ServiceError
from skylift.cloud.domain.identity import Caller, IssuerKeys, OidcProvider, Role, assumed_arn
from skylift.cloud.services.api.authorize import context_of
from skylift.cloud.services.api.iam_rules import checked_number, checked_tags, invalid_value, request_tags
from skylift.cloud.services.api.operation import Check, Handler, Operation, Params, unprepared
from skylift.cloud.services.api.trust import trust_in_provider
from skylift.cloud.services.iam.identity import open_session
from skylift.cloud.services.iam.oidc_provider import provider_arn
from skylift.cloud.services.iam.web_key import parse_key_set
from skylift.cloud.services.sts import session as sessions
from skylift.cloud.services.sts.id_token import IdToken, invalid_token, no_key, not_valid, parse_id_token
from skylift.cloud.store.database import Tx

if TYPE_CHECKING:
    from aws_shapes import sts

ACTION = "sts:AssumeRoleWithWebIdentity"
LONGEST_TOKEN = 20_000

IN_TRUST = ("amr", "email")
"""Claims that a trust policy may ask for, by any issuer, besides `aud`, `oaud` and `sub`."""
IN_SESSION = ("amr", "aud", "sub")
"""Those that the policies of the session may ask for as well."""
OF_ISSUER = {
    "token.actions.githubusercontent.com": (
        "actor",
        "actor_id",
        "enterprise_id",
        "environment",
        "job_workflow_ref",
        "ref",
        "repository",
        "repository_id",
        "workflow",
    )
}
"""Claims of one issuer that a trust policy may ask for, too.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_iam-condition-keys.html#condition-keys-wif
"""


def verified(tx: Tx, caller: Caller, params: sts.AssumeRoleWithWebIdentityRequest) -> Handler:
    """What is to be done for the bearer of this token, once it is known to be good."""
    token = params["WebIdentityToken"]
    if not 4 <= len(token) <= LONGEST_TOKEN:
        # The token itself is a secret, and is not repeated.
        raise invalid_value("*****", "webIdentityToken", f"have length between 4 and {LONGEST_TOKEN}")
    found = sessions.ROLE_ARN.fullmatch(params["RoleArn"])
    if found is None:
        raise ServiceError("ValidationError", "Request ARN is invalid", status=400)
    identity = parse_id_token(token)
    keys = _keys(tx, caller, identity, account=found[1])
    identity.check_signature(parse_key_set(keys.document))
    if not identity.unreadable.isdisjoint(_asked_for(identity)):
        # Left out, such a claim would fulfil each negated condition.
        raise not_valid()
    return partial(assume, identity=identity, verified_by=keys)


def _keys(tx: Tx, caller: Caller, identity: IdToken, *, account: str) -> IssuerKeys:
    """The keys of the token's issuer as they stand now. Raises unless the account has a provider for it, and the token
    is for that provider and of this time."""
    provider = None
    if account == caller.account:
        provider = tx.get(OidcProvider, arn=provider_arn(account, identity.provider))
    if provider is None:
        raise invalid_token(f"No OpenIDConnect provider found in your account for {identity.issuer}")
    if identity.audience not in provider.client_ids:
        raise invalid_token("Incorrect token audience")
    identity.check_time(tx.now)
    keys = tx.get(IssuerKeys, url=provider.url)
    if keys is None:
        raise no_key(
            f"this cloud asks no issuer. Give it the keys: skylift cloud issuer https://{provider.url} JWKS-FILE"
        )
    return keys


def assume(
    tx: Tx, caller: Caller, params: sts.AssumeRoleWithWebIdentityRequest, *, identity: IdToken, verified_by: IssuerKeys
) -> sts.AssumeRoleWithWebIdentityResponse:
    """Whoever may not assume a role does not learn whether it exists."""
    keys = _keys(tx, caller, identity, account=caller.account)
    if keys != verified_by:
        # Others were given since the token was verified.
        identity.check_signature(parse_key_set(keys.document))
    name = sessions.checked_name(params["RoleSessionName"], "roleSessionName")
    seconds = checked_number(params, "DurationSeconds", 900, 43200, 3600)
    # Tags come in the token, and count as if they stood in the request.
    asked = {**params, "Tags": [{"Key": key, "Value": value} for key, value in identity.tags.items()]}
    tags = checked_tags(asked, "InvalidParameterValue")
    transitive = sessions.checked_transitive(identity.transitive, tags)
    source = identity.source_identity
    if source is not None:
        sessions.checked_name(source, "sourceIdentity")
    role = _trusting_role(tx, caller, asked, identity)
    sessions.check_role_length(role, seconds)
    policies = sessions.session_policies(tx, asked)
    provider = provider_arn(caller.account, identity.provider)
    session = open_session(
        tx,
        role,
        name,
        timedelta(seconds=seconds),
        policies=policies,
        tags=tags,
        transitive=transitive,
        source_identity=source,
        federation={"aws:FederatedProvider": (provider,), **_claims(identity, IN_SESSION)},
    )
    return {
        "Credentials": sessions.credentials(session),
        "SubjectFromWebIdentityToken": identity.subject,
        "AssumedRoleUser": {"AssumedRoleId": f"{role.id}:{name}", "Arn": assumed_arn(caller.account, role.name, name)},
        # The API reference says the issuer; AWS answers the provider's ARN.
        "Provider": provider,
        "Audience": identity.audience,
        **({"SourceIdentity": source} if source is not None else {}),
        **({"PackedPolicySize": sessions.packed_size(asked)} if policies or tags else {}),
    }


def _trusting_role(tx: Tx, caller: Caller, params: Params, identity: IdToken) -> Role:
    found = sessions.ROLE_ARN.fullmatch(params["RoleArn"])
    role = tx.get(Role, name=found[2]) if found else None
    if role is None or role.arn != params["RoleArn"]:
        raise _not_authorized(ACTION)
    provider = provider_arn(caller.account, identity.provider)
    context: dict[str, str | tuple[str, ...]] = {
        # No signature is needed. Whoever signs all the same lends the token neither tags nor claims.
        **context_of(tx, caller.unsigned(), Check(ACTION, role.arn, request_tags(params))),
        **_claims(identity, (*_asked_for(identity), "aud", "oaud", "sub")),
        "aws:FederatedProvider": provider,
        "sts:RoleSessionName": params["RoleSessionName"],
        **({"sts:TransitiveTagKeys": identity.transitive} if identity.transitive else {}),
        **({"sts:SourceIdentity": identity.source_identity} if identity.source_identity is not None else {}),
    }
    for action in (
        ACTION,
        *([sessions.SOURCE_ACTION] if identity.source_identity else []),
        *([sessions.TAG_ACTION] if identity.tags else []),
    ):
        if not trust_in_provider(role, provider, action, context):
            raise _not_authorized(action)
    return role


def _asked_for(identity: IdToken) -> tuple[str, ...]:
    """The claims of this token that a trust policy may ask for by their own names."""
    return (*IN_TRUST, *OF_ISSUER.get(identity.provider, ()))


def _claims(identity: IdToken, names: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """The condition keys of an issuer's claims: `server.example.com:sub`. What AWS makes of `aud` is not what a claim
    of that name says."""
    known = {
        **identity.extra,
        "aud": (identity.audience,),
        "oaud": identity.audiences if identity.audiences != (identity.audience,) else (),
        "sub": (identity.subject,),
    }
    return {f"{identity.provider}:{name}": known[name] for name in names if known.get(name)}


def _not_authorized(action: str) -> ServiceError:
    return ServiceError("AccessDenied", f"Not authorized to perform {action}", status=403)


OPERATIONS = (
    Operation(
        "sts",
        "AssumeRoleWithWebIdentity",
        unprepared,
        frozenset("RoleArn RoleSessionName WebIdentityToken PolicyArns Policy DurationSeconds".split()),
        sessions.no_checks,
        writes=True,
        prepare=verified,
        unsigned=True,
    ),
)
