"""LoRA and QLoRA: exact, resumable, and exported so that merged weights and adapter are the model that was trained."""

from __future__ import annotations

import copy
import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from train.attention import register
from train.errors import UsageError, UserError
from train.lora import Lora, add_adapter, keep_trainable, merged_state, quantization
from train.loss import install, packed_logits
from train.sft import main

pytestmark = [
    pytest.mark.filterwarnings("ignore::UserWarning"),
]
needs_bitsandbytes = pytest.mark.skipif(
    not importlib.util.find_spec("bitsandbytes"), reason="bitsandbytes is not installed"
)
VOCABULARY, LENGTHS = 97, (11, 1, 7, 20)
IDS = torch.randint(3, VOCABULARY, (1, sum(LENGTHS)), generator=torch.Generator().manual_seed(0))
POSITIONS = torch.cat([torch.arange(length) for length in LENGTHS])[None]
ROW = {"input_ids": IDS, "position_ids": POSITIONS, "labels": IDS.masked_fill(POSITIONS < 2, -100)}


@pytest.mark.parametrize(
    ("text", "lora"),
    [
        ("", Lora()),
        ("r=8", Lora(8, 16.0)),
        ("r=64,alpha=128,targets=all-linear", Lora(64, 128.0)),
        ("targets=q_proj+v_proj,dropout=0.1", Lora(targets=("q_proj", "v_proj"), dropout=0.1)),
    ],
)
def test_what_is_written_is_what_is_meant(text: str, lora: Lora) -> None:
    assert Lora.parse(text) == lora
    assert Lora.parse(str(lora)) == lora


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("rank=8", "'rank=8' is not one of r, alpha, targets, dropout=VALUE"),
        ("r=0", "r and alpha must be above 0"),
        ("r=8,alpha=nan", "r and alpha must be above 0"),
        ("r=eight", "r is a whole number"),
        ("dropout=1", "dropout at least 0 and below 1"),
    ],
)
def test_what_is_not_is_an_error(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Lora.parse(text)


def build(config: Any) -> Any:
    from transformers import AutoModelForCausalLM

    register()
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(copy.deepcopy(config), attn_implementation="packed_sdpa")


def adapt(model: Any, lora: Lora) -> Any:
    """With an adapter that changes something."""
    adapted = add_adapter(model, lora, seed=1)
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for name, parameter in adapted.named_parameters():
            if "lora_B" in name:
                parameter.copy_(torch.randn(parameter.shape, generator=generator) / 10)
    return adapted


def gradients(adapted: Any) -> tuple[float, torch.Tensor]:
    install(adapted)
    loss = adapted(**ROW).loss
    loss.backward()
    return loss.item(), torch.cat([p.grad.flatten() for p in adapted.parameters() if p.requires_grad])


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_merged_weights_are_the_adapted_model(kind: str, build_config: Callable[..., Any]) -> None:
    """GPT-2 keeps its weights transposed, and has biases. And peft's own merge agrees."""
    config = build_config(kind, VOCABULARY)
    adapted = adapt(build(config), Lora(4, 8.0)).eval()
    state = merged_state(adapted, adapted.state_dict(), torch.float32)
    merged = build(config).eval()
    before = packed_logits(merged, IDS, POSITIONS)
    merged.load_state_dict(state)
    expected = packed_logits(adapted, IDS, POSITIONS)
    assert (packed_logits(merged, IDS, POSITIONS) - expected).abs().max() < 1e-5
    assert (before - expected).abs().max() > 1e-3
    theirs = adapted.merge_and_unload().state_dict()
    assert max(float((state[name] - theirs[name]).abs().max()) for name in theirs) < 1e-6


def test_the_loss_is_exact_and_only_the_adapter_trains(build_config: Callable[..., Any]) -> None:
    """Packed, in chunks, with checkpointed layers: the gradients are those of each sample alone in float64."""
    config = build_config("llama", VOCABULARY)
    lora = Lora(4, 8.0, ("q_proj", "down_proj"))
    adapted = adapt(build(config), lora)
    alone = copy.deepcopy(adapted).double()
    adapted.gradient_checkpointing_enable({"use_reentrant": False})
    loss, gradient = gradients(adapted.train())
    trained = {name.split(".lora_")[0].split(".")[-1] for name, p in adapted.named_parameters() if p.requires_grad}
    assert trained == {"q_proj", "down_proj"} and all(
        p.grad is None for p in adapted.parameters() if not p.requires_grad
    )
    alone.set_attn_implementation("eager")
    total, items = torch.zeros((), dtype=torch.float64), int((ROW["labels"] != -100).sum())
    for start, length in zip(torch.tensor([0, *LENGTHS]).cumsum(0).tolist(), LENGTHS, strict=False):
        ids, labels = IDS[:, start : start + length], ROW["labels"][0, start + 1 : start + length]
        logits = alone.get_base_model()(input_ids=ids).logits[0, :-1]
        total = total + torch.nn.functional.cross_entropy(logits, labels, reduction="sum")
    (total / items).backward()
    expected = torch.cat([p.grad.flatten() for p in alone.parameters() if p.requires_grad])
    assert abs(loss - float(total) / items) < 1e-6
    assert (gradient - expected).abs().max() < 2e-6


@needs_bitsandbytes
def test_in_4_bits_loss_gradients_and_merged_weights_are_those_of_the_dequantised_weights(
    build_model: Callable[..., Path], tmp_path: Path
) -> None:
    """Also after a forward pass in evaluation mode, as the checks make: on some CPUs it would cut the gradients off."""
    from bitsandbytes.functional import dequantize_4bit
    from transformers import AutoModelForCausalLM

    register()
    folder = build_model(tmp_path / "m", vocab_size=VOCABULARY, intermediate_size=128)
    how = {"attn_implementation": "packed_sdpa", "dtype": torch.float32}
    quantised = AutoModelForCausalLM.from_pretrained(
        folder, quantization_config=quantization(torch.float32), device_map={"": "cpu"}, **how
    )
    quantised = keep_trainable(quantised)
    exact = AutoModelForCausalLM.from_pretrained(folder, **how)
    n_layers = 0
    for name, parameter in quantised.named_parameters():
        if (state := getattr(parameter, "quant_state", None)) is not None:
            exact.get_parameter(name).data = dequantize_4bit(parameter.data, state)
            n_layers += 1
    assert n_layers == 14
    adapted, reference = adapt(quantised, Lora(4, 8.0)), adapt(exact, Lora(4, 8.0))
    packed_logits(adapted.eval(), IDS, POSITIONS)
    (loss, gradient), (expected, theirs) = gradients(adapted.train()), gradients(reference.train())
    assert abs(loss - expected) < 1e-5
    assert (gradient - theirs).abs().max() < 1e-5 * max(1.0, float(theirs.abs().max()))
    ours = merged_state(adapted, adapted.state_dict(), torch.float32)
    wanted = merged_state(reference, reference.state_dict(), torch.float32)
    assert set(ours) == set(wanted)
    assert max(float((ours[name] - wanted[name]).abs().max()) for name in wanted) < 1e-6


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--load-in-4bit"], "--load-in-4bit is for --lora"),
        (["--lora", "targets=q_porj"], "--lora r=64,alpha=128,targets=q_porj: Target modules {'q_porj'} not found"),
        (["--lora", "targets=q_proj+v_porj"], "targets=q_proj+v_porj: Target modules {'v_porj'} not found"),
        (["--lora", "targets=embed_tokens"], "model.embed_tokens is not a linear layer"),
    ],
)
def test_what_cannot_be_adapted_is_refused_in_one_line(
    flags: list[str], message: str, tiny_llama: Path, sums: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = ["--recipe", "demo", "--model", str(tiny_llama), "--data", str(sums), "--output_dir", str(tmp_path / "out")]
    assert main([*paths, *flags]) in (1, 2)
    error = capsys.readouterr().err
    assert message in error and error.startswith("train/sft.py: ")
    assert not (tmp_path / "out").exists()


def test_without_bitsandbytes_4_bits_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match="pip install bitsandbytes"):
        quantization(torch.float32)


