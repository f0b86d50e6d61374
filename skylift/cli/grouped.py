"""Help of a command that has many options: under headings, by what they are about."""

from __future__ import annotations

from typing import Any, ClassVar

from typer.core import TyperCommand


class GroupedCommand(TyperCommand):
    """`groups` has the options of each heading, by their parameter's names. What is in none comes last."""

    groups: ClassVar[dict[str, tuple[str, ...]]] = {}

    def format_options(self, ctx: Any, formatter: Any) -> None:
        left = {each.name: record for each in self.get_params(ctx) if (record := each.get_help_record(ctx)) is not None}
        for heading, names in self.groups.items():
            if shown := [left.pop(name) for name in names if name in left]:
                with formatter.section(heading):
                    formatter.write_dl(shown)
        if left:
            with formatter.section("Other"):
                formatter.write_dl(list(left.values()))
