"""JSON Web Key Sets (RFC 7517): the public keys of an issuer, parsed completely where they are given.

AWS takes keys of RSA and of elliptic curves, 100 of each at most, for the algorithms in `ALGORITHMS`.
https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles_providers_create_oidc.html
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NoReturn

from skylift.cloud.services.api.key_material import RSA_VERIFYING_BITS, VerifyingKey, elliptic_key, rsa_key
from skylift.cloud.services.api.strict_json import NotJson, base64url, json_object

ALGORITHMS = {"RS256": "RSA", "RS384": "RSA", "RS512": "RSA", "ES256": "P-256", "ES384": "P-384", "ES512": "P-521"}
"""The algorithms that tokens may be signed with, and the kind of key that each takes."""

LARGEST_SET = 262_144
MOST_KEYS = 100
SHOWN_REASONS = 3
PRIVATE = ("k", "d", "p", "q", "dp", "dq", "qi", "oth")


class BadKeySet(Exception):
    """What is wrong with a key set, as a sentence."""


@dataclass(frozen=True)
class WebKey:
    """`kind` is RSA or a curve. `id` and `algorithm` are empty where the issuer does not say."""

    id: str
    kind: str
    algorithm: str
    public: VerifyingKey

    def signs(self, key_id: str, algorithm: str) -> bool:
        """Whether a token of this header may be signed with it. A token without a key's id means any key."""
        return (
            self.kind == ALGORITHMS[algorithm]
            and self.algorithm in ("", algorithm)
            and (not key_id or self.id == key_id)
        )


@lru_cache(maxsize=16)
def parse_key_set(text: str) -> tuple[WebKey, ...]:
    """The keys that tokens may be signed with; raises BadKeySet.

    Keys of other kinds or lengths, and those for encryption, may be among them and are left out, as RFC 7517 has it.
    """
    if len(text) > LARGEST_SET:
        _bad(f"It is larger than {LARGEST_SET} bytes.")
    try:
        content = json_object(text)
    except NotJson as error:
        raise BadKeySet(f"It is not a JSON object: {error}.") from error
    listed = content.get("keys")
    if not isinstance(listed, list):
        _bad('It has no list "keys": a JSON Web Key Set is {"keys": [...]}.')
    read = [_key(item, f"key {number}") for number, item in enumerate(listed, start=1)]
    keys = [key for key in read if isinstance(key, WebKey)]
    if not keys:
        why = "; ".join([reason for reason in read if isinstance(reason, str)][:SHOWN_REASONS])
        _bad(
            "It has no public key of RSA or of the curves P-256, P-384 and P-521 to verify signatures with"
            f"{': ' if why else ''}{why}."
        )
    for family, count in Counter("RSA" if key.kind == "RSA" else "elliptic curves" for key in keys).items():
        if count > MOST_KEYS:
            _bad(f"It has {count} keys of {family}; {MOST_KEYS} is the most.")
    for (_, kind), count in Counter((key.id, key.kind) for key in keys if key.id).items():
        if count > 1:
            _bad(f'Two of its keys of {kind} have the same "kid".')
    return tuple(keys)


def _key(item: Any, place: str) -> WebKey | str:
    """The key, or why it is left out. A member that is null is none, as in many libraries that publish keys."""
    if not isinstance(item, dict):
        _bad(f"{place.capitalize()} is not an object.")
    given = {name: value for name, value in item.items() if value is not None}
    fields = {name: given[name] for name in ("kty", "kid", "alg", "use", "crv", "n", "e", "x", "y") if name in given}
    for name, value in fields.items():
        if not isinstance(value, str):
            _bad(f'{place.capitalize()} has a "{name}" that is not a string.')
    if "kty" not in fields:
        _bad(f'{place.capitalize()} has no "kty".')
    if any(name in given for name in PRIVATE):
        _bad(f"{place.capitalize()} has its private part. Give the public keys only, as the issuer publishes them.")
    if fields["kty"] not in ("RSA", "EC") or fields.get("use", "sig") != "sig":
        return f"{place} is of another kind or for another use"
    kind = "RSA" if fields["kty"] == "RSA" else fields.get("crv", "")
    algorithm = fields.get("alg", "")
    if kind not in ALGORITHMS.values() or (algorithm and ALGORITHMS.get(algorithm) != kind):
        return f"{place} is of another curve or for another algorithm"
    try:
        if kind == "RSA" and (bits := _number(fields, "n").bit_length()) not in RSA_VERIFYING_BITS:
            return f"{place} has {bits} bits, not {RSA_VERIFYING_BITS[0]} to {RSA_VERIFYING_BITS[-1]}"
        return WebKey(fields.get("kid", ""), kind, algorithm, _public(kind, fields))
    except KeyError as error:
        raise BadKeySet(f'{place.capitalize()} is no public key of {kind}: it has no "{error.args[0]}".') from error
    except ValueError as error:
        raise BadKeySet(f"{place.capitalize()} is no public key of {kind}: {error}.") from error


def _public(kind: str, fields: dict[str, str]) -> VerifyingKey:
    """Raises KeyError for a member that is lacking, and ValueError for what is no key."""
    if kind == "RSA":
        return rsa_key(_number(fields, "n"), _number(fields, "e"))
    return elliptic_key(kind, _number(fields, "x"), _number(fields, "y"))


def _number(fields: dict[str, str], name: str) -> int:
    return int.from_bytes(base64url(fields[name]), "big")


def _bad(sentence: str) -> NoReturn:
    raise BadKeySet(sentence)
