"""Attention over packed samples, none of which may see another.

``packed_sdpa`` runs one scaled-dot-product attention per sample: no dense mask, and on CPU 2.8 times the speed of one
over a 4,096-token pack. ``varlen`` is PyTorch's own FlashAttention over sequences of different lengths
(``torch.nn.attention.varlen``): one kernel per layer, on GPUs of Ampere and newer, with no package to build. Both are
registered with transformers' ``AttentionInterface`` and are told where samples end by arguments that models hand
through to them; a model that does not cannot run them, rather than run them wrongly. flash-attn and the kernels of the
hub get the same boundaries, as ``cu_seq_lens``.

What a GPU runs is decided by a probe of the kernel itself (:func:`trouble`), not by what is installed.
"""

from __future__ import annotations

import copy
import importlib.util
import inspect
import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from dart_tasks.console import first_line
from train.errors import UserError

__all__ = [
    "TOLERANCE",
    "Attention",
    "KernelErrors",
    "choose_attention",
    "kernel_errors",
    "packed_sdpa",
    "register",
    "trouble",
    "varlen_attention",
]

PACKED_SDPA, VARLEN = "packed_sdpa", "varlen"
ON_ANY_DEVICE = (PACKED_SDPA, "sdpa", "eager")
_PACKAGES = {"flash_attention_3": "flash_attn_interface", "flash_attention_2": "flash_attn"}
_PROBE_LENGTHS, _PROBE_WINDOW = (40, 9, 1, 33), 7
TOLERANCE = 0.03
"""Of a kernel in bf16: the largest error, as a share of the largest value. A window off by one makes ten times that."""


@dataclass(frozen=True)
class Attention:
    """The implementation that a run uses, and why not one that would have been better (empty if there is none)."""

    name: str
    note: str = ""

    @property
    def on_cpu(self) -> str | None:
        """What to check the model with on the CPU: this, or one that asks the same of it; None: the model's own."""
        return self.name if self.name in ON_ANY_DEVICE else PACKED_SDPA if self.name == VARLEN else None

    def __str__(self) -> str:
        return f"{self.name} ({self.note})" if self.note else self.name


def _refuse(
    module: torch.nn.Module, bounded: bool, attention_mask: torch.Tensor | None, features: dict[str, Any]
) -> None:
    """What our two kernels would compute wrongly is an error."""
    if not bounded or attention_mask is not None:
        raise RuntimeError(f"{type(module).__name__} does not tell packed attention where samples end")
    for feature in ("softcap", "s_aux", "position_bias"):
        if features.get(feature) is not None:
            raise RuntimeError(f"packed attention does not compute {feature}; pass --attention eager")


