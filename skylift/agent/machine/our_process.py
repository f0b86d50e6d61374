"""Another process that runs a module of this package. Its command has what it must know, as one JSON object."""

from __future__ import annotations

import json
from typing import List, NamedTuple, Type, TypeVar, get_origin, get_type_hints

Options = TypeVar("Options")


def argv_of(interpreter: str, archive: str, module: str, *words: str) -> List[str]:
    """The command that calls the `main` of a module, which is given by its full name."""
    start = "import sys; sys.path.insert(0, %r); from %s import main; main()" % (archive, module)
    # Isolated (-I): this may be root, and would import the job's files in place of Python's. Unbuffered (-u), because
    # PYTHONUNBUFFERED is then ignored.
    return [interpreter, "-I", "-u", "-c", start, *words]


def write_options(options: NamedTuple) -> str:
    return json.dumps(options._asdict())


def read_options(kind: Type[Options], text: str) -> Options:
    """Raises ValueError for text that `write_options` has not written for this kind."""
    found, kinds = json.loads(text), get_type_hints(kind)
    if not isinstance(found, dict) or found.keys() != kinds.keys():
        raise ValueError("%s has the fields %s, not %s" % (kind.__name__, ", ".join(kinds), text))
    wrong = [name for name, hint in kinds.items() if type(found[name]) is not (get_origin(hint) or hint)]
    if wrong:
        raise ValueError("%s has other types of %s, not %s" % (kind.__name__, ", ".join(wrong), text))
    return kind(**found)
