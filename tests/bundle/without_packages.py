"""A process in which packages cannot be imported: it reads commands as JSON and says how each of them ended."""

from __future__ import annotations

import contextlib
import importlib.abc
import io
import json
import sys
from collections.abc import Sequence
from typing import Any


class _Absent(importlib.abc.MetaPathFinder):
    def __init__(self, packages: Sequence[str]) -> None:
        self.packages = frozenset(packages)

    def find_spec(self, fullname: str, path: Any, target: Any = None) -> None:
        if fullname.partition(".")[0] in self.packages:
            raise ModuleNotFoundError(f"No module named {fullname!r}", name=fullname)


def block(packages: Sequence[str]) -> None:
    """Make packages unimportable, as where they are not installed."""
    sys.meta_path.insert(0, _Absent(packages))


def run(arguments: list[str]) -> dict[str, Any]:
    """Run a command and return its exit code and what it wrote."""
    from polymodal.cli.main import app

    out, err, code = io.StringIO(), io.StringIO(), 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            app(arguments)
        except SystemExit as end:
            code = int(end.code or 0)
    return {"code": code, "out": out.getvalue(), "err": err.getvalue()}


def main() -> None:
    """Run the commands of standard input."""
    asked = json.load(sys.stdin)
    block(asked["blocked"])
    found = {name: run(arguments) for name, arguments in asked["commands"].items()}
    imported = sorted({name.partition(".")[0] for name in sys.modules} & set(asked["blocked"]))
    json.dump(found | {"imported": {"of extras": imported}}, sys.stdout)


if __name__ == "__main__":
    main()
