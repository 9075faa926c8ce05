"""The examples run and reach what they promise."""

from __future__ import annotations

import runpy
from pathlib import Path

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"


def test_parts_are_put_together_by_hand(capsys):
    main = runpy.run_path(str(EXAMPLES / "compose_by_hand.py"))["main"]
    assert main() > 0.85
    assert "rows right" in capsys.readouterr().out
