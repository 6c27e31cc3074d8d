"""The exported folder: plain, complete, and its chat template renders the training prompt token for token."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from dart_tasks.prompts import TEMPLATES, get_template
from train.chat import chat_template
from train.export import Fetch, by_layer, export_model
from train.sharding import untied


def held(state: dict[str, torch.Tensor]) -> tuple[list[str], Fetch]:
    """The names of a state in memory, and how to get its tensors."""
    return list(state), lambda names: {name: state[name] for name in names}


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


def test_the_chat_template_takes_a_system_message_and_a_conversation(
    tmp_path: Path, build_tokenizer: Callable[..., Any]
) -> None:
    """It raised an error on a system message, which many clients send."""
    tokenizer = build_tokenizer(tmp_path)
    tokenizer.chat_template = chat_template(get_template("plain"), True)
    turns = [("system", "Be brief."), ("user", "1+1?"), ("assistant", "2"), ("user", "2+2?")]
    text = tokenizer.apply_chat_template([{"role": role, "content": text} for role, text in turns], tokenize=False)
    assert text == "<s>Be brief.\n\nQuestion: 1+1?\nAnswer:2</s>Question: 2+2?\nAnswer:"


def test_tied_weights_are_written_once_and_readable_by_all(
    tmp_path: Path, build_config: Callable[..., Any], build_tokenizer: Callable[..., Any]
) -> None:
    """Gathered from shards they no longer share memory, and were written twice, in a file for its owner only."""
    from safetensors import safe_open
    from transformers import AutoModelForCausalLM

    tokenizer = build_tokenizer(tmp_path / "tokenizer")
    model = AutoModelForCausalLM.from_config(build_config("qwen2", tie_word_embeddings=True))
    gathered = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    assert "lm_head.weight" in gathered
    export_model(model, *held(untied(model, gathered)), tokenizer, "", tmp_path, "float32")
    with safe_open(tmp_path / "model.safetensors", "pt") as file:
        assert sorted(file.keys()) == sorted(set(gathered) - {"lm_head.weight"})
    again = AutoModelForCausalLM.from_pretrained(tmp_path)
    assert torch.equal(again.lm_head.weight, model.lm_head.weight)
    (tmp_path / "any").write_text("")
    assert {path.stat().st_mode for path in tmp_path.iterdir() if path.is_file()} == {(tmp_path / "any").stat().st_mode}


@pytest.mark.parametrize("kind", ["llama", "mixtral"])
def test_an_export_in_several_files_holds_one_at_a_time(
    kind: str, tmp_path: Path, build_config: Callable[..., Any], build_tokenizer: Callable[..., Any]
) -> None:
    """A mixture's experts, which transformers joins in memory, are written one by one as everywhere."""
    from transformers import AutoModelForCausalLM

    tokenizer = build_tokenizer(tmp_path / "tokenizer")
    model = AutoModelForCausalLM.from_config(build_config(kind))
    state = model.state_dict()
    model.save_pretrained(tmp_path / "expected")
    expected = load_file(tmp_path / "expected" / "model.safetensors")
    asked: list[int] = []

    def fetch(names: Sequence[str]) -> dict[str, torch.Tensor]:
        asked.append(sum(state[name].nbytes for name in names))
        return {name: state[name] for name in names}

    export_model(model, list(state), fetch, tokenizer, "", tmp_path, "float32", file_bytes=100_000)
    files = sorted(tmp_path.glob("model*.safetensors"))
    index = json.loads((tmp_path / "model.safetensors.index.json").read_text())
    assert len(files) > 2 and set(index["weight_map"].values()) == {file.name for file in files}
    assert index["metadata"]["total_size"] == sum(tensor.nbytes for tensor in state.values())
    for file in files:
        held_in_it = load_file(file)
        assert sum(tensor.nbytes for tensor in held_in_it.values()) <= max(100_000, *asked)
        for name, tensor in held_in_it.items():
            assert index["weight_map"][name] == file.name and torch.equal(tensor, expected.pop(name))
    assert not expected
    again = AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float32).state_dict()
    assert all(torch.equal(again[name], tensor) for name, tensor in state.items())


def test_names_of_a_layer_stay_together() -> None:
    names = [
        "embed",
        "model.layers.0.a.1.w",
        "model.layers.0.b",
        "model.layers.10.a",
        "model.layers.10.b",
        "norm",
        "head",
    ]
    assert by_layer(names) == [[names[0]], names[1:3], names[3:5], [names[5]], [names[6]]]


def test_the_export_is_a_plain_folder(tiny_llama: Path, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(tiny_llama, dtype=torch.float32)
    model.config.use_cache = False
    tokenizer = AutoTokenizer.from_pretrained(tiny_llama)
    export_model(model, *held(model.state_dict()), tokenizer, "{{ 1 }}", tmp_path, "bfloat16")

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
