"""The benchmarks: every fact in one record, equal problems from the hub and from files, clear errors."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from dart_tasks.embedded import MINI_DIR
from dart_tasks.files import DataError
from dart_tasks.problems import BENCHMARKS, Problem, load, load_problem_file, loading
from dart_tasks.problems.benchmarks import SUITE
from dart_tasks.problems.benchmarks.olympiadbench import olympiad_instruction
from dart_tasks.problems.record import FileSource, HubSource
from dart_tasks.problems.sources import pinned_file

MINI = {name: load(name, data_dir=MINI_DIR, verify=False) for name in SUITE}


def test_importing_the_records_is_light() -> None:
    heavy = ("datasets", "torch", "sympy", "lm_eval")
    code = f"import sys, dart_tasks.problems; print([name for name in {heavy} if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"


@pytest.mark.parametrize("name", BENCHMARKS)
def test_a_benchmark_s_file_opens_with_its_paper_and_a_row_that_its_parser_reads(
    name: str, repo: Path, tmp_path: Path
) -> None:
    record = BENCHMARKS[name]
    text = import_module(f"dart_tasks.problems.benchmarks.{name}").__doc__
    assert record.paper in text
    row = json.loads(text[text.index("{") : text.rindex("}") + 1])
    assert set(record.columns) <= set(row)
    (tmp_path / record.splits["test"].file_name).write_text(json.dumps([row]))
    (problem,) = load(name, data_dir=tmp_path, verify=False)
    query = next(row[name] for name in (*record.columns[:1], "problem", "Problem", "question") if name in row)
    assert problem.query.endswith(query) and problem.reference != ""
    assert set(record.facets) <= set(problem.metadata)
    assert record.paper.rsplit("/", 1)[-1] in (repo / "docs" / "citations.md").read_text()


@pytest.mark.parametrize(
    ("name", "n_items"),
    [
        ("math", 5000),
        ("gsm8k", 1319),
        ("college_math", 2818),
        ("deepmind_mathematics", 1000),
        ("olympiadbench", 675),
        ("theoremqa", 800),
    ],
)
def test_every_item_of_the_real_test_sets_loads(name: str, n_items: int, shared_data: Path) -> None:
    problems = load(name, data_dir=shared_data / "benchmarks")
    assert len(problems) == n_items == len({problem.id for problem in problems})
    assert all(problem.query and problem.reference != "" for problem in problems)
    facets = BENCHMARKS[name].facets
    assert all(problem.metadata[facet] is not None for problem in problems for facet in facets)


@pytest.mark.parametrize(
    ("name", "n_items", "answers"),
    [
        ("aime_2024", 30, r"\d{1,3}"),
        ("aime_2025", 30, r"\d{1,3}"),
        ("amc_2023", 40, r"-?\d+"),
        ("minerva_math", 272, r"(?s).+"),
        ("olymmath_en_easy", 100, r".+"),
        ("olymmath_en_hard", 100, r".+"),
    ],
)
def test_competitions_load_from_local_files(name: str, n_items: int, answers: str, shared_data: Path) -> None:
    problems = load(name, data_dir=shared_data / "competitions")
    assert len(problems) == n_items == len({problem.id for problem in problems})
    assert all(re.fullmatch(answers, problem.reference) for problem in problems)
    tolerances = {problem.tolerance for problem in problems}
    assert tolerances == ({0.01, None} if name == "minerva_math" else {None})


def test_a_column_that_a_competition_lacks_is_named(tmp_path: Path) -> None:
    (tmp_path / "aime24.jsonl").write_text('{"ID": "I-1", "Problem": "What is 1 + 1?"}\n')
    with pytest.raises(DataError, match=r"AIME 2024: a row without the column answer or .* \(it has ID, Problem\)"):
        load("aime_2024", data_dir=tmp_path, verify=False)


@pytest.mark.parametrize(("answer", "correct"), [("29.6", True), ("29.8", False), ("29.4 m/s", True)])
def test_minerva_s_quantities_may_differ_by_a_hundredth(answer: str, correct: bool) -> None:
    from dart_tasks.grading import equal

    record = BENCHMARKS["minerva_math"]
    query, reference, tolerance, _ = record.parse({"question": "How fast is it, in m/s?", "answer": "29.4"})
    assert equal(reference, answer, record.name, query, tolerance) is correct
    assert record.parse({"question": "?", "answer": "\\frac{v}{r}"})[2] is None


def test_theoremqa_pictures_are_flagged(shared_data: Path) -> None:
    problems = load("theoremqa", data_dir=shared_data / "benchmarks")
    assert sum(bool(problem.metadata["picture"]) for problem in problems) == 53


def test_gsm8k_train_loads_for_synthesis(shared_data: Path) -> None:
    assert len(load("gsm8k", split="train", data_dir=shared_data / "benchmarks")) == 7473


def test_environment_variable_names_the_folder(monkeypatch: pytest.MonkeyPatch, shared_data: Path) -> None:
    monkeypatch.setenv("DART_MATH_DATA", str(shared_data / "benchmarks"))
    assert len(load("gsm8k")) == 1319


@pytest.mark.parametrize("name", SUITE)
def test_mini_items_are_about_25_with_ids_of_their_own(name: str) -> None:
    assert 25 <= len(MINI[name]) <= 27
    assert len({problem.id for problem in MINI[name]}) == len(MINI[name])


def test_mini_items_cover_every_answer_type() -> None:
    def values(name: str, facet: str) -> set[Any]:
        return {problem.metadata[facet] for problem in MINI[name]}

    assert values("math", "level") == {1, 2, 3, 4, 5}
    assert len(values("math", "subject")) == 7
    assert len(values("college_math", "topic")) == 7
    assert values("olympiadbench", "answer_type") == {"Numerical", "Expression", "Tuple", "Interval"}
    assert values("olympiadbench", "multiple") == {True, False}
    assert len(values("olympiadbench", "unit")) > 2
    assert any(problem.tolerance == 0.1 for problem in MINI["olympiadbench"])
    assert {type(problem.reference) for problem in MINI["theoremqa"]} == {bool, int, float, list, str}
    assert values("theoremqa", "picture") == {True, False}
    references = {str(problem.reference) for problem in MINI["deepmind_mathematics"]}
    assert {"True", "False", "[2, 3, 5, 7, 11]", "-8 0 3 15"} <= references


def test_order_depends_on_content_only(tmp_path: Path) -> None:
    name = BENCHMARKS["gsm8k"].splits["test"].file_name
    lines = (MINI_DIR / name).read_text().splitlines()
    (tmp_path / name).write_text("\n".join(reversed(lines)))
    assert load("gsm8k", data_dir=tmp_path, verify=False) == MINI["gsm8k"]


def _as_on_the_hub(name: str, row: Mapping[str, Any]) -> dict[str, Any]:
    """TheoremQA's answers are text on the hub; the columns of the others are as in the files."""
    if name != "theoremqa":
        return dict(row)
    answer = row["Answer"] if isinstance(row["Answer"], str) else repr(row["Answer"])
    return {"Question": row["Question"], "Answer": answer, "Answer_type": row["Answer_type"], "Picture": row["Picture"]}


