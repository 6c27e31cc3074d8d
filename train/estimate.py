"""What a run costs, from the model's configuration alone: parameters, FLOPs, memory per GPU, hours."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

__all__ = [
    "PEAK_FLOPS",
    "MemoryEstimate",
    "ModelSize",
    "adapter_memory_per_gpu",
    "adapter_parameters",
    "flops_per_epoch",
    "memory_per_gpu",
    "model_size",
    "peak_flops",
]

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

Sharding = Literal["none", "full"]


def peak_flops(device_name: str) -> float | None:
    """The device's dense half-precision peak in FLOP/s; None if it is not in the table."""
    return next((peak for name, peak in PEAK_FLOPS.items() if name in device_name), None)


@dataclass(frozen=True)
class ModelSize:
    """Sizes that costs depend on.

    Attributes:
        parameters: all of them, a tied head once.
        blocks: parameters of the layers' matrix products.
        head: parameters of the vocabulary projection, tied or not.
        attention_width: heads x size of a head.
    """

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

    text = config.get_text_config()
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
        model.tie_weights()
    embedding = model.get_input_embeddings().weight.numel()
    head_dim = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
    return ModelSize(
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        blocks=sum(p.numel() for p in model.base_model.parameters() if p.ndim >= 2) - embedding,
        head=model.get_output_embeddings().weight.numel(),
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


@dataclass(frozen=True)
class MemoryEstimate:
    """Bytes on one GPU at the peak of a step."""

    states: int
    """Float32 weights, gradients and Adam's two moments: 16 bytes a parameter, shared by the GPUs where sharded."""
    gathered: int
    """Weights of the layers in use, in the forward pass's precision."""
    activations: int
    logits: int

    @property
    def total(self) -> int:
        """All of it, without the allocator's and the communication library's own (a few GB)."""
        return self.states + self.gathered + self.activations + self.logits


NF4_BYTES = 0.516
"""Bytes of a weight in 4 bits with quantised scales (QLoRA, arXiv 2305.14314: 0.127 bits a weight for the scales)."""


def adapter_parameters(config: Any, r: int) -> int:
    """Parameters of a LoRA adapter of rank ``r`` beside every linear layer but the vocabulary projection."""
    import torch
    from transformers import AutoModelForCausalLM

    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    head = model.get_output_embeddings()
    linear = [m for m in model.modules() if isinstance(m, torch.nn.Linear) and m is not head]
    return r * sum(layer.in_features + layer.out_features for layer in linear)


def adapter_memory_per_gpu(
    size: ModelSize, adapter: int, tokens: int, checkpointing: bool, bytes_per_value: int, in_4bit: bool
) -> MemoryEstimate:
    """Memory of a step of LoRA: one whole copy of the frozen weights per GPU, 16 bytes a parameter of the adapter.

    Args:
        adapter: its parameters.
        in_4bit: the layers' weights are kept in 4 bits, and one layer at a time is held whole.
    """
    whole = memory_per_gpu(size, tokens, 1, "none", checkpointing, bytes_per_value)
    kept = NF4_BYTES if in_4bit else bytes_per_value
    frozen = int(kept * size.blocks) + bytes_per_value * (size.parameters - size.blocks)
    layer = bytes_per_value * size.blocks // size.layers if in_4bit else 0
    return MemoryEstimate(frozen + 16 * adapter, layer, whole.activations, whole.logits)


def memory_per_gpu(
    size: ModelSize, tokens: int, gpus: int, sharding: Sharding, checkpointing: bool, bytes_per_value: int
) -> MemoryEstimate:
    """Memory of a step on ``tokens`` per micro-batch, by counting the tensors that autograd keeps.

    With checkpointing a layer keeps its input; one layer at a time keeps everything: about twelve values of the hidden
    size, four of the attention's and four of the intermediate size per token. Half precision is mixed: the residual
    stream of unsharded models and the loss stay in float32.
    """
    states = 16 * size.parameters // (gpus if sharding == "full" else 1)
    layer = size.blocks // size.layers
    if sharding == "full":
        gathered = bytes_per_value * (2 * layer + 2 * size.head)
    else:
        gathered = bytes_per_value * (size.blocks + size.head) if bytes_per_value < 4 else 0
    residual = bytes_per_value if sharding == "full" else 4
    inside = tokens * (bytes_per_value * (4 * size.attention_width + 4 * size.intermediate + 6 * size.hidden))
    inside += tokens * 6 * size.hidden * residual
    kept = tokens * size.hidden * residual
    activations = size.layers * kept + inside if checkpointing else size.layers * (kept + inside)
    chunk = min(1 << 26, tokens * size.vocabulary)
    return MemoryEstimate(states, gathered, activations, 3 * 4 * chunk)
