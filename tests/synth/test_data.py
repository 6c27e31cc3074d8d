"""Queries from files: columns, references, levels, filters, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dart_tasks.files import DataError
from dart_tasks.problems.references import reference_of
from synth.data import DatasetSpec, dataset_fingerprint, load_queries


def write(path: Path, *rows: dict[str, object]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


@pytest.mark.parametrize(
    ("value", "reference"),
    [
        ("12 * 3 = 36\n#### 1,036", "1036"),
        ("We get $\\boxed{\\frac{1}{2}}$, since $\\boxed{\\frac{2}{4}}$.", "\\frac{2}{4}"),
        ("So it is $\\boxed 7$.", "7"),
        ("(1, 2)", "(1, 2)"),
        ("unfinished \\boxed{1", "unfinished \\boxed{1"),
        (7, 7),
        (True, True),
        ([1, 2], [1, 2]),
    ],
)
def test_reference_of_an_answer_or_solution(value: object, reference: object) -> None:
    assert reference_of(value) == reference


@pytest.mark.parametrize(
    ("level", "expected"), [("Level 3", 3), (5, 5), ("4", 4), ("Level ?", None), (None, None), ("9" * 30, None)]
)
def test_levels(tmp_path: Path, level: object, expected: int | None) -> None:
    path = write(
        tmp_path / "math.jsonl", {"problem": "1 + 1?", "solution": "\\boxed{2}", "level": level, "type": "Algebra"}
    )
    (query,) = load_queries([DatasetSpec(path)])
    assert (query.level, query.domain, query.benchmark, query.id) == (expected, "Algebra", "math", "math/0")


def test_filters_limits_and_several_sources(tmp_path: Path) -> None:
    rows = [{"query": f"q{i}?", "answer": str(i), "level": i % 3 or "?"} for i in range(12)]
    first, second = write(tmp_path / "a.jsonl", *rows), write(tmp_path / "b.jsonl", *rows)
    specs = [DatasetSpec(first), DatasetSpec(second)]
    assert len(load_queries(specs)) == 24
    assert [q.id for q in load_queries(specs, limit=2)] == ["a/0", "a/1", "b/0", "b/1"]
    assert [q.id for q in load_queries([specs[0]], {"level": frozenset("2")})] == ["a/2", "a/5", "a/8", "a/11"]
    assert [q.id for q in load_queries([specs[0]], {"level": frozenset("?")})] == ["a/0", "a/3", "a/6", "a/9"]
    balanced = load_queries([specs[0]], limit=6, balance_levels=True)
    assert sorted(str(q.level) for q in balanced) == ["1", "1", "2", "2", "None", "None"]


def test_the_fingerprint_sees_every_field(tmp_path: Path) -> None:
    base = {"query": "q?", "answer": "1", "level": 1}
    prints = {
        dataset_fingerprint(load_queries([DatasetSpec(write(tmp_path / "d.jsonl", {**base, **change}))]))
        for change in ({}, {"query": "r?"}, {"answer": "2"}, {"level": 2}, {"id": "x"})
    }
    assert len(prints) == 5


@pytest.mark.parametrize(
    ("rows", "options", "message"),
    [
        ([], {}, "is empty"),
        ([{"text": "q", "answer": "1"}], {}, "say which one with --query-column"),
        ([{"query": "q", "result": "1"}], {}, "say which one with --answer-column"),
        ([{"query": "q", "answer": "1"}], {"query_column": "nope"}, "has no column 'nope'"),
        ([{"query": " ", "answer": "1"}], {}, "no text"),
        ([{"query": "q", "answer": ""}], {}, "no reference answer"),
        ([{"query": "q", "answer": "1", "id": 1}] * 2, {}, "occurs twice"),
        ([{"query": "q", "answer": "1", "f": 2}], {"fail_rate_column": "f"}, "between 0 and 1"),
    ],
)
def test_what_cannot_be_used_is_named(
    tmp_path: Path, rows: list[dict[str, object]], options: dict[str, str], message: str
) -> None:
    path = write(tmp_path / "data.jsonl", *rows)
    with pytest.raises(DataError, match=message):
        load_queries([DatasetSpec(path, **options)])  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("cells", "references"),
    [
        (["1", "-20"], [1, -20]),
        (["007", "5"], ["007", "5"]),
        (["1.50", "5"], ["1.50", "5"]),
        (["1e5", "True"], ["1e5", "True"]),
        (["12345678901234567890123", "5"], ["12345678901234567890123", "5"]),
        (["5", '"1,000"'], ["5", "1,000"]),
    ],
)
def test_a_reference_in_csv_is_read_as_it_stands(tmp_path: Path, cells: list[str], references: list[object]) -> None:
    path = tmp_path / "a.csv"
    rows = "".join(f"What is it?,{cell}\r\n" for cell in cells)
    path.write_bytes(b"\xef\xbb\xbf" + f"query,answer\r\n{rows}".encode())
    assert [query.reference for query in load_queries([DatasetSpec(str(path))])] == references


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.csv", b"query,answer,query\nWhat is 1?,1,x\n", "two columns are called 'query'"),
        ("a.csv", b"query,answer\nWhat is 1?,1,2\n", "line 2 has 3 cells, the first has 2"),
        ("a.csv", b"query,answer\nWhat is 1?,nan\n", "has no reference answer"),
        ("a.csv", b"query,answer\n", "is empty"),
        ("a.csv", b"", "is empty"),
        ("a.csv", "query,answer\nWhat is é?,1\n".encode("latin-1"), "can't decode byte 0xe9"),
        ("a.jsonl", b'{"query": "What is \\ud800?", "answer": "1"}', "is not Unicode"),
        ("a.jsonl", b'{"query": "What is 1?", "answer": "\\udc00"}', "is not Unicode"),
    ],
)
def test_a_file_that_cannot_be_taken_as_it_is_says_why(tmp_path: Path, name: str, content: bytes, said: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=said):
        load_queries([DatasetSpec(str(tmp_path / name))])


@pytest.mark.parametrize("name", ["a.json", "a.jsonl"])
def test_a_byte_order_mark_is_passed_over(tmp_path: Path, name: str) -> None:
    content = b'{"query": "What is 1?", "answer": "1"}'
    (tmp_path / name).write_bytes(b"\xef\xbb\xbf" + (b"[" + content + b"]" if name == "a.json" else content))
    assert len(load_queries([DatasetSpec(str(tmp_path / name))])) == 1


def test_broken_lines_and_unknown_sources(tmp_path: Path) -> None:
    (tmp_path / "bad.jsonl").write_text('{"query": "q", "answer": "1"}\nnot json\n')
    with pytest.raises(DataError, match=r"line 2 of .* is not JSON"):
        load_queries([DatasetSpec(str(tmp_path / "bad.jsonl"))])
    with pytest.raises(DataError, match="no data set 'nothing-here'"):
        load_queries([DatasetSpec("nothing-here")])
    good = write(tmp_path / "good.jsonl", {"query": "q", "answer": "1"})
    with pytest.raises(DataError, match="no query is left"):
        load_queries([DatasetSpec(good)], {"answer": frozenset("2")})
    with pytest.raises(DataError, match="has no column 'size'"):
        load_queries([DatasetSpec(good)], {"size": frozenset("2")})


def test_gsm8k_train(shared_data: Path) -> None:
    queries = load_queries([DatasetSpec(str(shared_data / "benchmarks" / "gsm8k_train.jsonl"))])
    assert len(queries) == 7473
    assert {query.benchmark for query in queries} == {"gsm8k"}
    assert all(str(query.reference).lstrip("-").replace(".", "").isdigit() for query in queries)


@pytest.mark.parametrize("bad", [None, float("nan"), {"a": 1}, [None], [], "", " ", [[1]]])
def test_a_reference_that_nothing_can_equal_is_refused_or_left_out(tmp_path: Path, bad: object) -> None:
    path = write(tmp_path / "a.jsonl", {"query": "1 + 1?", "answer": "2"}, {"query": "2 + 2?", "answer": bad})
    with pytest.raises(DataError, match=r"row 1 of .* has no reference answer .*--skip-bad-rows"):
        load_queries([DatasetSpec(path)])
    said: list[str] = []
    assert len(load_queries([DatasetSpec(path)], skip_bad_rows=True, say=said.append)) == 1
    assert said == [f"left out of {path}: 1 row without text or without a reference answer"]


def test_a_row_without_the_answer_column_is_a_bad_row(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", {"query": "1 + 1?", "answer": "2"}, {"query": "2 + 2?"})
    with pytest.raises(DataError, match=r"row 1 of .* has no reference answer"):
        load_queries([DatasetSpec(path)])


def test_repeated_queries_are_told(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", *[{"query": f"1 +{space}1?", "answer": "2"} for space in (" ", "  ")])
    said: list[str] = []
    assert len(load_queries([DatasetSpec(path)], say=said.append)) == 2
    assert said == ["texts that occur again: 1 query, each with a quota of its own"]


@pytest.mark.parametrize("value", ["#### 1,000", "So it is 1,000 #### 1,000", "It is.\n#### 1,000\n"])
def test_what_follows_the_hashes_is_the_reference(value: str) -> None:
    assert reference_of(value) == "1000"
