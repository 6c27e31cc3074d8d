"""Data sets as conversations, through the command: what is written, and who reads it as it is."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from served import completion, number_of, options, rows


@pytest.fixture
def thinking(make_server: Any) -> str:
    """The address of a server whose every response has a thought of its own, but for those to problem 2."""
    count = iter(range(1000))

    async def think(body: dict[str, Any], request: web.Request) -> web.StreamResponse:
        number, query = next(count), number_of(body)
        apart = {} if query == 2 else {"reasoning_content": f"Thought {number}."}
        return completion(body, f"So \\boxed{{{query}}}, {number}.", **apart)

    return str(make_server(think).url)


def expected(row: dict[str, Any], keep: bool, thoughts_in: str) -> list[dict[str, Any]]:
    """The conversation of a row of the pool."""
    content, thought = row["response"], row["reasoning"] if keep else None
    if thought and thoughts_in == "content":
        content = f"<think>\n{thought}\n</think>\n\n{content}"
    turns = [{"role": "user", "content": row["query"]}, {"role": "assistant", "content": content}]
    if keep and thoughts_in != "content":
        turns = [{**turn, "reasoning_content": None} for turn in turns]
        turns[-1]["reasoning_content"] = thought
    return turns


@pytest.mark.parametrize(("keep", "thoughts_in"), [(False, ""), (True, "content"), (True, "reasoning_content")])
def test_conversations_are_what_the_pool_says_and_datasets_loads_them(
    thinking: str, dart_synth: Any, tmp_path: Path, keep: bool, thoughts_in: str
) -> None:
    import datasets

    form = ["--format", "messages", *(["--keep-thinking"] if keep else [])]
    form += ["--thinking-in", thoughts_in] if thoughts_in == "reasoning_content" else []  # the other is the default
    run_dir = tmp_path / "run"
    done = dart_synth(*options(thinking, tmp_path), "--prompt-template", "model", *form)
    assert done.code == 0, done.err
    pool = datasets.load_dataset(str(run_dir / "dataset"), "pool", split="train", cache_dir=str(tmp_path / "cache"))
    assert dart_synth("curate", run_dir, *form, "-k", 9, "--decontaminate", "off", "--output", tmp_path / "o").code == 0
    for folder in (run_dir / "dataset", tmp_path / "o"):
        table = datasets.load_dataset(str(folder), split="train", cache_dir=str(tmp_path / folder.name))
        assert "query" not in table.column_names and "response" not in table.column_names
        assert [row["messages"] for row in table] == [expected(row, keep, thoughts_in) for row in pool]
    # Another format in the same place leaves nothing of this one.
    assert dart_synth(*options(thinking, tmp_path), "--prompt-template", "model", *form[2:3]).code == 0
    assert len(rows(run_dir)) == 16 and {path.name for path in run_dir.rglob("train.*")} == {"train.jsonl"}


def test_where_thoughts_go_is_asked_for_in_vain_without_them(thinking: str, dart_synth: Any, tmp_path: Path) -> None:
    done = dart_synth(*options(thinking, tmp_path), "--thinking-in", "reasoning_content")
    assert done.code == 2 and "--thinking-in goes with --format messages and --keep-thinking" in done.err


@pytest.mark.filterwarnings("ignore::UserWarning")  # torch's, about how it was built
@pytest.mark.parametrize("thoughts_in", ["content", "reasoning_content"])
def test_our_own_training_reads_them_as_they_are(
    thinking: str, dart_synth: Any, tmp_path: Path, thoughts_in: str
) -> None:
    """The loss is on all that the assistant wrote, thoughts included."""
    from transformers import AutoTokenizer

    from dart_tasks.embedded import MODEL_DIR
    from train.data import TrainingSet, encode

    form = ["--format", "messages", "--keep-thinking", "--thinking-in", thoughts_in, "--prompt-template", "model"]
    assert dart_synth(*options(thinking, tmp_path), *form, "--system-message", "Be brief.").code == 0
    tokenizer = AutoTokenizer.from_pretrained(MODEL_DIR)
    tokenizer.chat_template = (
        "{% for m in messages %}{{ m['role'] + ': ' }}{% if m.reasoning_content %}{{ '<think>\\n' + "
        "m.reasoning_content + '\\n</think>\\n\\n' }}{% endif %}{{ m['content'] + eos_token }}{% endfor %}"
        "{% if add_generation_prompt %}{{ 'assistant: ' }}{% endif %}"
    )
    made = encode([TrainingSet(str(tmp_path / "run" / "dataset"))], tokenizer, tmp_path / "cache")
    assert len(made) == 16
    for index in range(16):
        tokens, is_target = made.sample(index)
        query, number = index // 4, rows_of(tmp_path / "run" / "dataset")[index]["response"].split()[-1]
        thought = f"<think>\nThought {number}\n</think>\n\n" if query != 2 else ""
        head, tail = (tokenizer.decode(tokens[side].tolist()) for side in (~is_target, is_target))
        assert head.endswith(f"system: Be brief.</s>user: What is {query} + 0?</s>assistant: ")
        assert tail == f"{thought}So \\boxed{{{query}}}, {number}</s>"


def rows_of(dataset: Path) -> list[dict[str, Any]]:
    import pyarrow.parquet as pq

    return list(pq.read_table(dataset / "pool" / "train.parquet").to_pylist())


TRAIN = """
import json, sys
import torch
from datasets import load_dataset
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import SFTConfig, SFTTrainer
from dart_tasks.embedded import MODEL_DIR

