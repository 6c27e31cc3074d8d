"""What ``--dry-run`` says a run costs, against a real small model's step; and its figures of the paper's recipes."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from train.attention import register
from train.cards import page
from train.estimate import adapter_memory_per_gpu, adapter_parameters, flops_per_epoch, memory_per_gpu, model_size
from train.loss import install
from train.sft import main

LENGTHS, PROMPT = [300, 120, 60], 20


@pytest.fixture(params=["llama", "qwen2", "mistral"])
def model(request: pytest.FixtureRequest, build_config: Callable[..., Any]) -> Any:
    """Three layers with grouped attention, and tied embeddings for one of them."""
    from transformers import AutoModelForCausalLM

    register()
    sizes = {"hidden_size": 128, "intermediate_size": 352, "num_hidden_layers": 3, "num_attention_heads": 4}
    tied = request.param == "qwen2"
    config = build_config(request.param, 1000, **sizes, num_key_value_heads=2, tie_word_embeddings=tied)
    config.sliding_window = None
    model = AutoModelForCausalLM.from_config(config, attn_implementation="packed_sdpa")
    install(model)
    return model


def step(model: Any) -> Any:
    ids = torch.randint(3, 1000, (1, sum(LENGTHS)), generator=torch.Generator().manual_seed(0))
    positions = torch.cat([torch.arange(length) for length in LENGTHS])[None]
    return model(input_ids=ids, position_ids=positions, labels=ids.masked_fill(positions < PROMPT, -100)).loss


def test_flops_are_those_of_a_real_step(model: Any) -> None:
    """Matrix products to the last one. The kernel that can be counted computes attention's masked half too."""
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        step(model).backward()
    counted = {str(name): flops for name, flops in counter.get_flop_counts()["Global"].items()}
    attention = sum(flops for name, flops in counted.items() if "bmm" in name)
    products = sum(counted.values()) - attention
    size, lengths = model_size(model.config), np.array(LENGTHS)
    estimate = flops_per_epoch(size, lengths, lengths - PROMPT)
    assert estimate == pytest.approx(products + attention / 2, rel=1e-5)  # 5.17 makes rotary angles by a product


def test_state_bytes_are_those_of_the_tensors(model: Any) -> None:
    optimizer = torch.optim.AdamW(model.parameters())
    step(model).backward()
    optimizer.step()
    tensors = [tensor for p in model.parameters() for tensor in (p, p.grad, *optimizer.state[p].values())]
    real = sum(tensor.numel() * tensor.element_size() for tensor in tensors if tensor.ndim)
    size = model_size(model.config)
    assert memory_per_gpu(size, sum(LENGTHS), 1, "none", False, 4).states == real
    assert memory_per_gpu(size, sum(LENGTHS), 8, "full", False, 4).states == real // 8


def test_activation_bytes_are_about_what_autograd_keeps(model: Any) -> None:
    weights = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    kept: dict[int, torch.Tensor] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.untyped_storage().data_ptr() not in weights:
            kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        step(model)
    real = sum(tensor.untyped_storage().nbytes() for tensor in kept.values())
    estimate = memory_per_gpu(model_size(model.config), sum(LENGTHS), 1, "none", False, 4)
    assert 0.6 < real / (estimate.activations + estimate.logits) < 1.1


def dry_run(capsys: pytest.CaptureFixture[str], *flags: str) -> str:
    assert main(["--dry-run", *flags]) == 0
    return re.sub(r" +", " ", capsys.readouterr().out)


def test_a_dry_run_counts_data_that_is_there(
    tiny_llama: Path, sums: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["--recipe", "demo", "--model", str(tiny_llama), "--data", str(sums), "--output_dir", str(tmp_path / "out")]
    text = dry_run(capsys, *flags, "--max_steps", "10", "--per_device_train_batch_size", "2")
    assert "samples 60 (counted)" in text and "note:" not in text
    assert "4 packs = 1 processes x 2 micro-batches x 2" in text
    assert "steps 4 an epoch, 10 in all" in text
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
@pytest.mark.parametrize("recipe", ["mistral-7b", "llama3-8b", "llama3-70b", "deepseekmath-7b"])
def test_the_papers_recipes_without_a_network(
    recipe: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """About 1,000 steps an epoch; a 7B model takes about three hours of 8 A100; and it says what it could not have."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    text = dry_run(capsys, "--recipe", recipe)
    assert "samples 585,392 (assumed from the recipe's statistics)" in text
    steps = re.search(r"steps ([\d,]+) an epoch", text)
    hours = re.search(r"time on (\d+) A100 ([\d.]+) h an epoch", text)
    memory = re.search(r"fsdp2 or zero3 about (\d+)", text)
    assert steps and hours and memory
    assert 1000 <= int(steps[1].replace(",", "")) <= 1050
    if hours[1] == "8":
        assert 2.5 < float(hours[2]) < 3.5
    assert int(memory[1]) < 76  # of a GPU's 80 GB
    assert "note: cannot load --model" in text and "the recipe's own figures are used" in text


@pytest.mark.parametrize("in_4bit", [False, True], ids=["LoRA", "QLoRA"])
def test_adapter_states_are_those_of_the_tensors(in_4bit: bool, build_model: Any, tmp_path: Path) -> None:
    """With sizes at which the scales of weights in 4 bits are a small part, as they are in real models."""
    from transformers import AutoModelForCausalLM

    from train.lora import Lora, add_adapter, quantization

    sizes = {"hidden_size": 256, "intermediate_size": 1024, "num_attention_heads": 4, "num_key_value_heads": 4}
    folder = build_model(tmp_path / "m", vocab_size=1000, **sizes)
    how: dict[str, Any] = {}
    if in_4bit:
        pytest.importorskip("bitsandbytes")
        how = {"quantization_config": quantization(torch.float32), "device_map": {"": "cpu"}}
    base = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, **how)
    size, adapter = model_size(AutoModelForCausalLM.from_pretrained(folder).config), 0
    model = add_adapter(base, Lora(8), 0)
    real = 0
    for parameter in model.parameters():
        real += parameter.numel() * parameter.element_size() * (4 if parameter.requires_grad else 1)
        adapter += parameter.numel() if parameter.requires_grad else 0
        if (state := getattr(parameter, "quant_state", None)) is not None:
            real += state.absmax.nbytes + state.state2.absmax.nbytes
    assert adapter == adapter_parameters(base.config, 8)
    estimate = adapter_memory_per_gpu(size, adapter, 100, False, 4, in_4bit).states
    assert abs(estimate - real) < 0.01 * real


def test_the_dry_run_of_an_adapter_counts_it(
    tiny_llama: Path, sums: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    flags = ["--recipe", "demo", "--model", str(tiny_llama), "--data", str(sums), "--output_dir", str(tmp_path / "out")]
    text = dry_run(capsys, *flags, "--lora", "r=8")
    assert "memory per GPU, ddp, LoRA about" in text and "fsdp2" not in text
    assert "LoRA in 4 bits about" in dry_run(capsys, *flags, "--lora", "r=8", "--load-in-4bit")


def test_the_page_of_cards_is_what_the_estimate_says(repo: Path) -> None:
    """Written anew by ``python -m train.cards > docs/cards.md``."""
    assert (repo / "docs" / "cards.md").read_text(encoding="utf-8") == page()
