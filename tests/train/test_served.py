"""An exported model, served and evaluated as it is: every backend gives it the prompt tokens that training gave it.

The embedded base model is fine-tuned for two steps on the queries of a benchmark, exported, and served by vLLM.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from dart_tasks import embedded
from train.data import TrainingSet, encode, load_columns
from train.sft import main

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::UserWarning")]

TASK, N_DOCS, TIME_LIMIT_S = "dart_math_mini_gsm8k", 3, 600


@pytest.fixture(scope="module")
def task_manager(repo: Path) -> Callable[..., Any]:
    """A task manager that knows our tasks only."""
    from lm_eval.tasks import TaskManager

    def make(**metadata: Any) -> Any:
        return TaskManager(include_path=str(repo / "task_configs"), include_defaults=False, metadata=metadata)

    return make


@pytest.fixture(scope="module")
def queries(task_manager: Callable[..., Any]) -> list[str]:
    """The first queries of the benchmark."""
    docs = task_manager().load([TASK])["tasks"][TASK].eval_docs
    return [docs[index]["query"] for index in range(N_DOCS)]


@pytest.fixture(scope="module")
def data(queries: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset of the queries, each with an answer."""
    path = tmp_path_factory.mktemp("served") / "train.jsonl"
    path.write_text("".join(json.dumps({"query": q, "response": "The answer is \\boxed{7}."}) + "\n" for q in queries))
    return path


@pytest.fixture(scope="module")
def exported(data: Path) -> Path:
    """The fine-tuned model, straight from ``train/sft.py``."""
    paths = ["--recipe", "demo", "--data", str(data), "--output_dir", str(data.parent / "model")]
    assert main([*paths, "--max_steps", "2", "--save_strategy", "no", "--report_to", "none"]) == 0
    return data.parent / "model"


@pytest.fixture(scope="module")
def trained_ids(data: Path) -> list[list[int]]:
    """The prompts' tokens as they were trained on: those of the base model's tokenizer."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(embedded.BASE_MODEL_DIR)
    encoded = encode([TrainingSet(str(data))], tokenizer, data.parent / "cache")
    samples = [encoded.sample(index) for index in range(len(encoded))]
    return [ids[~is_target].tolist() for ids, is_target in samples]


@pytest.fixture(scope="module")
def server(exported: Path) -> Iterator[str]:
    """vLLM's API server on the exported folder; its address."""
    with serve(exported, exported.parent / "server.log", "--served-model-name", "tuned") as url:
        yield url


@contextlib.contextmanager
def serve(model: Path, log: Path, *flags: str) -> Iterator[str]:
    """vLLM's API server on ``model``; its address."""
    pytest.importorskip("vllm")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        *(sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", str(model)),
        *("--host", "127.0.0.1", "--port", str(port), *flags),
        *("--enforce-eager", "--max-model-len", "1024", "--max-num-seqs", "4"),
    ]
    environment = {
        **os.environ,
        "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
        "VLLM_CPU_KVCACHE_SPACE": "1",
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
        "VLLM_NO_USAGE_STATS": "1",
    }
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, env=environment, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )
    url = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + TIME_LIMIT_S
        while True:
            try:
                urllib.request.urlopen(f"{url}/health", timeout=5).close()
                break
            except (urllib.error.URLError, OSError):
                assert process.poll() is None and time.monotonic() < deadline, log.read_text(errors="replace")[-2000:]
                time.sleep(0.5)
        yield url
    finally:
        os.killpg(process.pid, signal.SIGKILL)  # the server's engine is a process of its own and would outlive it
        process.wait()


def ask(url: str, **body: Any) -> dict[str, Any]:
    """One greedy request that asks for the prompt's tokens as the engine got them."""
    content = {"model": "tuned", "temperature": 0, "max_tokens": 4, "return_token_ids": True, **body}
    request = urllib.request.Request(url, json.dumps(content).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=120) as answer:
        return dict(json.load(answer))


