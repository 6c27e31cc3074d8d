"""The prompt token ids that each backend sends are those that training uses, BOS included."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from dart_tasks.prompts import get_template

TASK = "dart_math_mini_gsm8k"


def expected_ids(model: Path, task_manager: Callable[..., Any], limit: int) -> list[list[int]]:
    """The ids of the Alpaca prompts as training makes them: the tokenizer's own call, so with its BOS."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(model)
    docs = task_manager().load([TASK])["tasks"][TASK].eval_docs
    ids = [tokenizer(get_template("alpaca").render(docs[index]["query"])).input_ids for index in range(limit)]
    assert all(one[0] == tokenizer.bos_token_id and tokenizer.bos_token_id not in one[1:] for one in ids)
    return ids


def run(model: Any, task_manager: Any, limit: int) -> None:
    import lm_eval

    lm_eval.simple_evaluate(
        model, tasks=[TASK], task_manager=task_manager, limit=limit, bootstrap_iters=0, gen_kwargs="max_gen_toks=4"
    )


def test_hf_sends_the_ids_that_training_uses(
    tiny_model: Path, task_manager: Callable[..., Any], record_ids: Callable[[Any], list[list[int]]]
) -> None:
    from lm_eval.models.huggingface import HFLM

    model = HFLM(pretrained=str(tiny_model), device="cpu", batch_size=1)
    sent = record_ids(model)
    run(model, task_manager(pretrained=str(tiny_model)), 2)
    assert sorted(sent) == sorted(expected_ids(tiny_model, task_manager, 2))


@pytest.fixture
def recording_server() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """An address that answers completions requests with a fixed text, and the requests it got."""
    requests: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            requests.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            body = json.dumps({"choices": [{"index": 0, "text": "The answer is 7."}]}).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            """Keep the test's output clean."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}/v1/completions", requests
    server.shutdown()
    server.server_close()
    thread.join()


def test_local_completions_sends_them_with_the_documented_arguments(
    tiny_model: Path, task_manager: Callable[..., Any], recording_server: tuple[str, list[dict[str, Any]]]
) -> None:
    from lm_eval.models.openai_completions import LocalCompletionsAPI

    address, requests = recording_server
    arguments = {
        "model": "served",
        "tokenizer": str(tiny_model),
        "base_url": address,
        "tokenizer_backend": "huggingface",
        "add_bos_token": True,
        "max_length": 4096,
    }
    run(LocalCompletionsAPI(**arguments), task_manager(**arguments), 2)
    sent = [request["prompt"][0] for request in requests]
    assert sorted(sent) == sorted(expected_ids(tiny_model, task_manager, 2))
    assert {tuple(request["stop"][:2]) for request in requests} == {("### Instruction:", "### Response:")}
    assert {request["seed"] for request in requests} == {1234}  # why sampling needs another backend: see the docs


VLLM = """
import json, sys
import lm_eval, lm_eval.models.vllm_causallms as backend
from lm_eval.tasks import TaskManager
model_dir, configs, task = sys.argv[1:]
model = backend.VLLM(pretrained=model_dir, dtype="float32", enforce_eager=True, max_model_len=4096)
sent, generate = [], model.model.generate
def recording(prompts, *arguments, **options):
    sent.extend(list(prompt["prompt_token_ids"]) for prompt in prompts)
    return generate(prompts, *arguments, **options)
model.model.generate = recording
manager = TaskManager(include_path=configs, include_defaults=False, metadata={"pretrained": model_dir})
results = lm_eval.simple_evaluate(
    model, tasks=[task], task_manager=manager, limit=2, bootstrap_iters=0, gen_kwargs="max_gen_toks=4"
)
print(json.dumps([sent, results["results"][task]["acc,graded"]]))
"""


@pytest.mark.slow
def test_vllm_sends_them(tiny_model: Path, task_manager: Callable[..., Any], repo: Path, tmp_path: Path) -> None:
    """In a process of its own. The CPU build has no distribution named vllm, which lm-eval looks for."""
    pytest.importorskip("vllm")
    metadata = tmp_path / "vllm-0.32.0+cpu.dist-info" / "METADATA"
    metadata.parent.mkdir()
    metadata.write_text("Metadata-Version: 2.1\nName: vllm\nVersion: 0.32.0+cpu\n")
    environment = {
        **os.environ,
        "PYTHONPATH": str(tmp_path),
        "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
        "VLLM_CPU_KVCACHE_SPACE": "1",
    }
    result = subprocess.run(
        [sys.executable, "-c", VLLM, str(tiny_model), str(repo / "task_configs"), TASK],
        capture_output=True,
        text=True,
        env=environment,
        timeout=600,
    )
    assert result.returncode == 0, result.stderr[-2000:]
    sent, accuracy = json.loads(result.stdout.strip().splitlines()[-1])
    assert sorted(sent) == sorted(expected_ids(tiny_model, task_manager, 2))
    assert accuracy == 0.0
