"""PyTorch's variable-length attention: our use of it, and the choice of a kernel by a probe.

Its kernel runs on GPUs only. Here the operator behind the public function gets a kernel for the CPU: the function, its
checks and its autograd are the real ones, and what we hand to it (boundaries, window, heads, scale) is tested.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn.attention import varlen

from train import attention
from train.attention import choose_attention, register, trouble, varlen_attention
from train.errors import UserError
from train.loss import install
from train.sft import main

VOCABULARY, LENGTHS = 97, (11, 1, 7, 20)
CPU = torch.device("cpu")
SWITCH = {"on": False, "window_off_by": 0}


def _shares(q: Any, k: Any, ends: Any, scale: Any, window: Any) -> tuple[torch.Tensor, torch.Tensor, float]:
    """The matrix of attention (heads, tokens, tokens) as FlashAttention defines it, keys for all heads, the scale."""
    k = k.repeat_interleave(q.shape[1] // k.shape[1], dim=1)
    segment = torch.searchsorted(ends.long(), torch.arange(len(q)), right=True)
    distance = torch.arange(len(q))[:, None] - torch.arange(len(q))
    left = len(q) if window[0] < 0 else window[0] + SWITCH["window_off_by"]
    seen = (segment[:, None] == segment) & (distance >= 0) & (distance <= left)
    scale = q.shape[-1] ** -0.5 if scale is None else scale
    scores = torch.einsum("ihd,jhd->hij", q, k) * scale
    return scores.masked_fill(~seen, float("-inf")).softmax(-1), k, scale


def _forward(*arguments: Any) -> Any:
    if not SWITCH["on"]:
        raise RuntimeError("no kernel for the CPU")
    query, key, value, ends, _, longest, _, causal, scale, window, *_ = arguments
    assert window[1] == 0 and causal == (window[0] == -1) and ends.dtype == torch.int32
    assert longest == int(ends.diff().max()) and int(ends[-1]) == len(query)
    shares, _, _ = _shares(query.float(), key.float(), ends, scale, window)
    groups = query.shape[1] // value.shape[1]
    output = torch.einsum("hij,jhd->ihd", shares, value.float().repeat_interleave(groups, dim=1))
    return output.to(query.dtype), torch.zeros(query.shape[1], len(query)), torch.zeros(2, dtype=torch.uint64)


def _backward(*arguments: Any) -> Any:
    grad, query, key, value, _, _, ends, _, _, _, _, _, scale, window = arguments
    g, q, v = grad.float(), query.float(), value.float()
    groups = query.shape[1] // key.shape[1]
    shares, k, scale = _shares(q, key.float(), ends, scale, window)
    by_share = torch.einsum("ihd,jhd->hij", g, v.repeat_interleave(groups, dim=1))
    by_score = shares * (by_share - (by_share * shares).sum(-1, keepdim=True)) * scale
    by_key, by_value = torch.einsum("hij,ihd->jhd", by_score, q), torch.einsum("hij,ihd->jhd", shares, g)
    both = (x.unflatten(1, (-1, groups)).sum(2).to(key.dtype) for x in (by_key, by_value))
    return torch.einsum("hij,jhd->ihd", by_score, k).to(query.dtype), *both


torch.library.register_kernel("torch_attn::_varlen_attn", "cpu", _forward)
torch.library.register_kernel("torch_attn::_varlen_attn_backward", "cpu", _backward)


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    """The operator runs on the CPU."""
    monkeypatch.setitem(SWITCH, "on", True)


def gradients(config: Any, name: str) -> tuple[float, torch.Tensor]:
    from transformers import AutoModelForCausalLM

    register()
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config, attn_implementation=name)
    install(model)
    tokens = torch.randint(3, VOCABULARY, (1, sum(LENGTHS)), generator=torch.Generator().manual_seed(0))
    positions = torch.cat([torch.arange(length) for length in LENGTHS])[None]
    loss = model(input_ids=tokens, position_ids=positions, labels=tokens.masked_fill(positions == 0, -100)).loss
    loss.backward()
    return loss.item(), torch.cat([parameter.grad.flatten() for parameter in model.parameters()])


@pytest.mark.usefixtures("kernel")
@pytest.mark.parametrize("groups_in_kernel", [True, False], ids=["enable_gqa", "torch 2.11"])
@pytest.mark.parametrize(
    ("kind", "overrides"),
    [
        ("llama", {}),
        ("qwen2", {"num_attention_heads": 4, "num_key_value_heads": 2}),
        ("mistral", {"sliding_window": 5, "num_attention_heads": 4, "num_key_value_heads": 1}),
        ("gpt2", {"attn_pdrop": 0.0, "embd_pdrop": 0.0, "resid_pdrop": 0.0}),
    ],
)
def test_loss_and_gradients_are_those_of_packed_sdpa(
    kind: str,
    overrides: dict[str, Any],
    groups_in_kernel: bool,
    build_config: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if not groups_in_kernel:
        real = varlen.varlen_attn

        def older(*bounds: Any, scale: Any = None, window_size: Any = (-1, -1)) -> Any:
            return real(*bounds, scale=scale, window_size=window_size)

        monkeypatch.setattr(varlen, "varlen_attn", older)
    loss, gradient = gradients(build_config(kind, VOCABULARY, **overrides), "varlen")
    expected, theirs = gradients(build_config(kind, VOCABULARY, **overrides), "packed_sdpa")
    assert abs(loss - expected) < 1e-5
    assert (gradient - theirs).abs().max() < 1e-5


@pytest.mark.usefixtures("kernel")
def test_values_narrower_than_keys_are_padded_and_cut() -> None:
    """As in multi-head latent attention."""
    q, k, v = (torch.randn(1, 2, 18, width, generator=torch.Generator().manual_seed(1)) for width in (24, 24, 16))
    ends = torch.tensor([0, 7, 18], dtype=torch.int32)
    ours = varlen_attention(torch.nn.Identity(), q, k, v, None, cu_seq_lens_q=ends, max_length_q=11)[0]
    theirs = attention.packed_sdpa(torch.nn.Identity(), q, k, v, None, segment_lengths=(7, 11))[0]
    assert ours.shape == (1, 18, 2, 16) and (ours - theirs).abs().max() < 1e-5


@pytest.mark.usefixtures("kernel")
def test_autocast_decides_the_precision() -> None:
    """Rotary embeddings leave queries and keys in float32 under autocast; the kernel has none."""
    states = torch.randn(1, 2, 4, 8)
    ends = torch.tensor([0, 4], dtype=torch.int32)
    with torch.autocast("cpu", torch.bfloat16):
        output = varlen_attention(
            torch.nn.Identity(), states, states, states.bfloat16(), None, cu_seq_lens_q=ends, max_length_q=4
        )[0]
    assert output.dtype == torch.bfloat16


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "does not tell packed attention where samples end"),
        ({"softcap": 30.0}, "does not compute softcap"),
        ({"dropout": 0.1}, "has no dropout"),
    ],
)
def test_what_it_does_not_compute_is_refused(options: dict[str, Any], message: str) -> None:
    states = torch.zeros(1, 2, 4, 8)
    bounds = {"cu_seq_lens_q": torch.tensor([0, 4], dtype=torch.int32), "max_length_q": 4} if options else {}
    with pytest.raises(RuntimeError, match=message):
        varlen_attention(torch.nn.Identity(), states, states, states, None, **options, **bounds)


@pytest.mark.usefixtures("kernel")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_probe_accepts_a_right_kernel(dtype: torch.dtype, build_config: Callable[..., Any]) -> None:
    overrides = {"num_attention_heads": 4, "num_key_value_heads": 2, "sliding_window": 100}
    assert trouble("varlen", build_config("mistral", **overrides), CPU, dtype) == ""


@pytest.mark.usefixtures("kernel")
def test_and_refuses_a_window_that_is_off_by_one(
    build_config: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(SWITCH, "window_off_by", 1)
    reason = trouble("varlen", build_config("mistral", sliding_window=100), CPU, torch.bfloat16)
    assert "off by" in reason and "with a window" in reason
    assert trouble("varlen", build_config("mistral", sliding_window=None), CPU, torch.bfloat16) == ""


@pytest.mark.usefixtures("kernel")
def test_and_one_through_which_samples_see_each_other(
    build_config: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def one_segment(module: Any, *states: Any, cu_seq_lens_q: Any, max_length_q: int, **options: Any) -> Any:
        return varlen_attention(module, *states, cu_seq_lens_q=cu_seq_lens_q[[0, -1]], max_length_q=83, **options)

    monkeypatch.setattr(attention, "_function", lambda name: one_segment)
    assert trouble("varlen", build_config("llama"), CPU, torch.bfloat16) == "samples of a pack see each other"


def test_on_a_gpu_the_first_kernel_that_passes_is_taken(
    build_config: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    config, gpu = build_config("llama"), torch.device("cuda")
    monkeypatch.setattr(attention.importlib.util, "find_spec", lambda name: name == "flash_attn" or None)
    reasons = {"flash_attention_2": "built for another torch", "varlen": ""}
    monkeypatch.setattr(attention, "trouble", lambda name, *_: reasons[name])
    assert str(choose_attention("auto", gpu, True, config)) == "varlen (not flash_attention_2: built for another torch)"
    reasons["varlen"] = "needs Ampere"
    assert choose_attention("auto", gpu, True, config).name == "packed_sdpa"
    assert choose_attention("auto", gpu, False, config).name == "packed_sdpa"
    reasons["flash_attention_2"] = ""
    assert choose_attention("auto", gpu, True, build_config("llama", attention_dropout=0.1)).name == "flash_attention_2"


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("varlen", "no kernel for the CPU"),
        ("flash_attention_2", "flash_attn is not installed"),
        ("kernels-community/flash-attn2", "kernels"),
    ],
)
def test_one_that_is_asked_for_and_does_not_run_is_refused(
    name: str, reason: str, build_config: Callable[..., Any]
) -> None:
    with pytest.raises(UserError, match=f"--attention {name} cannot be used here: .*{reason}"):
        choose_attention(name, CPU, True, build_config("llama"))


@pytest.mark.slow
@pytest.mark.usefixtures("kernel")
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_run_with_it_ends_with_the_weights_of_packed_sdpa(
    build_model: Callable[..., Path], sums: Path, tmp_path: Path
) -> None:
    from safetensors.torch import load_file

    model = build_model(tmp_path / "model")
    flags = ["--recipe", "demo", "--model", str(model), "--data", str(sums), "--max_steps", "2", "--report_to", "none"]
    flags += ["--optim", "sgd", "--save_strategy", "no", "--export-dtype", "float32"]
    for name in ("varlen", "packed_sdpa"):
        assert main([*flags, "--attention", name, "--output_dir", str(tmp_path / name)]) == 0
    ours, theirs = (load_file(tmp_path / name / "model.safetensors") for name in ("varlen", "packed_sdpa"))
    assert max(float((ours[key] - theirs[key]).abs().max()) for key in ours) < 1e-6


def test_the_function_has_the_arguments_we_give() -> None:
    names = ["query", "key", "value", "cu_seq_q", "cu_seq_k", "max_q", "max_k"]
    parameters = inspect.signature(varlen.varlen_attn).parameters
    assert list(parameters)[:7] == names and {"scale", "window_size"} <= set(parameters)