def test_the_chat_endpoint_gives_the_engine_the_trained_tokens(
    server: str, queries: list[str], trained_ids: list[list[int]]
) -> None:
    url = f"{server}/v1/chat/completions"
    answers = [ask(url, messages=[{"role": "user", "content": query}]) for query in queries]
    assert [answer["prompt_token_ids"] for answer in answers] == trained_ids
    assert all(answer["choices"][0]["message"]["content"] for answer in answers)


def evaluate(model: Any, manager: Any) -> float:
    import lm_eval

    results = lm_eval.simple_evaluate(
        model, tasks=[TASK], task_manager=manager, limit=N_DOCS, bootstrap_iters=0, gen_kwargs="max_gen_toks=4"
    )
    assert results is not None
    return float(results["results"][TASK]["acc,graded"])


def test_local_completions_sends_them_and_the_server_takes_them_as_they_are(
    server: str, exported: Path, trained_ids: list[list[int]], task_manager: Callable[..., Any]
) -> None:
    from lm_eval.models.openai_completions import LocalCompletionsAPI

    sent: list[list[int]] = []

    class Recording(LocalCompletionsAPI):  # type: ignore[misc]
        def _create_payload(self, messages: Any, *arguments: Any, **options: Any) -> Any:
            sent.extend(messages)
            return super()._create_payload(messages, *arguments, **options)

    arguments = {
        "model": "tuned",
        "tokenizer": str(exported),
        "base_url": f"{server}/v1/completions",
        "tokenizer_backend": "huggingface",
        "add_bos_token": True,
        "max_length": 1024,
    }
    assert 0.0 <= evaluate(Recording(**arguments), task_manager(**arguments)) <= 1.0
    assert sorted(sent) == sorted(trained_ids)
    answers = [ask(f"{server}/v1/completions", prompt=ids) for ids in trained_ids]
    assert [answer["choices"][0]["prompt_token_ids"] for answer in answers] == trained_ids


def test_hf_loads_the_folder_and_sends_them(
    exported: Path,
    trained_ids: list[list[int]],
    task_manager: Callable[..., Any],
    record_ids: Callable[[Any], list[list[int]]],
) -> None:
    from lm_eval.models.huggingface import HFLM

    model = HFLM(pretrained=str(exported), device="cpu", batch_size=1)
    sent = record_ids(model)
    assert 0.0 <= evaluate(model, task_manager(pretrained=str(exported))) <= 1.0
    assert sorted(sent) == sorted(trained_ids)
    assert str(model.model.dtype) == "torch.bfloat16" and model.model.config.use_cache


def test_adapter_and_merged_weights_are_served_and_evaluated_alike(
    data: Path, trained_ids: list[list[int]], task_manager: Callable[..., Any]
) -> None:
    """The adapter beside its base model and the merged folder give the same greedy texts, other than the base model."""
    from lm_eval.models.huggingface import HFLM
    from lm_eval.models.openai_completions import LocalCompletionsAPI

    folder = data.parent / "lora"
    paths = ["--recipe", "demo", "--data", str(data), "--output_dir", str(folder), "--lora", "r=8"]
    training = ["--max_steps", "12", "--learning_rate", "0.01", "--save_strategy", "no", "--report_to", "none"]
    assert main([*paths, *training, "--export-dtype", "float32"]) == 0
    base = embedded.BASE_MODEL_DIR
    beside = ["--enable-lora", "--max-lora-rank", "8", "--lora-modules", f"tuned={folder / 'adapter'}"]
    texts: dict[str, list[str]] = {}
    for name, model, flags in (("merged", folder, ["--served-model-name", "tuned"]), ("adapter", base, beside)):
        with serve(model, data.parent / f"{name}.log", "--dtype", "float32", *flags) as url:
            address = f"{url}/v1/completions"
            texts[name] = [ask(address, prompt=ids, max_tokens=12)["choices"][0]["text"] for ids in trained_ids]
            if name == "adapter":
                texts["base"] = [
                    ask(address, prompt=ids, max_tokens=12, model=str(base))["choices"][0]["text"]
                    for ids in trained_ids
                ]
            arguments = {"model": "tuned", "tokenizer": str(base), "base_url": address, "max_length": 1024}
            served = LocalCompletionsAPI(**arguments, tokenizer_backend="huggingface", add_bos_token=True)
            assert 0.0 <= evaluate(served, task_manager(**arguments)) <= 1.0
    assert texts["adapter"] == texts["merged"] != texts["base"]
    for arguments in ({"pretrained": str(folder)}, {"pretrained": str(base), "peft": str(folder / "adapter")}):
        local = HFLM(**arguments, device="cpu", batch_size=1, dtype="float32")
        prompts = [torch.tensor([ids]) for ids in trained_ids]
        outputs = [local.model.generate(ids, max_new_tokens=12, do_sample=False)[0, ids.shape[1] :] for ids in prompts]
        assert [local.tokenizer.decode(ids, skip_special_tokens=True) for ids in outputs] == texts["merged"]
        assert 0.0 <= evaluate(local, task_manager(**arguments)) <= 1.0


