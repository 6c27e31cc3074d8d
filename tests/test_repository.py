"""Promises about the repository as a whole: layering, light imports, one version, nothing that gives a machine away."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

import dart_tasks

HEAVY = ("torch", "vllm", "ray", "lm_eval", "transformers", "sympy", "datasets", "pyarrow", "matplotlib")


def _tracked(repo: Path, *patterns: str) -> list[Path]:
    if not (repo / ".git").exists():
        pytest.skip("not a git checkout")
    listed = subprocess.run(["git", "ls-files", "-z", *patterns], cwd=repo, capture_output=True, text=True, check=True)
    return [repo / name for name in listed.stdout.split("\0") if name and (repo / name).is_file()]


@pytest.mark.parametrize(
    ("package", "forbidden"),
    [("dart_tasks", {"synth", "train"}), ("synth", {"train"}), ("train", {"synth"})],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_packages_import_downward_only(repo: Path, package: str, forbidden: set[str]) -> None:
    for path in (repo / package).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names = [node.module]
            assert not {name.split(".")[0] for name in names} & forbidden, f"{path} imports {names}"


@pytest.mark.parametrize("module", ["dart_tasks.cli", "dart_tasks.grading", "dart_tasks.report.cli", "synth.cli"])
def test_commands_import_nothing_heavy(module: str) -> None:
    code = f"import sys, {module}; print([name for name in {HEAVY!r} if name in sys.modules])"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout.strip() == "[]"


def test_no_module_of_train_bears_a_dependency_s_name(repo: Path) -> None:
    """``accelerate launch train/sft.py`` puts ``train/`` first on ``sys.path``."""
    project = tomllib.loads((repo / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    requirements = project["dependencies"] + [r for extra in project["optional-dependencies"].values() for r in extra]
    names = {re.split(r"[\[<>=~! ;]", requirement)[0].replace("-", "_").lower() for requirement in requirements}
    stems = {path.stem for path in (repo / "train").iterdir() if path.suffix in {"", ".py"}}
    assert not stems & (names | set(sys.stdlib_module_names) | {"tokenizers", "numpy", "yaml"})


def test_one_version_everywhere(repo: Path) -> None:
    project = tomllib.loads((repo / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    citation = yaml.safe_load((repo / "CITATION.cff").read_text(encoding="utf-8"))
    changelog = (repo / "CHANGELOG.md").read_text(encoding="utf-8")
    assert project["version"] == dart_tasks.__version__ == citation["version"]
    assert f"## {project['version']}" in changelog


def test_model_output_is_never_executed(repo: Path) -> None:
    call = re.compile(r"(?<![\w.])(eval|exec|sympify|parse_expr|pickle\.loads?|parse_latex)\(")
    for path in _tracked(repo, "dart_tasks/*.py", "synth/*.py", "train/*.py"):
        assert not call.search(path.read_text(encoding="utf-8")), path


def test_no_path_of_a_machine_is_written_down(repo: Path) -> None:
    local = re.compile(r"(?<![\w.])/(work|root|home)/[a-z.]")
    for path in _tracked(repo, "*.py", "*.md", "*.yaml", "*.toml", "Makefile", ".ci/run"):
        if path.name != Path(__file__).name:
            assert not local.search(path.read_text(encoding="utf-8")), path