@pytest.mark.parametrize("name", ["math", "gsm8k", "olympiadbench", "theoremqa"])
def test_hub_and_local_data_give_equal_problems(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A dataset repository in the hub's layout, in a folder, read by ``datasets`` as the hub's would be."""
    import datasets

    record = BENCHMARKS[name]
    split = record.splits["test"]
    assert isinstance(split.source, HubSource)
    text = (MINI_DIR / split.file_name).read_text()
    rows = [json.loads(line) for line in text.splitlines()] if split.file_name.endswith("l") else json.loads(text)
    configs = split.source.configs
    for config in configs:
        chosen = rows
        if name == "math":
            chosen = [row for row in rows if row["type"].lower().replace(" & ", "_and_").replace(" ", "_") == config]
        folder = tmp_path / (config or "data")
        folder.mkdir()
        table = datasets.Dataset.from_list([_as_on_the_hub(name, row) for row in chosen])
        table.to_parquet(folder / f"{split.source.split}.parquet")
    listing = "".join(
        f"- config_name: {config or 'default'}\n  data_files:\n  - split: {split.source.split}\n"
        f"    path: {config or 'data'}/{split.source.split}.parquet\n"
        for config in configs
    )
    (tmp_path / "README.md").write_text(f"---\nconfigs:\n{listing}---\n")
    moved = replace(split, source=replace(split.source, repo=str(tmp_path)))
    monkeypatch.setattr(loading, "BENCHMARKS", {name: replace(record, splits={"test": moved})})
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("DART_MATH_DATA", raising=False)
    assert load(name, verify=False) == MINI[name]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "maths"}, "unknown benchmark 'maths': choose one of math, gsm8k"),
        ({"name": "gsm8k", "split": "dev"}, "GSM8K has no split 'dev': choose one of test, train"),
        ({"name": "theoremqa", "split": "train"}, "TheoremQA has no split 'train'"),
        ({"name": "gsm8k", "data_dir": "/nowhere"}, "no file /nowhere/gsm8k_test.jsonl"),
        ({"name": "gsm8k", "data_dir": MINI_DIR}, "has 25 rows, not 1,319: an incomplete copy?"),
    ],
)
def test_errors_are_one_line_that_says_what_is_wrong(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError) as error:
        load(**arguments)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["college_math", "gsm8k"])
def test_offline_is_one_line_without_long_retries(name: str, tmp_path: Path) -> None:
    """In a child whose network cannot exist: every address is refused at once by a proxy that is not there."""
    code = f"from dart_tasks.problems import load\ntry: load({name!r})\nexcept ValueError as error: print(error)"
    proxies = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), "http://127.0.0.1:9")
    environment = {"PATH": "/usr/bin", "HOME": str(tmp_path), **proxies}
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, timeout=60, cwd=tmp_path
    )
    assert result.stdout.count("\n") == 1, result.stdout + result.stderr
    assert "connect to the network, or set DART_MATH_DATA" in result.stdout
    assert "Retrying" not in result.stderr


def test_a_file_that_changed_at_its_source_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    file = tmp_path / "data.json"
    file.write_text("[]")
    with pytest.raises(DataError, match="has changed"):
        pinned_file(FileSource(file.as_uri(), "0" * 64), "Example", "")


def test_a_pinned_file_is_verified_and_cached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import hashlib

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    file = tmp_path / "data.json"
    file.write_text("[1]")
    checksum = hashlib.sha256(b"[1]").hexdigest()
    source = FileSource(file.as_uri(), checksum)
    assert pinned_file(source, "Example", "").read_text() == "[1]"
    file.unlink()
    assert pinned_file(source, "Example", "").read_text() == "[1]"


@pytest.mark.parametrize("name", ["college_math", "deepmind_mathematics"])
def test_pinned_checksums_are_those_of_the_files(name: str, shared_data: Path) -> None:
    import hashlib

    split = BENCHMARKS[name].splits["test"]
    content = (shared_data / "benchmarks" / split.file_name).read_bytes()
    assert hashlib.sha256(content).hexdigest() == split.source.sha256  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("answer_type", "multiple", "unit", "has", "has_not"),
    [
        ("Numerical", False, None, "should be a numerical value", "multiple"),
        ("Expression", False, None, "should be an expression", "multiple"),
        ("Interval", False, None, "should be an interval", "(unit)"),
        ("Tuple", False, None, r'"So the final answer is \boxed{answer}."', "tuple"),
        ("Numerical", True, None, "multiple answers, each of them should be a numerical value", "(unit)"),
        ("Tuple", True, None, r"\boxed{multiple answers connected with commas}", "should be"),
        ("Numerical", False, "km", r"\boxed{answer}(unit)", "multiple"),
        ("Numerical", False, "km", r"should not be included in \boxed{}", "multiple"),
    ],
)
def test_olympiad_instruction_follows_type_number_and_unit(
    answer_type: str, multiple: bool, unit: str | None, has: str, has_not: str
) -> None:
    text = olympiad_instruction(answer_type, multiple, unit)
    assert has in text
    assert has_not not in text


def test_problem_files_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "mine.jsonl"
    path.write_text('{"id": 1, "query": "1+1", "answer": "2", "level": 3}\n')
    assert load_problem_file(path) == [Problem("1", "1+1", "2", "generic", metadata={"level": 3})]
    path.write_text('{"id": 1, "text": "1+1"}\n')
    with pytest.raises(DataError, match=r"row 1: no query and no answer as text \(its columns: id, text\)"):
        load_problem_file(path)


def test_a_local_copy_of_a_pinned_file_has_to_be_that_file(tmp_path: Path) -> None:
    rows = [{"question": "1+1?", "answer": "2", "data_topic": "college_math.x", "license": "MIT"}] * 2818
    (tmp_path / "college_math_test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(DataError, match="differs from the pinned file"):
        load("college_math", data_dir=tmp_path)
    assert len(load("college_math", data_dir=tmp_path, verify=False)) == 2818


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ([1, 2], "line 2 of .* is not a JSON object"),
        ({"id": 2, "query": "?"}, r"row 2: no answer as text \(its columns: id, query\)"),
        ({"id": 2, "query": 5, "answer": "1"}, "row 2: no query as text"),
        ({"id": 2, "query": "?", "answer": {"a": 1}}, "row 2: the answer must be text, a number"),
        ({"id": 1, "query": "?", "answer": "1"}, "row 2: the id of an earlier row"),
        ({"query": "?", "answer": " "}, "row 2: an empty answer"),
        ({"query": "?", "answer": None}, "row 2: an empty answer"),
        ({"query": " ", "answer": "1"}, "row 2: an empty query"),
        ({"query": "?", "answer": "1", "level": [1]}, r"row 2: level must be text or a whole number \(got \[1\]\)"),
    ],
)
def test_a_problem_file_is_checked_row_by_row(row: Any, message: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.jsonl"
    path.write_text(json.dumps({"id": 1, "query": "?", "answer": "1"}) + "\n" + json.dumps(row) + "\n")
    with pytest.raises(DataError, match=message):
        load_problem_file(path)


def test_a_problem_without_an_id_is_named_by_its_content_and_an_answer_is_found_in_a_solution(tmp_path: Path) -> None:
    path = tmp_path / "mine.jsonl"
    rows = [
        {"question": "2+3?", "answer": "2+3 is 5.\n#### 5", "domain": "sums"},
        {"problem": "1+1?", "answer": [1, 2]},
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    first, second = load_problem_file(path)
    assert (first.query, first.reference, first.metadata) == ("2+3?", "5", {"domain": "sums"})
    assert second.reference == [1, 2]
    path.write_text(json.dumps(rows[1]) + "\n")
    assert load_problem_file(path) == [second]
    path.write_text(json.dumps(rows[1]) + "\n" + json.dumps(rows[1]) + "\n")
    with pytest.raises(DataError, match="row 2: the problem of an earlier row"):
        load_problem_file(path)


def test_the_commit_of_a_set_that_is_pinned_to_none_is_told_from_the_cache_too(tmp_path: Path) -> None:
    """``datasets``' own cache, as a download of the hub leaves it, read in a child without a network."""
    commit = "0123456789abcdef0123456789abcdef01234567"
    folder = tmp_path / "cache" / "MathArena___brumo_2025" / "default" / "0.0.0" / commit
    code = f"""
import json, logging, pathlib, sys
import datasets
datasets.Dataset.from_list([{{"problem": "1+1?", "answer": 2}}] * 30).to_parquet("rows.parquet")
read = datasets.load_dataset("parquet", data_files="rows.parquet", split="train", cache_dir="other")
folder = pathlib.Path({str(folder)!r})
folder.parent.mkdir(parents=True)
pathlib.Path(read.cache_files[0]["filename"]).parent.rename(folder)
(folder / "parquet-train.arrow").rename(folder / "brumo_2025-train.arrow")
info = folder / "dataset_info.json"
info.write_text(json.dumps(json.loads(info.read_text()) | {{"dataset_name": "brumo_2025"}}))
logging.basicConfig(level="WARNING")
from dart_tasks.problems import load
print(len(load("brumo_2025")))
"""
    environment = {"PATH": "/usr/bin", "HOME": str(tmp_path), "HF_HUB_OFFLINE": "1", "HF_DATASETS_CACHE": "cache"}
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, timeout=120, cwd=tmp_path
    )
    assert result.stdout == "30\n", result.stderr
    assert f"MathArena/brumo_2025 is pinned to no commit: this run reads {commit} from the cache" in result.stderr
