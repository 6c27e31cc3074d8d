"""Shared parts of the task tests: an lm-eval model that answers from the documents, and a finished run of one."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

REPO = Path(__file__).resolve().parents[2]
Answer = Callable[[dict[str, Any], int], str]


def make_model(answer: Answer) -> Any:
    """An lm-eval model whose response to a document's trial is ``answer(doc, trial)``."""
    from lm_eval.api.model import LM

    class Answering(LM):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.requests: list[Any] = []

        def generate_until(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[str]:
            self.requests = list(requests)
            trials: dict[str, int] = {}
            responses = []
            for request in requests:
                trial = trials.setdefault(request.doc["id"], 0)
                trials[request.doc["id"]] += 1
                responses.append(answer(request.doc, trial))
            return responses

        def loglikelihood(self, requests: Sequence[Any]) -> list[tuple[float, bool]]:
            raise NotImplementedError

        def loglikelihood_rolling(self, requests: Sequence[Any]) -> list[float]:
            raise NotImplementedError

    return Answering()


def reference_text(doc: dict[str, Any]) -> str:
    """A document's reference as a model would write it: no dollars around the whole."""
    value = json.loads(doc["reference"])
    text = value if isinstance(value, str) else str(value)
    return text[1:-1] if text.count("$") == 2 and text[0] == text[-1] == "$" else text


@pytest.fixture(scope="session")
def task_manager() -> Callable[..., Any]:
    """A task manager that knows our tasks only (reading lm-eval's 14,000 takes ten seconds)."""
    from lm_eval.tasks import TaskManager

    def make(**metadata: Any) -> Any:
        return TaskManager(include_path=str(REPO / "task_configs"), include_defaults=False, metadata=metadata)

    return make


@pytest.fixture(scope="session")
def evaluate(task_manager: Callable[..., Any]) -> Callable[..., dict[str, Any]]:
    """Run lm-eval on some of our tasks with a model that answers from the documents."""

    def run(
        tasks: Sequence[str], answer: Answer, metadata: dict[str, Any] | None = None, **options: Any
    ) -> dict[str, Any]:
        import lm_eval

        results = lm_eval.simple_evaluate(
            make_model(answer),
            tasks=list(tasks),
            task_manager=task_manager(**(metadata or {})),
            bootstrap_iters=options.pop("bootstrap_iters", 10),
            **options,
        )
        assert results is not None
        return dict(results)

    return run


def save_run(results: dict[str, Any], folder: Path, model: str) -> Path:
    """Write results and samples as ``lm_eval --output_path --log_samples`` does; the path of the results file."""
    from lm_eval.loggers import EvaluationTracker

    samples = results.pop("samples")
    tracker = EvaluationTracker(output_path=str(folder))
    tracker.general_config_tracker.log_experiment_args("hf", f"pretrained={model}", "", "", False)
    results["config"]["model_args"] = f"pretrained={model}"
    tracker.save_results_aggregated(results=results, samples=samples)
    for task in results["configs"]:
        tracker.save_results_samples(task_name=task, samples=samples[task])
    return next(folder.glob("**/results_*.json"))
