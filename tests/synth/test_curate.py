"""Data sets from pools: deterministic, unbiased, without duplicates, kept apart from test sets."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from itertools import groupby
from operator import itemgetter
from pathlib import Path

import pytest
import tape_run
from click.testing import CliRunner

from dart_tasks.problems.record import Problem
from synth.cli import command
from synth.config import RunConfig
from synth.curate import PoolError, largest_k, open_pool, select, selected_rows
from synth.decontaminate import find_overlaps
from synth.engines.tape import TapeEngine
from synth.export import Layout
from synth.run import load_run_queries, synthesise
from synth.strategy import get_strategy


@pytest.fixture
def run_dir(configuration: Callable[..., RunConfig], tmp_path: Path, grader: object) -> Path:
    """A finished vanilla run of 30 trials a query."""
    config = configuration(strategy="vanilla", k=30)
    engine = TapeEngine(tape_run.tape, jitter_seed=1)
    synthesise(config, tmp_path / "run", load_run_queries(config), lambda c, s: engine, grader, "1")  # type: ignore[arg-type]
    return tmp_path / "run"


def pool_rows(run_dir: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (run_dir / "dataset/pool/train.jsonl").read_text().splitlines()]


def curate(*arguments: object) -> str:
    result = CliRunner().invoke(command, ["curate", *map(str, arguments)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def data(folder: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (folder / "data/train.jsonl").read_text().splitlines()]


def test_uniform_keeps_the_first_distinct_correct_ones_in_trial_order(run_dir: Path, tmp_path: Path) -> None:
    curate(run_dir, "-k", 3, "--output", tmp_path / "out", "--format", "jsonl", "--decontaminate", "off")
    expected = []
    for query_id in dict.fromkeys(row["query_id"] for row in pool_rows(run_dir)):
        texts: list[object] = []
        for row in pool_rows(run_dir):
            if row["query_id"] == query_id and row["correct"] and row["response"] not in texts and len(texts) < 3:
                texts.append(row["response"])
                expected.append((query_id, row["trial"]))
    assert [(row["query_id"], row["trial"]) for row in data(tmp_path / "out")] == expected


def test_a_ledger_and_its_exported_pool_give_the_same(run_dir: Path, tmp_path: Path) -> None:
    for name, pool in (("a", run_dir), ("b", run_dir / "dataset"), ("c", run_dir / "dataset/pool/train.jsonl")):
        options = ("--strategy", "prop2diff", "-k", 5, "--format", "jsonl", "--decontaminate", "off")
        curate(pool, *options, "--output", tmp_path / name)
    assert data(tmp_path / "a") == data(tmp_path / "b") == data(tmp_path / "c")


def test_merged_pools_count_a_trial_once(run_dir: Path) -> None:
    once, twice = (select([open_pool(run_dir)] * times, get_strategy("uniform"), 1000) for times in (1, 2))
    assert twice.kept == once.kept
    assert twice.n_trials == 2 * once.n_trials
    assert twice.n_duplicates > once.n_duplicates


def write_pool(path: Path, trials: list[tuple[str, int, str]]) -> Path:
    """A pool file of correct responses, given as (query id, trial, response)."""
    rows = [
        {"query_id": q, "query": f"Query {q}?", "reference": "1", "trial": n, "response": text, "correct": True}
        for q, n, text in trials
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def test_a_pool_file_may_be_out_of_order_and_hold_a_row_twice(tmp_path: Path) -> None:
    trials = [("a", 2, "z"), ("a", 0, "x"), ("b", 1, "v"), ("a", 1, "x"), ("b", 0, "u"), ("a", 0, "x")]
    pools = [open_pool(write_pool(tmp_path / "pool.jsonl", trials))]
    selection = select(pools, get_strategy("uniform"), 2)
    assert selection.kept == [(0, 2), (0, 1)]
    assert (selection.n_trials, selection.n_duplicates) == (5, 1)
    rows = [
        (row["query_id"], row["trial"], row["response"]) for row in selected_rows(pools, selection, Layout("jsonl"))
    ]
    assert sorted(rows) == [("a", 0, "x"), ("a", 2, "z"), ("b", 0, "u"), ("b", 1, "v")]


def test_two_different_rows_of_one_trial_are_an_error(tmp_path: Path) -> None:
    pool = open_pool(write_pool(tmp_path / "pool.jsonl", [("a", 3, "x"), ("a", 3, "y")]))
    with pytest.raises(PoolError, match=r"pool\.jsonl has two different rows for trial 3 of query 'a'"):
        select([pool], get_strategy("uniform"), 2)


def test_size_is_met_from_below(run_dir: Path) -> None:
    pool = open_pool(run_dir)
    selection = select([pool], get_strategy("uniform"), size=50)
    assert selection.n_kept <= 50
    assert select([pool], get_strategy("uniform"), selection.k + 1).n_kept > 50


@pytest.mark.parametrize("strategy", ["uniform", "prop2diff"])
def test_a_size_below_one_response_a_query_is_an_error(tmp_path: Path, strategy: str) -> None:
    pool = open_pool(write_pool(tmp_path / "pool.jsonl", [(q, n, f"{q}{n}") for q in "abc" for n in (0, 1)]))
    assert select([pool], get_strategy(strategy), size=3).n_kept == 3
    with pytest.raises(PoolError, match=r"^--size 2 is too small: k = 1 keeps 3$"):
        select([pool], get_strategy(strategy), size=2)


Given = Callable[[Path, Path], Path]


def alone(run_dir: Path, folder: Path) -> Path:
    """A pool file that nothing beside it explains."""
    return shutil.copy(run_dir / "dataset/pool/train.jsonl", folder / "mine.jsonl")


def published(run_dir: Path, folder: Path) -> Path:
    """A data set without its run."""
    return shutil.copytree(run_dir / "dataset", folder / "published")


def of_before(run_dir: Path, folder: Path) -> Path:
    """A data set in its run, exported before the statistics said how the trials came about."""
    shutil.rmtree(run_dir / "dataset/queries")
    return run_dir / "dataset"


GIVEN: list[Given] = [lambda run_dir, _: run_dir, lambda run_dir, _: run_dir / "dataset", alone, published, of_before]


@pytest.mark.parametrize("given", GIVEN)
@pytest.mark.parametrize("sampled", ["uniform", "prop2diff"])
def test_a_pool_that_stopped_at_success_does_not_look_easier_than_it_is(
    configuration: Callable[..., RunConfig], tmp_path: Path, grader: object, sampled: str, given: Given
) -> None:
    """k / n of such a pool makes quotas too small: its probe alone counts, or (k - 1) / (n - 1)."""
    config, k = configuration(strategy=sampled, k=4), 12
    engine = TapeEngine(tape_run.tape, n_slots=1)
    synthesise(config, tmp_path / "run", load_run_queries(config), lambda c, s: engine, grader, "1")  # type: ignore[arg-type]
    expected: dict[object, float] = {}
    for query_id, group in groupby(pool_rows(tmp_path / "run"), key=itemgetter("query_id")):
        right = [bool(row["correct"]) for row in group]
        if sampled == "prop2diff":
            expected[query_id] = 1 - sum(right[:4]) / 4
        else:
            stopped = sum(right) == 4
            expected[query_id] = 1 - (sum(right) - stopped) / (len(right) - stopped)
    curate(given(tmp_path / "run", tmp_path), "--strategy", "prop2diff", "-k", k, "--output", tmp_path / "out",
           "--format", "jsonl", "--decontaminate", "off")  # fmt: skip
    found = {row["query_id"]: row["fail_rate"] for row in data(tmp_path / "out")}
    assert found == pytest.approx({query_id: expected[query_id] for query_id in found})
    assert len(found) > 15


def test_a_pool_that_stopped_at_its_first_success_tells_nothing_of_difficulty(
    configuration: Callable[..., RunConfig], tmp_path: Path, grader: object
) -> None:
    config, engine = configuration(strategy="uniform", k=1), TapeEngine(tape_run.tape, n_slots=1)
    synthesise(config, tmp_path / "run", load_run_queries(config), lambda c, s: engine, grader, "1")  # type: ignore[arg-type]
    for pool in (tmp_path / "run", tmp_path / "run/dataset", alone(tmp_path / "run", tmp_path)):
        arguments = ["curate", str(pool), "-k", "4", "--output", str(tmp_path / "o"), "--decontaminate", "off"]
        refused = CliRunner().invoke(command, [*arguments, "--strategy", "prop2diff"])
        assert (refused.exit_code, refused.output.count("\n")) == (1, 1), refused.output
        assert "stopped at the first correct response (k = 1)" in refused.output
        assert CliRunner().invoke(command, arguments).exit_code == 0


@pytest.mark.parametrize(("size", "expected"), [(0, 1), (6, 2), (8, 2), (9, 3), (10**9, None)])
def test_largest_k(size: int, expected: int | None) -> None:
    found = largest_k(lambda k: 3 * min(k, 40), size, 40)
    assert found == expected if expected is not None else 3 * min(found, 40) == 120


def test_vanilla_takes_the_first_trials(run_dir: Path, tmp_path: Path) -> None:
    curate(run_dir, "--strategy", "vanilla", "-k", 4, "--output", tmp_path / "o", "--format", "jsonl",
           "--decontaminate", "off")  # fmt: skip
    assert {row["trial"] for row in data(tmp_path / "o")} == {0, 1, 2, 3}


def test_originals_are_mixed_in(run_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "own.jsonl").write_text(json.dumps({"query": "What is 1 + 1?", "response": "It is 2."}) + "\n")
    output = curate(run_dir, "-k", 1, "--originals", tmp_path / "own.jsonl", "--output", tmp_path / "o",
                    "--format", "jsonl", "--decontaminate", "off")  # fmt: skip
    assert data(tmp_path / "o")[-1]["response"] == "It is 2."
    assert "responses to 20 queries" in output


def test_the_card_hides_local_paths_and_push_wants_a_licence(run_dir: Path, tmp_path: Path) -> None:
    arguments = [str(run_dir), "-k", "1", "--output", str(tmp_path / "o"), "--decontaminate", "off"]
    curate(*arguments)
    assert str(tmp_path) not in (tmp_path / "o/README.md").read_text()
    result = CliRunner().invoke(command, ["curate", *arguments, "--push-to-hub", "me/data"])
    assert result.exit_code == 1
    assert "licence" in result.output


@pytest.mark.parametrize("available", [True, False])
def test_card_and_output_name_test_sets_that_were_not_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, available: bool
) -> None:
    from types import SimpleNamespace

    from dart_tasks import problems
    from dart_tasks.files import DataError

    def load(name: str) -> list[object]:
        if available and name == "gsm8k":
            return [SimpleNamespace(id="gsm8k/1", query="Query a?")]
        raise DataError("no network")

    monkeypatch.setattr(problems, "load", load)
    pool = write_pool(tmp_path / "pool.jsonl", [("a", 0, "x"), ("b", 0, "y")])
    output = curate(pool, "-k", 1, "--output", tmp_path / "o", "--format", "jsonl", "--decontaminate", "drop")
    names = ["math", *([] if available else ["gsm8k"]), "college_math"]
    statement = f"not checked against {', '.join(names)}"
    card = (tmp_path / "o/README.md").read_text().replace("\\", "")
    for text in (output, card):
        assert statement in text
        assert "queries that overlap with them were not dropped" in text
        assert ("1 of 2 queries overlap" in text) is available
    assert len(data(tmp_path / "o")) == (1 if available else 2)


def test_overlap_with_a_test_problem_is_found() -> None:
    text = "A farmer has seventeen sheep and sells nine of them at the market on Tuesday for 30 dollars each."
    queries = [
        Problem("same", text.upper(), "1", "generic", "d"),
        Problem("part", f"{text} How much does the farmer earn?", "1", "generic", "d"),
        Problem("other", text.replace("seventeen", "18").replace("market", "fair"), "1", "generic", "d"),
        Problem("short", "What is 2 + 2?", "4", "generic", "d"),
    ]
    tests = [("gsm8k", "gsm8k/1", text), ("math", "math/1", "What is 2 + 2?")]
    found = {overlap.query_id: (overlap.problem_id, overlap.exact) for overlap in find_overlaps(queries, tests)}
    assert found == {"same": ("gsm8k/1", True), "part": ("gsm8k/1", False), "short": ("math/1", True)}


@pytest.mark.parametrize("broken", [b'{"query": "a"', b'{"query": "\xff"}', b"[1]", b"{}"])
@pytest.mark.parametrize("what", ["pool", "originals"])
def test_a_broken_line_is_named_in_one_line(tmp_path: Path, broken: bytes, what: str) -> None:
    files = {name: write_pool(tmp_path / f"{name}.jsonl", [("a", 0, "x")]) for name in ("pool", "originals")}
    files[what].write_bytes(files[what].read_bytes() + b"\n" + broken + b"\n")
    arguments = [
        "curate", files["pool"], "-k", 1, "--originals", files["originals"], "--output", tmp_path / "o",
        "--decontaminate", "off",
    ]  # fmt: skip
    result = CliRunner().invoke(command, list(map(str, arguments)))
    assert (result.exit_code, result.output.count("\n")) == (1, 1), result.output
    assert f"line 3 of {files[what]}" in result.output


def test_a_broken_parquet_pool_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "pool.parquet").write_bytes(b"PAR1 but not really")
    with pytest.raises(PoolError, match=r"cannot read .*pool\.parquet"):
        open_pool(tmp_path / "pool.parquet")


def test_a_problem_that_could_not_be_graded_has_no_pass_rate(tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    rows = [
        {"query_id": name, "query": f"{name}?", "reference": "1", "trial": n, "response": f"try {n}", "correct": False,
         "graded": name == "hard" or (name == "half" and n == 0)}
        for name in ("hard", "half", "never") for n in range(4)
    ]  # fmt: skip
    (tmp_path / "pool.jsonl").write_text("\n".join(map(json.dumps, rows)))
    output = curate(tmp_path / "pool.jsonl", "--format", "rl", "--output", tmp_path / "o", "--decontaminate", "off")
    assert "left out, their pass rate unknown: 1 problem without a graded trial" in output
    found = [row["extra_info"] for row in pq.read_table(tmp_path / "o/data/train.parquet").to_pylist()]
    assert [(row["query_id"], row["pass_rate"]) for row in found] == [("hard", 0.0), ("half", 0.0)]


def test_problems_for_reinforcement_learning(run_dir: Path, tmp_path: Path) -> None:
    """In verl's layout, read as ``datasets`` does; the pass rates are those of the pool."""
    import datasets

    from dart_tasks.rewards.verl import compute_score

    output = curate(run_dir, "--format", "rl", "--pass-rate", "0.2:0.8", "--output", tmp_path / "rl",
                    "--decontaminate", "off")  # fmt: skip
    path = str(tmp_path / "rl/data/train.parquet")
    found = datasets.load_dataset("parquet", data_files=path, split="train", cache_dir=str(tmp_path / "cache"))
    rates: dict[object, list[bool]] = {}
    for row in pool_rows(run_dir):
        rates.setdefault(row["query_id"], []).append(bool(row["correct"]))
    expected = {key: sum(right) / 30 for key, right in rates.items() if 0.2 <= sum(right) / 30 <= 0.8}
    assert {row["extra_info"]["query_id"]: row["extra_info"]["pass_rate"] for row in found} == pytest.approx(expected)
    assert f"{len(expected)} of 20 problems" in output
    row = found[0]
    assert row["prompt"] == [{"role": "user", "content": row["extra_info"]["question"]}]
    for answer, score in ((row["reference"], 1.0), ("-1", 0.0)):
        truth = row["reward_model"]["ground_truth"]
        scored = compute_score(row["data_source"], f"\\boxed{{{answer}}}", truth, row["extra_info"])
        assert scored["score"] == score


