"""The exported folder: plain, complete, and its chat template renders the training prompt token for token."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from dart_tasks.prompts import TEMPLATES, get_template
from train.export import chat_template, export_model

QUERY = "What is {{ 2 }} + '3'?\n\\boxed{} {% raw %}\n"


@pytest.mark.parametrize("bos", [True, False])
@pytest.mark.parametrize("name", TEMPLATES)
def test_the_chat_template_renders_the_prompt_token_for_token(
    name: str, bos: bool, tmp_path: Path, build_tokenizer: Callable[..., Any]
) -> None:
    tokenizer = build_tokenizer(tmp_path, bos=bos)
    tokenizer.chat_template = chat_template(get_template(name), bos)
    chat = tokenizer.apply_chat_template([{"role": "user", "content": QUERY}], add_generation_prompt=True)["input_ids"]
    assert chat == tokenizer(get_template(name).render(QUERY))["input_ids"]


def test_the_export_is_a_plain_folder(tiny_llama: Path, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(tiny_llama, dtype=torch.float32)
    model.config.use_cache = False
    tokenizer = AutoTokenizer.from_pretrained(tiny_llama)
    export_model(model, model.state_dict(), tokenizer, get_template("alpaca"), tmp_path, "bfloat16")

    config = json.loads((tmp_path / "config.json").read_text())
    assert config["use_cache"] is True and config["dtype"] == "bfloat16"
    assert json.loads((tmp_path / "generation_config.json").read_text())["eos_token_id"] == tokenizer.eos_token_id
    again = AutoModelForCausalLM.from_pretrained(tmp_path)
    assert again.dtype == torch.bfloat16
    assert again.get_input_embeddings().weight.shape == model.get_input_embeddings().weight.shape
    for name, tensor in model.state_dict().items():
        assert torch.equal(again.state_dict()[name], tensor.to(torch.bfloat16))
    assert AutoTokenizer.from_pretrained(tmp_path).chat_template
    assert not list(tmp_path.glob(".export*"))
