"""``python -m train.gpu_check``: on the CPU, at small sizes, with the packages of a lent machine and no others."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib.metadata import distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from train.gpu_check import main

LENT = ("torch", "transformers", "accelerate")


def needed(names: tuple[str, ...]) -> set[str]:
    """These distributions and all that they require here."""
    found: set[str] = set()
    waiting = list(names)
    while waiting:
        name = waiting.pop().lower()
        if name in found:
            continue
        found.add(name)
        for text in distribution(name).requires or []:
            requirement = Requirement(text)
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                waiting.append(requirement.name)
    return found


@pytest.fixture
def lent_packages(tmp_path: Path) -> Path:
    """A folder of links to the packages that the lent machine has."""
    folder = tmp_path / "site"
    folder.mkdir()
    for name in needed(LENT):
        installed = distribution(name)
        for top in {file.parts[0] for file in installed.files or []} - {"..", "__pycache__"}:
            (folder / top).exists() or (folder / top).symlink_to(Path(str(installed.locate_file(top))))
    return folder


def test_without_a_gpu_nothing_is_checked(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert "no GPU here, nothing was checked" in capsys.readouterr().err


@pytest.mark.slow
def test_everything_that_a_cpu_can_run_passes_with_the_packages_of_a_lent_machine(
    repo: Path, lent_packages: Path
) -> None:
    paths = {"PYTHONPATH": f"{lent_packages}:{repo}", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(
        [sys.executable, "-S", "-m", "train.gpu_check", "--small"],
        cwd=repo,
        env={**os.environ, **paths},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    rows = re.findall(r"^\| ([^|]+) \| (\w+) \|", done.stdout, re.MULTILINE)[1:]
    ran = {outcome: [name for name, found in rows if found == outcome] for outcome in ("passed", "measured", "skipped")}
    assert len(ran["passed"]) == 7 and len(ran["measured"]) == 2, done.stdout  # kernels, loss, resume; two ways
    assert "resume with packed_sdpa, sharded: bitwise" in ran["passed"]
    assert "LoRA: merged weights are the adapted model" in ran["skipped"]
    assert "0 failed" in done.stdout
