"""Shared parts of the task tests: an lm-eval model that answers from the documents, and a finished run of one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
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


@pytest.fixture(scope="session")
def task_manager() -> Callable[..., Any]:
    """A task manager that knows our tasks only (reading lm-eval's 14,000 takes ten seconds)."""
    from lm_eval.tasks import TaskManager

    def make(**metadata: Any) -> Any:
        return TaskManager(include_path=str(REPO / "task_configs"), include_defaults=False, metadata=metadata)

    return make


@pytest.fixture(scope="session")
def evaluate(evaluate_with: Callable[..., dict[str, Any]]) -> Callable[..., dict[str, Any]]:
    """Run lm-eval on some of our tasks with a model that answers from the documents."""
    return partial(evaluate_with, REPO / "task_configs")


@pytest.fixture(scope="session")
def evaluate_with() -> Callable[..., dict[str, Any]]:
    """The same with the tasks of any one folder."""

    def run(
        folder: Path, tasks: Sequence[str], answer: Answer, metadata: dict[str, Any] | None = None, **options: Any
    ) -> dict[str, Any]:
        import lm_eval
        from lm_eval.tasks import TaskManager

        results = lm_eval.simple_evaluate(
            make_model(answer),
            tasks=list(tasks),
            task_manager=TaskManager(include_path=str(folder), include_defaults=False, metadata=metadata or {}),
            bootstrap_iters=options.pop("bootstrap_iters", 10),
            **options,
        )
        assert results is not None
        return dict(results)

    return run


@pytest.fixture(scope="session")
def save_run() -> Callable[[dict[str, Any], Path, str], Path]:
    """Write results and samples as ``lm_eval --output_path --log_samples`` does."""

    def save(results: dict[str, Any], folder: Path, model: str) -> Path:
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

    return save


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random two-layer Llama with a byte-level tokenizer that adds BOS, as Llama's does."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: index for index, token in enumerate(["<s>", "</s>", *letters])}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
    folder = tmp_path_factory.mktemp("tiny_model")
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>").save_pretrained(folder)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(vocabulary),
        hidden_size=128,
        intermediate_size=256,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=4096,
        bos_token_id=0,
        eos_token_id=1,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder
