"""What users, groups, roles and instance profiles have alike: names, paths, ARNs of these, and how many may be."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from skylift.cloud.domain.identity import Caller, Group, InstanceProfile, Role, User
from skylift.cloud.services.api import iam_rules
from skylift.cloud.services.api.operation import Check, Checks, Params
from skylift.cloud.services.iam.operation import checks_to_make
from skylift.cloud.store.database import Tx
from skylift.cloud.store.identity import name_taken, under_path

Noun = TypeVar("Noun", User, Group, Role, InstanceProfile)


@dataclass(frozen=True)
class Named(Generic[Noun]):
    """One of these nouns: `kind` in ARNs, `taken` where a name is taken, and the most characters of a name."""

    noun: type[Noun]
    kind: str
    taken: str
    longest: int
    most: int

    @property
    def parameter(self) -> str:
        """What names one in a request."""
        return f"{self.noun.__name__}Name"

    def arn_of(self, caller: Caller, name: str, path: str = "/") -> str:
        return f"arn:aws:iam::{caller.account}:{self.kind}{path}{name}"

    def existing(self, tx: Tx, name: str) -> Noun:
        found = tx.get(self.noun, name=name)
        if found is None:
            raise iam_rules.no_such(f"{self.kind.replace('-', ' ')} with name {name}")
        return found

    def name_and_path(self, params: Params) -> tuple[str, str]:
        return iam_rules.checked_name(params, self.parameter, self.longest), iam_rules.checked_path(params)

    def make_room(self, tx: Tx, name: str) -> None:
        """Raises where the name is taken, or where there may be no more."""
        self._require_free(tx, name)
        if tx.count(self.noun) >= self.most:
            raise iam_rules.over_quota(f"{self.noun.__name__}sPerAccount", self.most)

    def page(self, tx: Tx, params: Params) -> tuple[list[Noun], iam_rules.More]:
        """Those under the path that is asked for, by name."""
        prefix = iam_rules.checked_prefix(params)
        return iam_rules.page(
            params, lambda after, limit: under_path(tx, self.noun, prefix, after, limit), lambda found: found.name
        )

    def renamed(self, tx: Tx, caller: Caller, params: Params, named: Noun) -> Noun:
        """With the name and the path that an update asks for, which make a new ARN."""
        name, path, asked = named.name, named.path, f"New{self.parameter}"
        if asked in params:
            name = iam_rules.checked_name(params, asked, self.longest)
        if "NewPath" in params:
            path = iam_rules.checked_path(params, "NewPath")
        if name.lower() != named.name.lower():
            self._require_free(tx, name)
        return replace(named, name=name, path=path, arn=self.arn_of(caller, name, path))

    def _require_free(self, tx: Tx, name: str) -> None:
        if name_taken(tx, self.noun, name):
            raise iam_rules.exists(f"{self.taken} {name}")

    def resource(self, tx: Tx, caller: Caller, name: str) -> str:
        """The ARN to authorise against: its own, or the one it would have if it were there."""
        found = tx.get(self.noun, name=name)
        return found.arn if found else self.arn_of(caller, name)

    def check(self, action: str) -> Checks:
        """The caller must be allowed `action` on the one that the request names."""

        def checks(tx: Tx, caller: Caller, params: Params) -> Iterable[Check]:
            name = params[self.parameter]
            found = tx.get(self.noun, name=name)
            arn = found.arn if found else self.arn_of(caller, name)
            return [Check(f"iam:{action}", arn, iam_rules.entity_context(params, found))]

        return checks

    def check_create(self, _tx: Tx, caller: Caller, params: Params) -> Iterable[Check]:
        arn = self.arn_of(caller, params[self.parameter], params.get("Path", "/"))
        return checks_to_make(self.noun.__name__, arn, params)

    def check_list(self, _tx: Tx, caller: Caller, params: Params) -> Iterable[Check]:
        return [Check(f"iam:List{self.noun.__name__}s", self.arn_of(caller, "", params.get("PathPrefix", "/")))]

    def check_update(self, tx: Tx, caller: Caller, params: Params) -> Iterable[Check]:
        """AWS asks for permission on it as it is and as it is to be."""
        action, name = f"Update{self.noun.__name__}", params[self.parameter]
        yield from self.check(action)(tx, caller, params)
        found = tx.get(self.noun, name=name)
        path = params.get("NewPath", found.path if found else "/")
        yield Check(f"iam:{action}", self.arn_of(caller, params.get(f"New{self.parameter}", name), path))
