"""The YAMLs are held to the record: one place for each fact."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest

from dart_tasks.grading import GRADER_VERSION
from dart_tasks.harness.task_files import VERSION, task_files, with_tables
from dart_tasks.problems import BENCHMARKS, load
from dart_tasks.problems.benchmarks import SUITE
from dart_tasks.prompts import TEMPLATES

VARIANTS = {"": "dart_math", "_chat": "dart_math", "_fewshot": "dart_math", "mini": "dart_math_mini"}


@pytest.fixture(scope="session")
def configs(repo: Path) -> dict[str, dict[str, Any]]:
    """Every YAML of ours, by task or group name, with its include resolved and functions left as names."""
    from lm_eval.tasks._yaml_loader import load_yaml

    loaded = [load_yaml(path, resolve_func=False) for path in sorted((repo / "task_configs").glob("**/*.yaml"))]
    by_name = {config.get("task") if "class" in config else config["group"]: config for config in loaded}
    assert len(by_name) == len(loaded)
    return by_name


def test_the_files_are_those_that_the_records_give(repo: Path) -> None:
    """Else run ``python -m dart_tasks.harness.task_files``."""
    folder = repo / "task_configs"
    found = {path.relative_to(folder).as_posix(): path.read_text() for path in folder.glob("**/*.yaml")}
    demo = found.pop("demo/dart_math_demo.yaml")
    assert found == task_files()
    assert f"  version: {VERSION}\n" in demo
    page = (repo / "docs" / "evaluation.md").read_text()
    assert page == with_tables(page)


@pytest.mark.parametrize(
    ("name", "variant"), [(name, end) for name in BENCHMARKS for end in VARIANTS if end != "mini" or name in SUITE]
)
def test_each_benchmark_has_its_variants(name: str, variant: str, configs: dict[str, dict[str, Any]]) -> None:
    record = BENCHMARKS[name]
    config = configs[f"{VARIANTS[variant]}_{name}{variant if variant != 'mini' else ''}"]
    assert config["metadata"]["benchmark"] == name
    assert config["metadata"]["version"] == VERSION
    assert config["task_alias"].startswith(record.title)
    assert config.get("num_fewshot") == (record.shots if variant == "_fewshot" else None)  # 0 would be fixed to lm-eval
    expected = {"": None, "_chat": "chat", "_fewshot": "plain", "mini": None}[variant]
    assert config["metadata"].get("template") == expected
    assert config["metadata"].get("data_dir") == ("mini" if variant == "mini" else None)


@pytest.mark.parametrize("variant", ["", "_chat", "_fewshot"])
def test_suite_is_the_six_in_two_domains(variant: str, configs: dict[str, dict[str, Any]]) -> None:
    suite = configs[f"dart_math_suite{variant}"]
    members = {group: configs[group]["task"] for group in suite["task"]}
    by_domain = {
        f"dart_math_in_domain{variant}": [r.task + variant for r in SUITE.values() if r.in_domain],
        f"dart_math_out_of_domain{variant}": [r.task + variant for r in SUITE.values() if not r.in_domain],
    }
    assert members == by_domain
    for group in (suite, *(configs[name] for name in members)):
        metrics = {entry.pop("metric"): entry for entry in group["aggregate_metric_list"]}
        assert {"acc", "maj@8", "pass@8"} < set(metrics)
        assert all(entry == {"aggregation": "mean", "weight_by_size": False} for entry in metrics.values())


def test_the_version_goes_up_with_prompts_and_grader() -> None:
    """Scores of two versions are not to be compared: whoever changes what is hashed raises VERSION, there and here."""
    templates = [(template.name, template.text, template.stop) for template in TEMPLATES.values()]
    exemplars = {**{name: record.exemplars for name, record in SUITE.items()}, "generic": SUITE["gsm8k"].exemplars}
    hashed = repr((templates, sorted(exemplars.items()), GRADER_VERSION))
    assert (VERSION, hashlib.sha256(hashed.encode()).hexdigest()[:12]) == (4, "528b44220dff")


def test_exemplars_are_no_test_items(shared_data: Path) -> None:
    queries = {problem.query for name in SUITE for problem in load(name, data_dir=shared_data / "benchmarks")}
    assert not queries & {exemplar.query for record in BENCHMARKS.values() for exemplar in record.exemplars}


@pytest.mark.parametrize("name", BENCHMARKS)
def test_exemplar_answers_are_stated_where_the_grader_finds_them(name: str) -> None:
    from dart_tasks.grading import grade

    for exemplar in BENCHMARKS[name].exemplars:
        verdict = grade(exemplar.response, exemplar.answer, name, exemplar.query)
        assert verdict.correct and verdict.explicit and verdict.source == "boxed", exemplar