@pytest.fixture
def run(sums: Path, build_model: Callable[..., Path], tmp_path: Path) -> Callable[..., int]:
    """Six steps with dropout in attention and adapter, a checkpoint every second, to ``tmp_path / name``."""
    model = build_model(tmp_path / "model", attention_dropout=0.1, intermediate_size=128)

    def train(name: str, *flags: str) -> int:
        paths = ["--recipe", "demo", "--model", str(model), "--data", str(sums), "--output_dir", str(tmp_path / name)]
        saving = ["--max_steps", "6", "--save_strategy", "steps", "--save_steps", "2", "--save_total_limit", "9"]
        return main([*paths, *saving, "--report_to", "none", "--export-dtype", "float32", *flags])

    return train


QUANTISED = pytest.param(["--load-in-4bit"], id="4 bits", marks=needs_bitsandbytes)


@pytest.mark.parametrize("more", [pytest.param([], id="LoRA"), QUANTISED])
def test_a_resumed_run_ends_with_the_same_bits(more: list[str], run: Callable[..., int], tmp_path: Path) -> None:
    import shutil

    flags = ["--lora", "r=4,dropout=0.1", *more]
    assert run("whole", *flags) == 0
    shutil.copytree(tmp_path / "whole", tmp_path / "cut")
    for late in ("checkpoint-4", "checkpoint-6", "adapter"):
        shutil.rmtree(tmp_path / "cut" / late)
    assert run("cut", *flags) == 0
    for name in ("model.safetensors", "adapter/adapter_model.safetensors"):
        assert (tmp_path / "cut" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_frozen_weights_are_checked_in_float32_and_kept_in_bf16(
    run: Callable[..., int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In bf16 a real model of 30 layers was refused: by rounding, logits in a pack differ by 0.8 from those alone."""
    from train import lora, preflight

    kinds: dict[str, set[torch.dtype]] = {}
    check, add = preflight.check_model, lora.add_adapter

    def record(name: str, model: Any) -> Any:
        kinds[name] = {tensor.dtype for tensor in (*model.parameters(), *model.buffers())}
        return model

    monkeypatch.setattr(preflight, "check_model", lambda model, names: check(record("checked", model), names))
    monkeypatch.setattr(lora, "add_adapter", lambda model, *rest: record("trained", add(record("kept", model), *rest)))
    assert run("out", "--lora", "r=4", "--bf16", "true", "--max_steps", "2") == 0
    assert kinds["checked"] == {torch.float32}
    assert kinds["kept"] == {torch.bfloat16, torch.float32}  # the weights; rotary frequencies
    assert kinds["trained"] == {torch.bfloat16, torch.float32}


def test_another_adapter_is_another_run(
    run: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("out", "--lora", "r=4") == 0
    for flags, reason in (["--lora", "r=8"], "lora was r=4"), ([], "lora was r=4"):
        assert run("out", *flags) == 1
        assert reason in capsys.readouterr().err


def test_an_adapter_beside_tied_weights_is_refused(
    build_model: Callable[..., Path], sums: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It was trained, and left out of the merged weights without a word."""
    model = build_model(tmp_path / "model", tie_word_embeddings=True)
    paths = ["--recipe", "demo", "--model", str(model), "--data", str(sums), "--output_dir", str(tmp_path / "out")]
    assert main([*paths, "--lora", "targets=lm_head"]) == 1
    assert "lm_head shares its weights with the embeddings" in capsys.readouterr().err


@pytest.mark.parametrize("targets", ["all-linear", "q_proj+lm_head"])
def test_the_export_is_both_and_they_agree(targets: str, run: Callable[..., int], tmp_path: Path) -> None:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    assert run("out", "--lora", f"r=4,alpha=64,targets={targets}", "--learning_rate", "0.02") == 0
    folder, base = tmp_path / "out", tmp_path / "model"
    record = json.loads((folder / "adapter" / "adapter_config.json").read_text())
    assert record["base_model_name_or_path"] == str(base) and record["r"] == 4
    plain = AutoModelForCausalLM.from_pretrained(base)
    start = plain(input_ids=IDS).logits
    adapted = PeftModel.from_pretrained(plain, str(folder / "adapter"))
    merged = AutoModelForCausalLM.from_pretrained(folder)
    with torch.no_grad():
        ours, theirs = merged(input_ids=IDS).logits, adapted(input_ids=IDS).logits
    assert (ours - theirs).abs().max() < 1e-4
    assert (ours - start).abs().max() > 1e-2
    for card in (folder / "README.md", folder / "adapter" / "README.md"):
        assert f"LoRA r=4,alpha=64,targets={targets}" in card.read_text().replace("\\", "")