tokenizer = AutoTokenizer.from_pretrained(MODEL_DIR)
# As the templates of today's reasoning models: a thought in its own field comes before the content.
tokenizer.chat_template = (
    "{% for m in messages %}{{ m['role'] + ': ' }}{% if m.reasoning_content is string %}{{ '<think>\\\\n' + "
    "m.reasoning_content + '\\\\n</think>\\\\n\\\\n' }}{% endif %}{{ m['content'] + eos_token }}{% endfor %}"
)
trainer = SFTTrainer(
    model=AutoModelForCausalLM.from_pretrained(MODEL_DIR, dtype=torch.float32),
    args=SFTConfig(sys.argv[2], max_steps=1, per_device_train_batch_size=2, use_cpu=True, bf16=False, report_to="none",
                   gradient_checkpointing=False, save_strategy="no"),
    train_dataset=load_dataset(sys.argv[1], split="train", cache_dir=sys.argv[2] + "/cache"),
    processing_class=tokenizer,
)
texts = [tokenizer.decode(row["input_ids"]) for row in trainer.train_dataset]
trainer.train()
print(json.dumps([texts, trainer.state.log_history]))
"""


@pytest.mark.slow
@pytest.mark.parametrize("thoughts_in", ["content", "reasoning_content"])
def test_trls_sft_trainer_reads_them_as_they_are(
    thinking: str, dart_synth: Any, tmp_path: Path, thoughts_in: str
) -> None:
    pytest.importorskip("trl")
    form = ["--format", "messages", "--keep-thinking", "--thinking-in", thoughts_in]
    assert dart_synth(*options(thinking, tmp_path), "--prompt-template", "model", *form).code == 0
    script = tmp_path / "train.py"
    script.write_text(TRAIN)
    program = [sys.executable, str(script), str(tmp_path / "run" / "dataset"), str(tmp_path / "out")]
    done = subprocess.run(program, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-3000:]
    texts, history = json.loads(done.stdout.splitlines()[-1])
    assert len(texts) == 16 and history[-1]["train_loss"] > 0
    for index, text in enumerate(texts):
        query = index // 4
        assert f"user: What is {query} + 0?</s>assistant: " in text
        assert ("<think>\nThought" in text) == (query != 2)
        assert f"So \\boxed{{{query}}}" in text.rpartition("assistant: ")[2]