def test_conversations_of_dart_synth_are_trained_and_served_token_for_token(tmp_path: Path) -> None:
    """From ``dart-synth --format messages`` and a set of several turns with a system message, by the commands."""
    from lm_eval.models.huggingface import HFLM
    from transformers import AutoTokenizer

    synth = [sys.executable, "-c", "from synth.cli import main; main()", "--preset", "demo", "--limit", "12", "-k", "2"]
    synth += ["--max-trials", "8", "--probe", "4", "--format", "messages", "--output", "run"]
    done = subprocess.run(synth, cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    turns = [("system", "Be brief."), ("user", "1+1?"), ("assistant", "2"), ("user", "2+2?"), ("assistant", "4")]
    talk = [{"role": role, "content": content} for role, content in turns]
    (tmp_path / "talk.jsonl").write_text(json.dumps({"messages": talk}) + "\n")
    sources, folder = [str(tmp_path / "run" / "dataset"), str(tmp_path / "talk.jsonl")], tmp_path / "model"
    data = [word for source in sources for word in ("--data", source)]
    training = ["--max_steps", "2", "--save_strategy", "no", "--report_to", "none", "--output_dir", str(folder)]
    command = [sys.executable, "-m", "train.sft", "--recipe", "demo", *data, "--chat-template", "alpaca", *training]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "(conversations, alpaca chat template)" in done.stdout and "example (next prompt: no loss)" in done.stdout

    tokenizer = AutoTokenizer.from_pretrained(embedded.BASE_MODEL_DIR)
    sets = [TrainingSet(source, chat_template="alpaca") for source in sources]
    encoded = encode(sets, tokenizer, tmp_path / "cache")
    table = load_columns(sets[0], tmp_path / "cache")[0].to_pylist()
    asked: list[tuple[list[dict[str, str]], list[int]]] = []
    for index, messages in [*enumerate(table[:2]), (len(encoded) - 1, talk)]:
        ids, is_target = encoded.sample(index)
        starts = (is_target[1:] & ~is_target[:-1]).nonzero()[0] + 1
        prompts = [messages[:i] for i, message in enumerate(messages) if message["role"] == "assistant"]
        asked += [(prompt, ids[:start].tolist()) for prompt, start in zip(prompts, starts, strict=True)]
    assert len(asked) == 4
    with serve(folder, tmp_path / "server.log", "--served-model-name", "tuned") as url:
        answers = [ask(f"{url}/v1/chat/completions", messages=prompt) for prompt, _ in asked]
    assert [answer["prompt_token_ids"] for answer in answers] == [ids for _, ids in asked]
    local = HFLM(pretrained=str(folder), device="cpu", batch_size=1)
    texts = [local.apply_chat_template(prompt) for prompt, _ in asked]
    assert [local.tok_encode(text, add_special_tokens=False) for text in texts] == [ids for _, ids in asked]