@pytest.mark.parametrize("bounds", ["0.1:0.3", "0.1:0.1", "0.3:0.3", "0.7:0.7", "0.9:0.9"])
def test_a_pass_rate_at_a_bound_is_within(tmp_path: Path, bounds: str) -> None:
    """1 of 10 is 0.1, though 1 - 0.9 is less in binary."""
    import pyarrow.parquet as pq

    wanted = (1, 3) if bounds == "0.1:0.3" else (round(10 * float(bounds[:3])),)
    rows = [
        {"query_id": str(right), "query": f"Query {right}?", "reference": "1", "trial": n, "response": f"try {n}",
         "correct": n < right}
        for right in (1, 3, 7, 9) for n in range(10)
    ]  # fmt: skip
    (tmp_path / "pool.jsonl").write_text("\n".join(map(json.dumps, rows)))
    curate(tmp_path / "pool.jsonl", "--format", "rl", "--pass-rate", bounds, "--output", tmp_path / "o",
           "--decontaminate", "off")  # fmt: skip
    found = [row["extra_info"] for row in pq.read_table(tmp_path / "o/data/train.parquet").to_pylist()]
    assert [(row["query_id"], row["pass_rate"]) for row in found] == [(str(n), n / 10) for n in wanted]


@pytest.mark.parametrize(
    "arguments",
    ["--pass-rate 0.1:0.9", "--format rl --pass-rate 9", "--format rl -k 3", "--format rl --max-response-tokens 5",
     "--format rl --keep-thinking", "--format rl --strategy prop2diff", "--format rl --license mit"],
)  # fmt: skip
def test_problems_are_asked_for_as_such(run_dir: Path, tmp_path: Path, arguments: str) -> None:
    given = ["curate", str(run_dir), "--output", str(tmp_path / "o"), "--decontaminate", "off", *arguments.split()]
    assert CliRunner().invoke(command, given).exit_code == 2


