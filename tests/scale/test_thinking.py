"""A model that thinks before it answers, on real vLLM in this process, on Ray and served with a reasoning parser.

Its chat template opens the thought, where it is told to think; some thoughts do not end within the limit. However an
engine gives a thought, it lands in the same column.
"""

from __future__ import annotations

import json
import math
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from vllm_server import ENVIRONMENT, VllmServer

pytestmark = pytest.mark.slow

N_QUERIES, K, LIMIT = 4, 6, 12
TEMPLATE = "{{ bos_token }} {{ messages[0]['content'] }}{% if enable_thinking %} <think>\n{% endif %}"
CHAIN = {
    "<think>": {"hm": 1.0}, "hm": {"hm": 0.8, "</think>": 0.2}, "</think>": {"The": 1.0}, "The": {"answer": 1.0},
    "answer": {"is": 1.0}, "is": {"\\boxed{7}": 0.7, "\\boxed{8}": 0.3}, "\\boxed{7}": {"</s>": 1.0},
    "\\boxed{8}": {"</s>": 1.0},
}  # fmt: skip
"""From a token to the chances of the next one."""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model's folder: a Markov chain, written into a Llama whose attention and MLP add nothing."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("thinking") / "model"
    words = ["<unk>", "<s>", "</s>", *CHAIN]
    vocabulary = {word: number for number, word in enumerate(words)}
    own = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    own.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    own.add_tokens(["<think>", "</think>"])  # reasoning parsers look for them
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=own, unk_token="<unk>", bos_token="<s>", eos_token="</s>", chat_template=TEMPLATE
    )
    size = 64
    config = LlamaConfig(
        vocab_size=len(words), hidden_size=size, intermediate_size=size, num_hidden_layers=1, num_attention_heads=2,
        num_key_value_heads=2, max_position_embeddings=256, bos_token_id=1, eos_token_id=2, tie_word_embeddings=False,
        dtype="float32",
    )  # fmt: skip
    network = LlamaForCausalLM(config)
    with torch.no_grad():
        for parameter in network.model.layers.parameters():
            parameter.zero_()
        embeddings, head = network.model.embed_tokens.weight, network.lm_head.weight
        embeddings.copy_(torch.eye(len(words), size))  # which the norm makes sqrt(size) long
        head.fill_(-5.0)
        for word, following in CHAIN.items():
            for successor, chance in following.items():
                head[vocabulary[successor], vocabulary[word]] = math.log(chance) / math.sqrt(size)
    network.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def server(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """vLLM's API server, which takes thoughts out of the content."""
    log = tmp_path_factory.mktemp("server") / "log"
    with VllmServer(model, log, "--max-model-len", "256", "--reasoning-parser", "deepseek_r1") as served:
        served.wait()
        yield f"{served.url}/v1"


@pytest.mark.parametrize("engine", ["vllm", "ray", "openai"])
def test_thoughts_land_in_the_same_column(
    engine: str, model: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    problems = tmp_path / "sums.jsonl"
    sums = [{"query": f"What is {i} + {7 - i} ?", "answer": "7"} for i in range(N_QUERIES)]
    problems.write_text("".join(json.dumps(row) + "\n" for row in sums))
    local = ["--engine-arg", "enforce_eager=true", "--engine-arg", "max_model_len=256", "--engine-arg", "dtype=float32"]
    where = local if engine == "vllm" else ["--engine", "ray", "--replica-cpus", "0.5", *local]
    if engine == "openai":
        where = ["--engine", "openai", "--endpoint", request.getfixturevalue("server")]
    run_dir = tmp_path / "run"
    program = [sys.executable, "-c", "from synth.cli import main; main()"]
    options = [
        *where, "--model", str(model), "--dataset", str(problems), "--prompt-template", "model",
        "--chat-template-kwargs", '{"enable_thinking": true}', "--strategy", "vanilla", "-k", str(K), "--temperature",
        "1", "--top-p", "1", "--max-new-tokens", str(LIMIT), "--slots", "8", "--grade-workers", "1", "--format",
        "jsonl", "--output", str(run_dir),
    ]  # fmt: skip
    done = subprocess.run([*program, *options], env=ENVIRONMENT, capture_output=True, text=True, timeout=900)
    assert (done.returncode, done.stderr) == (0, "")
    pool = [json.loads(line) for line in (run_dir / "dataset/pool/train.jsonl").read_text().splitlines()]
    assert len(pool) == N_QUERIES * K
    for row in pool:
        assert row["reasoning"].strip().replace("hm", "").strip() == ""
        if row["response"]:
            assert re.fullmatch(r"\s*The answer is( \\boxed\{[78]\})?\s*|\s*The( answer)?\s*", row["response"])
            assert row["correct"] == ("{7}" in row["response"])
        else:
            assert row["finish_reason"] == "length" and "unfinished_thinking" in row["flags"]
        assert "boxed" in row["response"] or row["finish_reason"] == "length"
    assert {bool(row["response"]) for row in pool} == {True, False}, "some thoughts end in time, and some do not"
    kept = [json.loads(line) for line in (run_dir / "dataset/data/train.jsonl").read_text().splitlines()]
    assert {row["response"].strip() for row in kept} == {"The answer is \\boxed{7}"}
    status = subprocess.run(
        [*program, "status", str(run_dir), "--json"], env=ENVIRONMENT, capture_output=True, check=True
    )
    lengths = json.loads(status.stdout)["lengths"]
    assert lengths["n_with_thought"] == len(pool)
    assert lengths["mean_answer_tokens"] > 1 and lengths["mean_thought_tokens"] > 1