def packed_sdpa(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    sliding_window: int | None = None,
    segment_lengths: tuple[int, ...] | None = None,
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """Causal attention within each segment of one packed row.

    Queries, keys and values have the shape (1, heads, tokens, size), the result (1, tokens, heads, size).

    Raises:
        RuntimeError: the segments are unknown, or the layer needs something this kernel does not compute.
    """
    _refuse(module, segment_lengths is not None, attention_mask, kwargs)
    assert segment_lengths is not None
    grouped = key.shape[1] != query.shape[1]
    outputs = [
        torch.nn.functional.scaled_dot_product_attention(
            q,
            k,
            v,
            attn_mask=_band(q.shape[2], sliding_window, q.device),
            dropout_p=dropout,
            scale=scaling,
            is_causal=sliding_window is None or q.shape[2] <= sliding_window,
            enable_gqa=grouped,
        )
        for q, k, v in zip(*(torch.split(x, list(segment_lengths), dim=2) for x in (query, key, value)), strict=True)
    ]
    return torch.cat(outputs, dim=2).transpose(1, 2).contiguous(), None


def _band(length: int, window: int | None, device: torch.device) -> torch.Tensor | None:
    """The mask of a causal sliding window, or None where the window covers the whole segment."""
    if window is None or length <= window:
        return None
    distance = torch.arange(length, device=device)[:, None] - torch.arange(length, device=device)
    return (distance >= 0) & (distance < window)


def varlen_attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    sliding_window: int | None = None,
    cu_seq_lens_q: torch.Tensor | None = None,
    max_length_q: int | None = None,
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """As :func:`packed_sdpa`, in one kernel over all segments, in the precision of autocast or else of the values.

    Args:
        cu_seq_lens_q: where segments start, and the number of tokens: int32, of the shape (segments + 1,).
        max_length_q: tokens of the longest segment.

    Raises:
        RuntimeError: the segments are unknown, the layer needs something this kernel does not compute, or the device
            cannot run it.
    """
    from torch.nn.attention.varlen import varlen_attn

    _refuse(module, cu_seq_lens_q is not None and max_length_q is not None, attention_mask, kwargs)
    if dropout:
        raise RuntimeError("PyTorch's varlen attention has no dropout; pass --attention packed_sdpa")
    kind, size = query.device.type, value.shape[-1]
    dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else value.dtype
    q, k, v = (states[0].transpose(0, 1).to(dtype) for states in (query, key, value))
    v = torch.nn.functional.pad(v, (0, q.shape[-1] - size))  # latent attention's values are narrower than its keys
    options: dict[str, Any] = {}
    if (groups := q.shape[1] // k.shape[1]) > 1:
        if "enable_gqa" in inspect.signature(varlen_attn).parameters:
            options["enable_gqa"] = True
        else:  # torch 2.11
            k, v = (states.repeat_interleave(groups, dim=1) for states in (k, v))
    # The kernel's window counts the tokens before a token, transformers' the token itself as well.
    window = (-1 if sliding_window is None else sliding_window - 1, 0)
    bounds: Any = (cu_seq_lens_q, cu_seq_lens_q, max_length_q, max_length_q)
    output: Any = varlen_attn(q, k, v, *bounds, scale=scaling, window_size=window, **options)
    return output[None, ..., :size], None


def register() -> None:
    """Make our two kernels known to transformers (idempotent)."""
    from transformers import AttentionInterface

    AttentionInterface.register(PACKED_SDPA, packed_sdpa)
    AttentionInterface.register(VARLEN, varlen_attention)


def _function(name: str) -> Callable[..., Any]:
    if name in (VARLEN, PACKED_SDPA):
        return varlen_attention if name == VARLEN else packed_sdpa
    from transformers.integrations.flash_attention import flash_attention_forward

    return flash_attention_forward  # type: ignore[no-any-return]


class _Layer(torch.nn.Module):
    """What transformers' kernels ask of the layer that calls them."""

    is_causal = True
    layer_idx = 0

    def __init__(self, config: Any, attention: str) -> None:
        super().__init__()
        self.config = copy.copy(config)
        self.config._attn_implementation_internal = attention


@dataclass(frozen=True)
class KernelErrors:
    """How a kernel differs from float64: the largest error, as a share of the largest value."""

    result: float
    gradient: float
    leaks: bool
    """Whether a segment's result changes, by one bit or more, with another segment's values."""


def kernel_errors(
    name: str,
    config: Any,
    window: int | None,
    device: torch.device,
    dtype: torch.dtype,
    lengths: tuple[int, ...] = _PROBE_LENGTHS,
) -> KernelErrors:
    """Errors of the kernel ``name`` in the heads and sizes of a model of ``config``, over segments of ``lengths``."""
    text = config.get_text_config()
    heads = text.num_attention_heads
    kv_heads = getattr(text, "num_key_value_heads", None) or heads
    size = getattr(text, "qk_head_dim", None) or getattr(text, "head_dim", None) or text.hidden_size // heads
    value_size = getattr(text, "v_head_dim", None) or size
    generator = torch.Generator().manual_seed(0)
    first = lengths[0]
    states = [
        torch.randn(1, n, sum(lengths), width, generator=generator).to(device, dtype).requires_grad_()
        for n, width in ((heads, size), (kv_heads, size), (kv_heads, value_size))
    ]
    exact = [state.detach().double().requires_grad_() for state in states]
    ends = torch.tensor([0, *itertools.accumulate(lengths)], dtype=torch.int32, device=device)
    bounds = {f"cu_seq_lens_{part}": ends for part in "qk"} | {f"max_length_{part}": max(lengths) for part in "qk"}

    def attend(function: Callable[..., Any], inputs: list[torch.Tensor]) -> torch.Tensor:
        options = {"scaling": size**-0.5, "sliding_window": window, "segment_lengths": lengths, **bounds}
        output: torch.Tensor = function(_Layer(text, name), *inputs, None, **options)[0]
        return output

    output, expected = attend(_function(name), states), attend(packed_sdpa, exact)
    swapped = [torch.cat([-state[:, :, :first], state[:, :, first:]], dim=2) for state in states]
    leaks = not torch.equal(output[:, first:], attend(_function(name), swapped)[:, first:])
    weights = torch.randn(output.shape, generator=generator).to(device, dtype)
    torch.autograd.backward([(output * weights).sum(), (expected * weights.double()).sum()])

    def error(ours: Any, theirs: Any) -> float:
        return float((ours.detach().double() - theirs.detach()).abs().max() / theirs.detach().abs().max())

    gradient = max(error(ours.grad, theirs.grad) for ours, theirs in zip(states, exact, strict=True))
    return KernelErrors(error(output, expected), gradient, leaks)


def trouble(name: str, config: Any, device: torch.device, dtype: torch.dtype) -> str:
    """Why the kernel ``name`` cannot train a model of ``config`` on this device; empty if it can.

    Result and gradients must be those of float64, with a window too if the model has one; no sample may see another.
    """
    if (package := _PACKAGES.get(name)) and not importlib.util.find_spec(package):
        return f"{package} is not installed"
    if dtype == torch.float32 and name != VARLEN:
        return "FlashAttention has no float32: pass --bf16 true"
    for window in (None, _PROBE_WINDOW) if getattr(config.get_text_config(), "sliding_window", None) else (None,):
        try:
            errors = kernel_errors(name, config, window, device, dtype)
        except Exception as error:  # of a package that we do not know
            return first_line(error).split(". ")[0]
        if errors.leaks:
            return "samples of a pack see each other"
        if not max(errors.result, errors.gradient) < TOLERANCE:
            where = " with a window" if window else ""
            return f"it is off by {max(errors.result, errors.gradient):.2g} of the largest value{where}"
    return ""


def _candidates(config: Any) -> list[str]:
    """The kernels to try on a GPU in half precision, the best first. Two of them have no dropout."""
    text = config.get_text_config()
    dropout = any(getattr(text, name, 0) for name in ("attention_dropout", "attn_pdrop"))
    installed = [name for name, package in _PACKAGES.items() if importlib.util.find_spec(package)]
    return [name for name in [*installed, VARLEN] if not (dropout and name in ("flash_attention_3", VARLEN))]


def choose_attention(choice: str, device: torch.device, low_precision: bool, config: Any) -> Attention:
    """The implementation to load the model with: the first kernel that passes its probe, else one SDPA per sample.

    Args:
        choice: ``auto``, a name, or a repository of kernels on the hub (``kernels-community/flash-attn2``).
        low_precision: whether the forward pass runs in bf16 or fp16 (FlashAttention has no float32).

    Raises:
        UserError: the implementation asked for does not pass.
    """
    dtype = torch.bfloat16 if low_precision else torch.float32
    if choice != "auto":
        if choice not in ON_ANY_DEVICE and (reason := trouble(choice, config, device, dtype)):
            raise UserError(f"--attention {choice} cannot be used here: {reason}")
        return Attention(choice)
    skipped: list[str] = []
    if device.type == "cuda" and low_precision:
        for name in _candidates(config):
            if not (reason := trouble(name, config, device, dtype)):
                return Attention(name, "; ".join(skipped))
            skipped.append(f"not {name}: {reason}")
    return Attention(PACKED_SDPA, "; ".join(skipped))
