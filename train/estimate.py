"""What a run costs, from the model's configuration alone: parameters, FLOPs, memory per GPU, hours."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["PEAK_FLOPS", "ModelSize", "flops_per_epoch", "model_size", "peak_flops"]

PEAK_FLOPS = {
    "H200": 989e12,
    "H100": 989e12,
    "H800": 989e12,
    "A100": 312e12,
    "A800": 312e12,
    "L40S": 362e12,
    "A10": 125e12,
    "V100": 125e12,
}
"""Dense bf16 (V100: fp16) tensor-core FLOP/s by device name, from the vendors' data sheets."""


def peak_flops(device_name: str) -> float | None:
    """The device's dense half-precision peak in FLOP/s; None if it is not in the table."""
    return next((peak for name, peak in PEAK_FLOPS.items() if name in device_name), None)


@dataclass(frozen=True)
class ModelSize:
    """Sizes that costs depend on. ``blocks`` and ``head`` count parameters of matrix products; a tied head counts."""

    parameters: int
    blocks: int
    head: int
    layers: int
    hidden: int
    attention_width: int
    intermediate: int
    vocabulary: int


def model_size(config: Any) -> ModelSize:
    """Sizes of the causal language model of ``config``, counted on an empty (meta) model."""
    import torch
    from transformers import AutoModelForCausalLM

    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    text = config.get_text_config()
    embedding = model.get_input_embeddings().weight.numel()
    head = model.get_output_embeddings().weight
    parameters = sum(parameter.numel() for parameter in model.parameters())
    tied = head is model.get_input_embeddings().weight or bool(getattr(config, "tie_word_embeddings", False))
    blocks = sum(p.numel() for p in model.base_model.parameters() if p.ndim >= 2) - embedding
    head_dim = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
    return ModelSize(
        parameters=parameters if not tied or head is model.get_input_embeddings().weight else parameters - head.numel(),
        blocks=blocks,
        head=head.numel(),
        layers=text.num_hidden_layers,
        hidden=text.hidden_size,
        attention_width=head_dim * text.num_attention_heads,
        intermediate=getattr(text, "intermediate_size", None) or 4 * text.hidden_size,
        vocabulary=text.vocab_size,
    )


def flops_per_epoch(size: ModelSize, lengths: npt.NDArray[np.int64], targets: npt.NDArray[np.int64]) -> float:
    """Forward and backward FLOPs over all samples, without recomputation (the convention of MFU).

    Six per parameter and token; the vocabulary projection on target tokens alone; causal attention within each sample.
    """
    tokens = float(lengths.sum())
    attention = 6.0 * size.layers * size.attention_width * float((lengths.astype(np.float64) ** 2).sum())
    return 6.0 * size.blocks * tokens + 6.0 * size.head * float(targets.sum()) + attention
