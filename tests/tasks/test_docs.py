"""docs/evaluation.md says what the code does."""

from __future__ import annotations

from pathlib import Path

import pytest

from dart_tasks.problems import BENCHMARKS, DATA_DIR_VARIABLE
from dart_tasks.problems.record import HubSource
from dart_tasks.report.cli import command


@pytest.fixture(scope="session")
def text(repo: Path) -> str:
    """The document."""
    return (repo / "docs" / "evaluation.md").read_text()


@pytest.mark.parametrize("name", BENCHMARKS)
def test_the_table_of_tasks_is_the_record(name: str, text: str) -> None:
    record = BENCHMARKS[name]
    split = record.splits["test"]
    row = next(line for line in text.splitlines() if f"| `{record.task}` |" in line)
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells[0] == record.title
    assert cells[2].startswith(f"{split.rows[0]:,}")
    assert cells[3] == str(record.shots)
    assert cells[4] == ", ".join(facet.replace("_", " ") for facet in record.facets)
    assert not isinstance(split.source, HubSource) or cells[5] == split.source.repo
    assert f"`{split.file_name}`" in text


def test_every_option_of_dart_report_is_documented(text: str) -> None:
    shown = [parameter for parameter in command.params if not getattr(parameter, "hidden", False)]
    options = [option for parameter in shown for option in parameter.opts if option.startswith("--")]
    assert [option for option in options if option not in text] == []


def test_every_setting_is_documented(text: str) -> None:
    for key in ("template", "k", "temperature", "top_p", "data_dir", "verify", "problems", "exemplars", "protocol"):
        assert f"`{key}`" in text
    assert DATA_DIR_VARIABLE in text and "DART_MATH_NO_PLUGIN" in text
