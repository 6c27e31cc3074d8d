"""TRL's trainers call the reward from their own layout: main thread, loop's thread, two processes; texts and turns."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

SCRIPT = """
import json, sys, threading
import torch
from datasets import Dataset
from transformers import AutoModelForCausalLM, AutoTokenizer
import trl
from dart_tasks.embedded import MODEL_DIR, TRAIN_PROBLEMS
from dart_tasks.prompts import get_template
from dart_tasks.rewards.trl import accuracy_reward, async_accuracy_reward

called_in = {}

def watched(name, reward):
    def call(*args, **kwargs):
        called_in[name] = threading.current_thread() is threading.main_thread()
        return reward(*args, **kwargs)
    call.__name__ = name
    return call

async def asynchronous(*args, **kwargs):
    called_in["asynchronous"] = threading.current_thread() is threading.main_thread()
    return await async_accuracy_reward(*args, **kwargs)

problems = [json.loads(line) for line in TRAIN_PROBLEMS.read_text().splitlines()][:16]
method, column, conversational = sys.argv[3], sys.argv[4], sys.argv[5] == "turns"
rows = [
    {
        "prompt": [{"role": "user", "content": row["query"]}]
        if conversational
        else get_template("alpaca").render(row["query"]),
        column: None if index == 3 else row["answer"],
    }
    for index, row in enumerate(problems)
]
tokenizer = AutoTokenizer.from_pretrained(MODEL_DIR)
before, after = get_template("alpaca").render("QUERY").split("QUERY")
tokenizer.chat_template = "{{ " + json.dumps(before) + " + messages[0].content + " + json.dumps(after) + " }}"
config = getattr(trl, f"{method}Config")(
    output_dir=sys.argv[1], max_steps=2, per_device_train_batch_size=16, num_generations=4, max_completion_length=64,
    use_cpu=True, bf16=False, logging_steps=1, save_strategy="no", report_to="none", gradient_checkpointing=False,
    learning_rate=1e-4,
)
trainer = getattr(trl, f"{method}Trainer")(
    model=AutoModelForCausalLM.from_pretrained(MODEL_DIR, dtype=torch.float32),
    reward_funcs=[watched("synchronous", accuracy_reward), asynchronous],
    args=config,
    train_dataset=Dataset.from_list(rows),
    processing_class=tokenizer,
)
trainer.train()
if trainer.accelerator.is_main_process:
    result = {"history": trainer.state.log_history, "called_in": called_in, "n": trainer.accelerator.num_processes}
    open(sys.argv[2], "w").write(json.dumps(result))
"""


@pytest.mark.parametrize(
    ("n_processes", "method", "column", "form"),
    [(1, "GRPO", "answer", "text"), (1, "RLOO", "solution", "turns"), (2, "GRPO", "reference", "turns")],
)
def test_trainer_calls_both_forms(tmp_path: Path, n_processes: int, method: str, column: str, form: str) -> None:
    pytest.importorskip("trl", reason="trl is not installed")
    script, result = tmp_path / "train.py", tmp_path / "result.json"
    script.write_text(SCRIPT, encoding="utf-8")
    launcher = [] if n_processes == 1 else ["-m", "torch.distributed.run", "--nproc_per_node", str(n_processes)]
    command = [sys.executable, *launcher, str(script), str(tmp_path / "run"), str(result), method, column, form]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=900, check=False)
    assert ended.returncode == 0, ended.stderr[-3000:]
    found = json.loads(result.read_text(encoding="utf-8"))
    assert found["n"] == n_processes
    assert found["called_in"] == {"synchronous": True, "asynchronous": False}  # the latter off the main thread
    steps = [row for row in found["history"] if "reward" in row]
    assert len(steps) == 2
    for step in steps:
        synchronous, asynchronous = (step[f"rewards/{name}/mean"] for name in ("synchronous", "asynchronous"))
        assert synchronous == asynchronous
        assert 0 < step["verifier/explicit"] <= 1
    assert any(step["rewards/synchronous/mean"] > 0 for step in steps)
