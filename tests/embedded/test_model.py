"""The embedded models: small, loadable, prompted as they were trained, and as strong and as weak as they should be."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from dart_tasks.embedded import BASE_MODEL_DIR, HELDOUT_PROBLEMS, MODEL_DIR
from dart_tasks.prompts import get_template

torch = pytest.importorskip("torch")


def _load(folder: Path) -> tuple[Any, Any]:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32), AutoTokenizer.from_pretrained(folder)


@pytest.mark.parametrize("folder", [MODEL_DIR, BASE_MODEL_DIR], ids=["model", "base_model"])
def test_model_is_a_small_llama_with_4096_positions(folder: Path) -> None:
    model, tokenizer = _load(folder)
    assert model.config.model_type == "llama"
    assert 0.5e6 < sum(p.numel() for p in model.parameters()) < 3e6
    assert model.config.max_position_embeddings == tokenizer.model_max_length == 4096
    assert model.config.use_cache
    assert sum(file.stat().st_size for file in folder.iterdir()) < 4e6


def test_chat_template_renders_the_alpaca_prompt_token_for_token() -> None:
    _, tokenizer = _load(MODEL_DIR)
    query = "What is 17 + 25?"
    prompt = get_template("alpaca").render(query)
    chat = tokenizer.apply_chat_template([{"role": "user", "content": query}], return_dict=False)
    assert chat == tokenizer(prompt).input_ids
    assert chat.count(tokenizer.bos_token_id) == 1


def test_tokenizer_keeps_any_text() -> None:
    _, tokenizer = _load(MODEL_DIR)
    text = "Zoë has $3.50 — that's \\frac{7}{2}!\n\tπ ≈ 3.14"
    assert tokenizer.decode(tokenizer.encode(text, add_special_tokens=False)) == text


def _greedy_accuracy(folder: Path, per_level: int) -> list[float]:
    """Share of held-out problems of each level answered correctly by greedy decoding."""
    model, tokenizer = _load(folder)
    tokenizer.padding_side = "left"
    problems = [json.loads(line) for line in HELDOUT_PROBLEMS.read_text(encoding="utf-8").splitlines()]
    accuracy = []
    for level in range(1, 6):
        chosen = [problem for problem in problems if problem["level"] == level][:per_level]
        prompts = [get_template("alpaca").render(problem["query"]) for problem in chosen]
        inputs = tokenizer(prompts, return_tensors="pt", padding=True)
        output = model.generate(
            input_ids=inputs.input_ids, attention_mask=inputs.attention_mask, max_new_tokens=160, do_sample=False
        )
        texts = tokenizer.batch_decode(output[:, inputs.input_ids.shape[1] :], skip_special_tokens=True)
        found = [re.search(r"\\boxed\{(\d+)\}", text) for text in texts]
        right = [m is not None and m[1] == p["answer"] for m, p in zip(found, chosen, strict=True)]
        accuracy.append(sum(right) / len(right))
    return accuracy


@pytest.mark.slow
def test_accuracy_falls_from_near_one_to_near_zero_with_the_level() -> None:
    accuracy = _greedy_accuracy(MODEL_DIR, per_level=50)
    assert accuracy[0] > 0.9
    assert accuracy[4] < 0.5
    assert min(accuracy[:3]) > accuracy[3] > accuracy[4]


@pytest.mark.slow
def test_base_model_is_the_weaker_one() -> None:
    strong, weak = (sum(_greedy_accuracy(folder, per_level=50)) / 5 for folder in (MODEL_DIR, BASE_MODEL_DIR))
    assert 0.1 < weak < strong - 0.1
