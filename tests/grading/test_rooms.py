"""The shape of the package: rooms by seam, few floors, no circle."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "bench"))


def test_at_most_six_floors_and_no_circle() -> None:
    from structure import shape

    grading = shape(ROOT, "dart_tasks/grading")
    assert grading.floors <= 6
    assert grading.circles == 0


def test_an_import_leaves_what_is_slow_to_the_first_response() -> None:
    slow = {"dart_tasks.grading.extract.cues", "numpy", "sympy", "torch"}
    script = f"import sys, dart_tasks.grading\nprint(*({slow} & sys.modules.keys()))"
    assert subprocess.check_output([sys.executable, "-c", script], text=True, cwd=ROOT).split() == []
