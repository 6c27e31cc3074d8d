"""Every figure of a report computed once more, from the logged samples alone, by the formulas of textbooks."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from scipy import stats

from dart_tasks.report.cli import command

TASK = "dart_math_mini_math"
K = 4


def rows_of(results: Path, task: str) -> list[dict[str, Any]]:
    """Per item of a log: its id, metadata, and the answers and verdicts on its responses."""
    rows = []
    for line in next(results.parent.glob(f"samples_{task}_*.jsonl")).read_text().split("\n"):
        if line:
            sample = json.loads(line)
            verdicts = json.loads(sample["filtered_resps"][0])["verdicts"]
            rows.append(
                {
                    "id": sample["doc"]["id"],
                    "metadata": json.loads(sample["doc"]["metadata"]),
                    "right": np.array([verdict["correct"] for verdict in verdicts]),
                    "answers": [verdict["answer"] for verdict in verdicts],
                }
            )
    return rows


@pytest.fixture(scope="module")
def recorded(
    evaluate: Callable[..., dict[str, Any]],
    save_run: Callable[[dict[str, Any], Path, str], Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[list[Path], dict[str, Any]]:
    """Three runs (two of four responses, one of one) whose answers are right, or one of two wrong ones; their JSON."""
    folder = tmp_path_factory.mktemp("again")

    def model(seed: int, odds: float) -> Callable[[dict[str, Any], int], str]:
        random = np.random.default_rng(seed)

        def answer(doc: dict[str, Any], trial: int) -> str:
            found = json.loads(doc["reference"]) if random.random() < odds else random.choice(["77777", "88888"])
            return f"The answer is $\\boxed{{{found}}}$."

        return answer

    paths = []
    for seed, odds, k in ((0, 0.35, K), (1, 0.6, K), (2, 0.5, 1)):
        metadata = {"k": k, "temperature": 1.0} if k > 1 else {}
        results = evaluate([TASK], model(seed, odds), metadata, bootstrap_iters=0)
        paths.append(save_run(results, folder / str(seed), f"org/model-{seed}"))
    out = folder / "report.json"
    result = CliRunner().invoke(command, [*map(str, paths), "--json", str(out)])
    assert result.exit_code == 0, result.output
    return paths, json.loads(out.read_text())


def tied_vote(answers: list[str], right: np.ndarray) -> float:
    counts = Counter(answers)
    best = [answer for answer, count in counts.items() if count == max(counts.values())]
    return sum(bool(right[answers.index(answer)]) for answer in best) / len(best)


def test_scores_of_k_responses(recorded: tuple[list[Path], dict[str, Any]]) -> None:
    paths, data = recorded
    n_ties = 0
    for path, run in zip(paths[:2], data["runs"][:2], strict=True):
        (task,) = run["tasks"]
        rows, scores = rows_of(path, task["task"]), task["scores"]
        right = np.array([row["right"] for row in rows])
        assert right.shape == (task["n_items"], K) == (26, K)
        means = right.mean(1)
        expected = {"acc": means, f"mean@{K}": means, f"maj@{K}": [tied_vote(r["answers"], r["right"]) for r in rows]}
        for k in (2, 4):  # pass@k by counting subsets, not by the closed form
            subsets = list(combinations(range(K), k))
            expected[f"pass@{k}"] = [np.mean([row[list(subset)].any() for subset in subsets]) for row in right]
        for name, values in expected.items():
            assert scores[name]["value"] == pytest.approx(np.mean(values), abs=1e-9), name
            if scores[name]["stderr"] is not None:
                assert scores[name]["stderr"] == pytest.approx(stats.sem(values), rel=1e-6), name
        n_ties += sum(0 < credit < 1 for credit in expected[f"maj@{K}"])
    assert n_ties >= 3


def test_groups_have_wilson_intervals(recorded: tuple[list[Path], dict[str, Any]]) -> None:
    paths, data = recorded
    (task,) = data["runs"][2]["tasks"]
    rows = rows_of(paths[2], task["task"])
    assert task["groups"]
    for group in task["groups"]:
        members = [row["right"].mean() for row in rows if str(row["metadata"][group["facet"]]) == group["name"]]
        low, high = stats.binomtest(round(sum(members)), len(members)).proportion_ci(method="wilson")
        assert (group["n_items"], group["accuracy"]) == (len(members), pytest.approx(np.mean(members)))
        assert group["interval"] == pytest.approx([low, high], abs=1e-6)


def test_comparisons_intervals_and_holm(recorded: tuple[list[Path], dict[str, Any]]) -> None:
    paths, data = recorded
    accuracies = {}
    for path, run in zip(paths, data["runs"], strict=True):
        (task,) = run["tasks"]
        accuracies[run["label"]] = {row["id"]: row["right"].mean() for row in rows_of(path, task["task"])}
    random = np.random.default_rng(123)
    assert len(data["comparisons"]) == 3
    for found in data["comparisons"]:
        first, second = accuracies[found["first"]], accuracies[found["second"]]
        differences = np.array([second[item] - first[item] for item in sorted(first)])
        assert found["difference"] == pytest.approx(differences.mean())
        draws = random.choice(differences, (20_000, len(differences))).mean(1)  # item by item, unlike ours
        assert [found["low"], found["high"]] == pytest.approx(np.quantile(draws, (0.025, 0.975)), abs=0.025)
        flips = random.choice((-1, 1), (50_000, len(differences))) * differences
        extreme = (np.abs(flips.mean(1)) >= abs(differences.mean()) - 1e-12).mean()
        assert found["test"] == "sign-flip" and found["p_value"] == pytest.approx(extreme, abs=0.01)
        (listed,) = [
            row for row in data["differences"] if (row["first"], row["second"]) == (found["first"], found["second"])
        ]
        assert listed["first_better"] == [item for item in sorted(first) if first[item] > second[item]]
        assert listed["second_better"] == [item for item in sorted(first) if first[item] < second[item]]
    raw = np.array([found["p_value"] for found in data["comparisons"]])
    order = raw.argsort()
    holm = np.minimum(np.maximum.accumulate(raw[order] * np.arange(len(raw), 0, -1)), 1)
    assert [data["comparisons"][place]["corrected_p"] for place in order] == pytest.approx(list(holm))
    assert [found["significant"] for found in data["comparisons"]] == [
        found["corrected_p"] < 0.05 for found in data["comparisons"]
    ]


def test_items_of_one_response_are_compared_by_mcnemar(
    recorded: tuple[list[Path], dict[str, Any]], tmp_path: Path
) -> None:
    """The first response alone of each of the first two runs, as a log of its own."""
    paths, _ = recorded
    logs, right = [], []
    for path in paths[:2]:
        folder = tmp_path / path.parent.name
        folder.mkdir()
        samples = next(path.parent.glob("samples_*.jsonl"))
        rows = [json.loads(line) for line in samples.read_text().split("\n") if line]
        for row in rows:
            graded = json.loads(row["filtered_resps"][0])
            row["resps"] = [row["resps"][0][:1]]
            row["filtered_resps"] = [json.dumps({"verdicts": graded["verdicts"][:1]})]
        right.append({row["doc"]["id"]: json.loads(row["filtered_resps"][0])["verdicts"][0]["correct"] for row in rows})
        (folder / samples.name).write_text("".join(json.dumps(row) + "\n" for row in rows))
        logs.append(folder / samples.name)
    out = tmp_path / "out.json"
    assert CliRunner().invoke(command, [*map(str, logs), "--json", str(out)]).exit_code == 0
    (found,) = json.loads(out.read_text())["comparisons"]
    only_first = sum(right[0][item] and not right[1][item] for item in right[0])
    only_second = sum(right[1][item] and not right[0][item] for item in right[0])
    assert (found["test"], found["only_first"], found["only_second"]) == ("McNemar", only_first, only_second)
    assert found["p_value"] == pytest.approx(stats.binomtest(only_first, only_first + only_second).pvalue)
