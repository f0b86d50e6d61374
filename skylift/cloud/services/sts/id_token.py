"""ID tokens of OpenID Connect: a signed JSON object, parsed completely and verified with the issuer's keys.

A token comes from a stranger. Nothing of it is followed: no address in it is asked, no key in it is used, and the
algorithms are those of a table (RFC 8725).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NoReturn

from skylift.cloud.domain.error import ServiceError
from skylift.cloud.services.api.key_material import verifies
from skylift.cloud.services.api.strict_json import NotJson, base64url, json_object
from skylift.cloud.services.iam.web_key import ALGORITHMS, WebKey

SCHEME = "https://"
LEEWAY = timedelta(minutes=5)
"""IAM takes a token that expired less than five minutes ago, for the sake of clocks.

https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles_providers_oidc.html
"""
LONGEST = 255
MOST_VALUES = 100

_TAGS = "https://aws.amazon.com/tags"
_PRINCIPAL_TAGS = f"{_TAGS}/principal_tags/"
_TRANSITIVE_KEYS = f"{_TAGS}/transitive_tag_keys"
_SOURCE_IDENTITY = "https://aws.amazon.com/source_identity"


@dataclass(frozen=True)
class IdToken:
    """What a token claims. `audience` is whom it was made for: its `azp` where it has one, whatever its `aud` says.

    `issuer` is its URL. `extra` are all claims that are text, numbers, booleans or lists of such, as condition keys
    have them; `unreadable` are the names of those that are something else. `tags` and `transitive` are of the session,
    and so is `source_identity`.
    """

    issuer: str
    audience: str
    audiences: tuple[str, ...]
    subject: str
    expires: float
    issued: float
    not_before: float | None
    extra: dict[str, tuple[str, ...]]
    unreadable: frozenset[str]
    tags: dict[str, str]
    transitive: tuple[str, ...]
    source_identity: str | None
    key_id: str
    algorithm: str
    signature: bytes
    content: bytes

    @property
    def provider(self) -> str:
        """The issuer's URL as providers have it, without its scheme. One of another scheme is nobody's."""
        return self.issuer.removeprefix(SCHEME) if self.issuer.startswith(SCHEME) else ""

    def check_time(self, now: datetime) -> None:
        """Raises ExpiredTokenException, and InvalidIdentityToken for a token of the future."""
        seconds, leeway = now.timestamp(), LEEWAY.total_seconds()
        if seconds >= self.expires + leeway:
            raise ServiceError(
                "ExpiredTokenException",
                f"Token expired: current date/time {int(seconds)} must be before the expiration date/time "
                f"{int(self.expires)}",
                status=400,
            )
        begins = max(self.issued, self.issued if self.not_before is None else self.not_before)
        if seconds < begins - leeway:
            raise not_valid()

    def check_signature(self, keys: tuple[WebKey, ...]) -> None:
        """Raises InvalidIdentityToken unless one of these keys has signed it."""
        fitting = [key for key in keys if key.signs(self.key_id, self.algorithm)]
        if not fitting:
            raise no_key("the keys that it was given for this issuer have none of the token's kid and algorithm")
        if not any(verifies(key.public, self.algorithm, self.signature, self.content) for key in fitting):
            raise not_valid()


def parse_id_token(text: str) -> IdToken:
    """The token, not verified yet. Raises InvalidIdentityToken for what is none, or lacks a claim."""
    parts = text.split(".")
    if len(parts) != 3:
        _no_token()
    try:
        signature = base64url(parts[2])
        header, claims = (json_object(base64url(part).decode()) for part in parts[:2])
    except (NotJson, ValueError) as error:
        raise _no_jwt() from error
    algorithm, key_id = header.get("alg"), header.get("kid", "")
    # What is critical must be understood, and nothing is that AWS would understand (RFC 7515, 4.1.11).
    if not isinstance(algorithm, str) or algorithm not in ALGORITHMS or "crit" in header:
        _no_token()
    if not isinstance(key_id, str):
        _no_token()
    issuer, subject = _text(claims, "iss"), _text(claims, "sub")
    audience, audiences = _audience(claims)
    expires, issued = _time(claims, "exp"), _time(claims, "iat")
    tags, transitive = _session_tags(claims)
    values = {name: _values(value) for name, value in claims.items() if value is not None}
    return IdToken(
        issuer=issuer,
        audience=audience,
        audiences=audiences,
        subject=subject,
        expires=expires,
        issued=issued,
        not_before=_time(claims, "nbf") if "nbf" in claims else None,
        extra={name: listed for name, listed in values.items() if listed},
        unreadable=frozenset(name for name, listed in values.items() if listed is None),
        tags=tags,
        transitive=transitive,
        source_identity=_text(claims, _SOURCE_IDENTITY) if _SOURCE_IDENTITY in claims else None,
        key_id=key_id,
        algorithm=algorithm,
        signature=signature,
        content=f"{parts[0]}.{parts[1]}".encode(),
    )


def not_valid() -> ServiceError:
    return invalid_token(
        "The web identity token provided could not be validated. See the AssumeRoleWithWebIdentity documentation for "
        "requirements."
    )


def no_key(why: str) -> ServiceError:
    """AWS's sentence, with what this cloud lacks."""
    return invalid_token(
        "Couldn't retrieve verification key from your identity provider,  please reference AssumeRoleWithWebIdentity "
        f"documentation for requirements ({why})"
    )