def test_no_pool(tmp_path: Path) -> None:
    with pytest.raises(PoolError, match="no pool in"):
        open_pool(tmp_path)


def test_status_tells_a_finished_run(run_dir: Path) -> None:
    result = CliRunner().invoke(command, ["status", str(run_dir), "--json"], catch_exceptions=False)
    state = json.loads(result.output)
    assert state["done"] is True
    assert state["groups"]["all"]["n_trials"] == 600
    assert state["groups"]["all"]["n_filled"] == 20  # each has had its 30 trials, whatever came of them
    assert "600 trials recorded" in CliRunner().invoke(command, ["status", str(run_dir)]).output


def test_plan_from_a_run(run_dir: Path) -> None:
    arguments = ["plan", "--run", str(run_dir), "--strategy", "uniform", "-k", "10", "--caps", "40,400"]
    result = CliRunner().invoke(command, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert "queries filled" in result.output


@pytest.mark.parametrize("option", ["--limit", "--dataset", "--temperature", "--max-trials", "--model"])
def test_a_plan_from_a_run_passes_no_option_over(run_dir: Path, option: str) -> None:
    result = CliRunner().invoke(command, ["plan", "--run", str(run_dir), option, "1"])
    assert result.exit_code == 2 and f"{option} cannot be given here" in result.output


def test_a_plan_never_forecasts_more_than_the_cap_allows(run_dir: Path) -> None:
    """20 queries with 30 trials each, under a cap of 12."""
    arguments = ["plan", "--run", str(run_dir), "--strategy", "uniform", "-k", "100", "--caps", "12"]
    result = CliRunner().invoke(command, arguments, catch_exceptions=False)
    assert re.search(r"12 +240 \(240 to 240\)", result.output), result.output


def test_temperatures_are_compared_at_equal_tokens() -> None:
    from synth.ledger import StoredResult
    from synth.temperature import compare

    def stored(query: int, trial: int, correct: bool, key: int, n_tokens: int) -> StoredResult:
        return StoredResult(query, trial, correct, True, True, key, n_tokens, "stop")

    cheap = [stored(0, 0, True, 1, 10), stored(1, 0, False, 2, 10), stored(0, 1, True, 1, 10)]
    dear = [stored(0, 0, False, 1, 20), stored(1, 0, True, 2, 20), stored(1, 1, True, 3, 20)]
    budget, (low, high) = compare([(0.5, cheap), (1.5, dear)], 2)
    assert budget == 30
    assert (low.coverage, low.n_distinct, low.duplicate_rate) == (0.5, 1, 0.5)
    assert (high.coverage, high.n_distinct) == (0.0, 0)  # its second trial is beyond the budget
