"""A run from configuration to data set, on a tape."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path

import pytest
import tape_run

from dart_tasks.grading import Case, Verdict, grade
from synth.config import RunConfig, settings
from synth.config import rows as rows_of
from synth.data import DatasetSpec
from synth.engines import Engine
from synth.engines.tape import TapeEngine
from synth.ledger import Ledger
from synth.manifest import ManifestMismatchError
from synth.run import RunReport, load_run_queries, synthesise

Make = Callable[..., RunConfig]


def start(config: RunConfig, run_dir: Path, grader: object, **options: object) -> RunReport:
    def engine(config: RunConfig, seed: int) -> Engine:
        return TapeEngine(tape_run.tape, n_slots=16, jitter_seed=seed)

    return synthesise(config, run_dir, load_run_queries(config), engine, grader, "1", **options)  # type: ignore[arg-type]


def rows(run_dir: Path, part: str = "data") -> list[dict[str, object]]:
    return [json.loads(line) for line in (run_dir / "dataset" / part / "train.jsonl").read_text().splitlines()]


def test_quotas_are_exact_and_in_proportion_to_difficulty(configuration: Make, tmp_path: Path, grader: object) -> None:
    report = start(configuration(), tmp_path / "run", grader)
    assert report.exported is not None
    kept = rows(tmp_path / "run")
    statistics = rows(tmp_path / "run", "queries")
    assert len(statistics) == 20
    for query in statistics:
        own = [row for row in kept if row["query_id"] == query["query_id"]]
        assert len(own) == query["n_kept"] <= query["quota"]  # type: ignore[operator]
        assert len({" ".join(str(row["response"]).split()) for row in own}) == len(own)
        assert query["status"] == ("filled" if query["n_kept"] == query["quota"] else "exhausted")
        if own:
            assert query["quota"] == max(1, -(-6 * round(4 * own[0]["fail_rate"]) // 4))  # type: ignore[operator, arg-type]
    assert all(row["answer"] == row["reference"] for row in kept)
    assert len(rows(tmp_path / "run", "pool")) == report.exported.n_trials > len(kept)


def test_the_data_set_does_not_depend_on_the_order_of_results(
    configuration: Make, tmp_path: Path, grader: object
) -> None:
    start(configuration(seed=1), tmp_path / "one", grader)
    start(configuration(seed=2), tmp_path / "two", grader)
    assert rows(tmp_path / "one") == rows(tmp_path / "two")


def test_a_finished_run_is_exported_again_without_sampling(configuration: Make, tmp_path: Path, grader: object) -> None:
    first = start(configuration(), tmp_path, grader)
    text = (tmp_path / "dataset" / "data" / "train.jsonl").read_bytes()
    second = start(configuration(dataset_format="parquet"), tmp_path, grader)
    assert second.progress.n_trials == 0
    assert second.exported == first.exported
    assert not (tmp_path / "dataset" / "data" / "train.jsonl").exists()
    start(configuration(), tmp_path, grader)
    assert (tmp_path / "dataset" / "data" / "train.jsonl").read_bytes() == text


def test_stopping_finishes_what_is_in_flight_and_the_rest_resumes(
    configuration: Make, tmp_path: Path, grader: object
) -> None:
    stop = threading.Event()

    class StopEarly:
        def update(self, progress: object, scheduler: object, n_running: int, n_grading: int) -> None:
            if progress.n_trials >= 30:  # type: ignore[attr-defined]
                stop.set()

    report = start(configuration(), tmp_path / "run", grader, observer=StopEarly(), stop=stop)
    assert report.exported is None
    assert not (tmp_path / "run" / "dataset").exists()
    with Ledger(tmp_path / "run", read_only=True) as ledger:
        assert ledger.n_trials() == report.progress.n_trials
    lines: list[str] = []
    resumed = start(configuration(), tmp_path / "run", grader, say=lines.append)
    assert resumed.resumed_trials == report.progress.n_trials
    assert "trials recorded" in lines[0]
    start(configuration(), tmp_path / "whole", grader)
    assert rows(tmp_path / "run") == rows(tmp_path / "whole")


@pytest.mark.parametrize("change", [{"k": 7}, {"temperature": 0.5}, {"limit": 3}, {"prompt_template": "alpaca"}])
def test_another_configuration_is_refused(
    configuration: Make, tmp_path: Path, grader: object, change: dict[str, object]
) -> None:
    start(configuration(), tmp_path, grader)
    with pytest.raises(ManifestMismatchError, match="holds a run of another configuration"):
        start(configuration(**change), tmp_path, grader)


def test_settings_that_an_older_version_did_not_have_are_at_their_defaults(
    configuration: Make, tmp_path: Path, grader: object
) -> None:
    start(configuration(), tmp_path, grader)
    path = tmp_path / "manifest.json"
    stored = json.loads(path.read_text())
    del stored["identity"]["ignore_eos"]
    path.write_text(json.dumps(stored))
    start(configuration(), tmp_path, grader)
    with pytest.raises(ManifestMismatchError, match="ignore eos false -> true"):
        start(configuration(ignore_eos=True), tmp_path, grader)


def test_the_same_file_under_another_path_is_the_same_run(
    configuration: Make, problems: Path, tmp_path: Path, grader: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    start(configuration(), tmp_path / "run", grader)
    monkeypatch.chdir(problems.parent)
    for path in ("problems.jsonl", "./problems.jsonl"):
        again = start(configuration(datasets=(DatasetSpec(path),)), tmp_path / "run", grader)
        assert again.progress.n_trials == 0


def test_the_card_says_how_responses_were_sampled(configuration: Make, tmp_path: Path, grader: object) -> None:
    config = configuration(top_k=7, stop=("END",), limit=3)
    start(config, tmp_path, grader)
    card = (tmp_path / "dataset/README.md").read_text().replace("\\", "")
    for said in ("temperature 1.6, top-p 0.95, top-k 7, at most 2,048 tokens", '"END"', "3 queries of each data set"):
        assert said in card
    assert {*rows_of(config)} >= {setting.row for setting in settings().values()} - {"", "where"}


def test_slots_and_grader_processes_may_change(configuration: Make, tmp_path: Path, grader: object) -> None:
    start(configuration(), tmp_path, grader)
    start(configuration(n_slots=3, grade_workers=1), tmp_path, grader)


class MumblingGrader:
    """Right answers, never stated explicitly."""

    def submit(self, case: Case) -> Future[Verdict]:
        future: Future[Verdict] = Future()
        verdict = grade(case.response, case.reference, case.benchmark)
        future.set_result(replace(verdict, explicit=False, source="last_number"))
        return future


@pytest.mark.parametrize("lenient", [False, True])
def test_only_explicit_answers_count_unless_lenient(configuration: Make, tmp_path: Path, lenient: bool) -> None:
    config = configuration(strategy="uniform", k=1, lenient_extraction=lenient, max_trials=8)
    start(config, tmp_path, MumblingGrader())
    assert bool(rows(tmp_path)) is lenient


def test_known_fail_rates_need_no_probe(tmp_path: Path, configuration: Make, grader: object) -> None:
    path = tmp_path / "rated.jsonl"
    path.write_text(
        "".join(
            json.dumps({"query": f"What is {i} + {i}?", "answer": str(2 * i), "wrong": w}) + "\n"
            for i, w in enumerate([0.0, 0.25, 0.5])
        )
    )
    config = configuration(datasets=(DatasetSpec(str(path), fail_rate_column="wrong"),), probe=0)
    report = start(config, tmp_path / "run", grader)
    assert [report.plan.scheduler.state(i).quota for i in range(3)] == [1, 2, 3]


def test_vanilla_keeps_what_is_correct_of_a_fixed_number(configuration: Make, tmp_path: Path, grader: object) -> None:
    report = start(configuration(strategy="vanilla", k=10), tmp_path, grader)
    assert report.exported is not None
    assert report.exported.n_trials == 200


def test_datasets_tells_one_run_s_data_set_from_another_s(configuration: Make, tmp_path: Path, grader: object) -> None:
    """Its cache knows a folder by its last name and card alone, and both runs write ``dataset``."""
    import datasets

    for k in (1, 2):
        report = start(configuration(strategy="uniform", k=k), tmp_path / str(k), grader)
        folder = str(tmp_path / str(k) / "dataset")
        rows = datasets.load_dataset(folder, split="train", cache_dir=str(tmp_path / "cache"))
        assert report.exported is not None and rows.num_rows == report.exported.n_responses


def test_datasets_reads_every_part(configuration: Make, tmp_path: Path, grader: object) -> None:
    import datasets

    for form in ("jsonl", "parquet"):
        run_dir = tmp_path / form
        report = start(configuration(dataset_format=form), run_dir, grader)
        assert report.exported is not None
        folder, cache = str(run_dir / "dataset"), str(tmp_path / "cache")
        main = datasets.load_dataset(folder, split="train", cache_dir=cache)
        assert main.num_rows == report.exported.n_responses
        assert {"query", "response", "query_id", "trial", "level", "answer"} <= set(main.column_names)
        pool = datasets.load_dataset(folder, "pool", split="train", cache_dir=cache)
        assert pool.num_rows == report.exported.n_trials
        assert {"reference", "benchmark", "finish_reason", "correct", "explicit"} <= set(pool.column_names)
        assert datasets.load_dataset(folder, "queries", split="train", cache_dir=cache).num_rows == 20
