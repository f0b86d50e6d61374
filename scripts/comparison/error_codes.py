"""Finds the codes of errors that the cloud's source can answer with."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path

from comparison.recordings import CODE

_CODES = {"code", "not_found", "malformed"}
"""What a parameter or field is called that holds an error's code."""


@cache
def codes_of_errors(folder: Path) -> frozenset[str]:
    """What errors are made with: the codes in arguments of ServiceError, and of functions and rows that take a code.

    A name among these arguments counts with all that its module assigns to it, or answers by it.
    """
    parsed = (ast.parse(path.read_text()) for path in sorted(folder.rglob("*.py")))
    modules = [list(ast.walk(each)) for each in parsed]
    makers = {"ServiceError": {0: "code"}}
    for node in (node for module in modules for node in module):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            its = {at: name for at, name in _parameters(node) if name in _CODES}
            if its:
                makers.setdefault(node.name, {}).update(its)
    return frozenset(code for module in modules for code in _codes_of(module, makers))


def _parameters(node: ast.FunctionDef | ast.ClassDef) -> list[tuple[int, str]]:
    """A function's parameters, and a row's fields, by their places in a call."""
    if isinstance(node, ast.FunctionDef):
        names = [each.arg for each in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)]
        return list(enumerate(name for name in names if name != "self"))
    fields = (each.target for each in node.body if isinstance(each, ast.AnnAssign))
    return list(enumerate(each.id for each in fields if isinstance(each, ast.Name)))


def _codes_of(module: list[ast.AST], makers: Mapping[str, Mapping[int, str]]) -> Iterator[str]:
    known: dict[str, list[ast.AST]] = defaultdict(list)
    for node in module:
        if isinstance(node, ast.Assign):
            for name in (each for target in node.targets for each in ast.walk(target)):
                if isinstance(name, ast.Name):
                    known[name.id].append(node.value)
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value is not None:
            known[node.target.id].append(node.value)
        elif isinstance(node, ast.FunctionDef):
            known[node.name].append(node)
    for node in module:
        if isinstance(node, ast.Call):
            maker = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            wanted = makers.get(maker, {})
            given = [each for at, each in enumerate(node.args) if at in wanted]
            given += [each.value for each in node.keywords if each.arg in wanted.values()]
            yield from _texts(given, known)


def _texts(nodes: Iterable[ast.AST], known: Mapping[str, list[ast.AST]]) -> Iterator[str]:
    """All codes that these expressions may be."""
    waiting, seen = list(nodes), set()
    while waiting:
        for node in ast.walk(waiting.pop()):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and CODE.fullmatch(node.value):
                yield node.value
            name = node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""
            if name in known and name not in seen:
                seen.add(name)
                waiting += [each for found in known[name] for each in _answers(found)]


def _answers(node: ast.AST) -> Iterator[ast.AST]:
    """Of a function what it returns; all else as it is."""
    if isinstance(node, ast.FunctionDef):
        yield from (each for each in ast.walk(node) if isinstance(each, ast.Return))
    else:
        yield node