def invalid_token(message: str) -> ServiceError:
    return ServiceError("InvalidIdentityToken", message, status=400)


def _audience(claims: dict[str, Any]) -> tuple[str, tuple[str, ...]]:
    """Whom a token is for, and all whom it names."""
    given = claims.get("aud")
    listed = given if isinstance(given, list) else [given]
    if not listed or listed == [None] or len(listed) > MOST_VALUES:
        raise _missing("aud")
    audiences = tuple(map(_checked, listed))
    if "azp" in claims:
        return _text(claims, "azp"), audiences
    if len(audiences) > 1:
        raise invalid_token("Token audience contains more than one audience while authorized party is not present")
    return audiences[0], audiences


def _text(claims: dict[str, Any], name: str) -> str:
    value = claims.get(name)
    if value is None or value == "":
        raise _missing(name)
    return _checked(value)


def _checked(value: Any) -> str:
    """Text that answers and policies can contain."""
    if not isinstance(value, str) or not 1 <= len(value) <= LONGEST or not value.isprintable():
        raise not_valid()
    return value


def _time(claims: dict[str, Any], name: str) -> float:
    """Seconds since 1970."""
    value = claims.get(name)
    if value is None:
        raise _missing(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e12:
        raise not_valid()
    return float(value)


def _session_tags(claims: dict[str, Any]) -> tuple[dict[str, str], tuple[str, ...]]:
    """The tags of the session, as one object or flat, a claim a tag.

    https://docs.aws.amazon.com/IAM/latest/UserGuide/id_session-tags.html
    """
    nested = claims.get(_TAGS, {})
    if not isinstance(nested, dict) or not isinstance(nested.get("principal_tags", {}), dict):
        raise not_valid()
    given = dict(nested.get("principal_tags", {}))
    given |= {name.removeprefix(_PRINCIPAL_TAGS): claims[name] for name in claims if name.startswith(_PRINCIPAL_TAGS)}
    keys = nested.get("transitive_tag_keys", claims.get(_TRANSITIVE_KEYS, []))
    keys = [keys] if isinstance(keys, str) else keys
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
        raise not_valid()
    return {key: _tag(value) for key, value in given.items()}, tuple(dict.fromkeys(keys))


def _tag(value: Any) -> str:
    """One value, perhaps in a list."""
    one = value[0] if isinstance(value, list) and len(value) == 1 else value
    if not isinstance(one, str):
        raise not_valid()
    return one


def _values(value: Any) -> tuple[str, ...] | None:
    """A claim as a condition key has it; None for what it cannot have."""
    listed = value if isinstance(value, list) else [value]
    if len(listed) > MOST_VALUES or not all(isinstance(one, str | int | float) for one in listed):
        return None
    return tuple(("true" if one else "false") if isinstance(one, bool) else str(one) for one in listed)


def _missing(claim: str) -> ServiceError:
    return invalid_token(f"Missing a required claim: {claim}")


def _no_jwt() -> ServiceError:
    return invalid_token(
        "The ID Token provided is not a valid JWT. (You may see this error if you sent an Access Token)"
    )


def _no_token() -> NoReturn:
    raise _no_jwt()
