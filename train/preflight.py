"""Checks before the first step: a run that would train wrongly is refused, with the reason in one line.

On the data: exactly one BOS where the tokenizer adds one, EOS last and a target, no sample longer than a pack, none
without a response. On the model: the *neighbour-swap probe*. Two samples share a pack; the first one's tokens are
replaced; the second one's logits must not change (they change by about 6, and nothing fails, where samples see each
other).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from dart_tasks.console import first_line
from train.data import Encoded
from train.encoding import EMPTY, SPECIAL
from train.errors import UserError
from train.loss import IGNORE, packed_logits, projects_plainly
from train.sharding import whole

__all__ = ["DataReport", "check_data", "check_loss", "check_model", "check_tokenizer", "is_partitioned"]

_NAMED = 3  # samples named in a message

_NOISE = {False: 1e-5, True: 1e-3}
"""The most that a probe may change without a leak, as a share, in float32 and (True) in half precision.

Dense models do not change at all. A mixture of experts multiplies the tokens of a row grouped by expert, so that other
tokens change the order of summation: by 1.2e-7 to 7e-7 in float32, where real leaks change 6e-3 and more.
"""


@dataclass(frozen=True)
class DataReport:
    """Which samples train, and how many were left out for which reason."""

    kept: npt.NDArray[np.int64]
    over_long: int
    empty: int
    special: int

    @property
    def left_out(self) -> int:
        """Samples that do not train."""
        return self.over_long + self.empty + self.special

    @property
    def reasons(self) -> str:
        """How many were left out for which reason; empty if none was."""
        counts = (
            (self.over_long, "too long"),
            (self.empty, "with an empty response"),
            (self.special, "that spell a special token"),
        )
        return ", ".join(f"{count:,} {reason}" for count, reason in counts if count)


def check_tokenizer(tokenizer: Any, vocab_size: int) -> None:
    """Refuse a tokenizer that cannot end a response, or does not belong to the model.

    Raises:
        UserError: no EOS token, EOS added to prompts, or more tokens than the model has embeddings.
    """
    if tokenizer.eos_token_id is None:
        raise UserError("the tokenizer has no EOS token: a response could never end")
    if len(tokenizer) > vocab_size:
        raise UserError(
            f"the tokenizer has {len(tokenizer):,} tokens, the model only {vocab_size:,} embeddings: wrong tokenizer"
        )
    probe = tokenizer("1")["input_ids"]
    if probe and probe[-1] == tokenizer.eos_token_id:
        raise UserError("the tokenizer ends every prompt with EOS; use one that does not (add_eos_token=False)")


def check_data(encoded: Encoded, max_length: int, policy: str, positions: int | None = None) -> DataReport:
    """Which samples can train as they should.

    Samples with an empty response, and samples whose text spells a special token, are left out and counted.
    ``positions`` is the most that the model can take: beyond it a model fails, or extrapolates without a word.

    Raises:
        UserError: a sample is longer than ``max_length`` tokens and ``policy`` is not ``drop``; or none is left.
    """
    lengths = encoded.lengths
    limit = max_length if positions is None else min(max_length, positions)
    over_long = lengths > limit
    if over_long.any() and policy != "drop":
        names = ", ".join(encoded.name(int(i)) for i in np.flatnonzero(over_long)[:_NAMED])
        raise UserError(
            f"{int(over_long.sum()):,} of {len(encoded):,} samples exceed {limit} tokens"
            f"{' (all the positions that the model has)' if limit < max_length else ''} (longest "
            f"{int(lengths.max()):,}; first {names}). Pass --max-length-policy drop to leave them out."
        )
    special, empty = ((np.asarray(encoded.faults) == fault) & ~over_long for fault in (SPECIAL, EMPTY))
    kept = np.flatnonzero(~(over_long | empty | special))
    report = DataReport(kept, int(over_long.sum()), int(empty.sum()), int(special.sum()))
    if not len(kept):
        raise UserError(f"none of the {len(encoded):,} samples can train: {report.reasons}")
    return report


def _probe_rows(vocab_size: int, device: torch.device) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, int]:
    """Two packs that differ in the first sample only, their positions, and where the second sample starts."""
    generator = torch.Generator().manual_seed(0)
    first, second = 11, 9
    a, swapped, b = (
        torch.randint(vocab_size // 4, vocab_size, (1, n), generator=generator) for n in (first, first, second)
    )
    positions = torch.cat([torch.arange(first), torch.arange(second)])[None]
    rows = [torch.cat([left, b], dim=1).to(device) for left in (a, swapped)]
    return rows[0], rows[1], positions.to(device), first


def _leak(model: Any, tolerance: float, noise: float) -> str:
    """Why this model, with the attention it is set to, cannot train on packs; empty if it can."""
    row, swapped, positions, start = _probe_rows(model.config.get_text_config().vocab_size, model.device)
    one = packed_logits(model, row, positions)[start:]
    other = packed_logits(model, swapped, positions)[start:]
    alone = packed_logits(model, row[:, start:], positions[:, start:])
    if not alone.isfinite().all():
        broken = (name for name, weights in model.named_parameters() if not whole(weights.isfinite().all()))
        return f"its logits are not finite ({next(broken, 'no weight')} is not): is its folder whole?"
    scale = max(float(alone.abs().max()), 1.0)
    if not (change := float((one - other).abs().max())) <= noise * scale:
        return f"a sample's logits change by {change:.2g} with the tokens of its neighbour"
    if (difference := float((one - alone).abs().max())) > tolerance * scale:
        return f"a sample's logits in a pack differ by {difference:.2g} from those it has alone"
    return ""


def _reason(model: Any, attention: str, tolerance: float, noise: float) -> str:
    """Why the model cannot train with ``attention``, which it may not know; empty if it can."""
    try:
        model.set_attn_implementation(attention)
        return _leak(model, tolerance, noise)
    except KeyError:
        return "it does not know it"
    except (RuntimeError, ValueError, TypeError) as error:
        return first_line(error)


def check_model(model: Any, attentions: Sequence[str], half_precision: bool = False) -> None:
    """Refuse a model that lets samples see each other under any of ``attentions`` (the run's own first).

    transformers' own attention is probed beside the run's, so that a model which only one of the two keeps from leaking
    is refused. Every rank of a sharded model must call it; one that computes in ``half_precision`` is judged by that.

    Raises:
        UserError: the model leaks, cannot run the attention, or transforms its logits in a way this loss does not know.
    """
    name = type(model).__name__.removeprefix("FSDP")
    exact = model.dtype == torch.float32 and not half_precision
    tolerance = 1e-4 if exact else 0.1  # weights in 4 bits are multiplied in bf16
    own = model.config._attn_implementation
    training = model.training
    model.eval()
    try:
        reasons = {attention: _reason(model, attention, tolerance, _NOISE[half_precision]) for attention in attentions}
        for attention, reason in reasons.items():
            if reason:
                others = [other for other, found in reasons.items() if not found]
                hint = f"; it is exact with --attention {others[0]}" if others and attention == own else ""
                raise UserError(f"{name} cannot train on packed samples with {attention} attention: {reason}{hint}")
        row, _, positions, start = _probe_rows(model.config.get_text_config().vocab_size, model.device)
        if (difference := projects_plainly(model, row[:, start:], positions[:, start:])) > tolerance:
            raise UserError(
                f"{name} changes its logits after the vocabulary projection (by {difference:.2g}): unsupported"
            )
    finally:
        model.set_attn_implementation(own)
        model.train(training)


def is_partitioned(model: Any) -> bool:
    """Whether this process holds only parts of the weights, or none: ZeRO-3 loads models so."""
    return any(parameter.device.type == "meta" or hasattr(parameter, "ds_id") for parameter in model.parameters())


@torch.no_grad()
def check_loss(model: Any, vocab_size: int, device: torch.device, half_precision: bool = False) -> None:
    """The neighbour-swap probe on the wrapped model, by its loss: in the run's precision, under DDP, FSDP2 or ZeRO-3.

    Every rank must call it.

    Raises:
        UserError: the second sample's loss depends on the first sample.
    """
    row, swapped, positions, start = _probe_rows(vocab_size, device)
    labels = row.clone()
    labels[:, : start + 1] = IGNORE
    training = model.training
    model.eval()
    try:
        losses = [
            float(model(input_ids=ids, position_ids=positions, labels=labels, num_items_in_batch=1).loss)
            for ids in (row, swapped)
        ]
    except RuntimeError as error:  # of an attention that runs on GPUs only
        raise UserError(f"the model cannot train on packed samples: {first_line(error)}") from error
    model.train(training)
    if not abs(losses[0] - losses[1]) <= _NOISE[half_precision] * losses[0]:
        raise UserError(f"samples in one pack see each other: loss {losses[0]:.6f} becomes {losses[1]:.6f}")
