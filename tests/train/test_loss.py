"""The loss is a mean over target tokens of the whole step: exact in chunks, over micro-batches and with empty packs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from train.divergence import LossGuard
from train.loss import chunked_cross_entropy, install

VOCABULARY = 97


@pytest.fixture
def model(build_config: Callable[..., Any]) -> Any:
    from transformers import AutoModelForCausalLM

    from train.attention import register

    register()
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(build_config("llama", VOCABULARY), attn_implementation="packed_sdpa")
    install(model)
    return model


def row(lengths: list[int], seed: int) -> dict[str, torch.Tensor]:
    tokens = torch.randint(3, VOCABULARY, (1, sum(lengths)), generator=torch.Generator().manual_seed(seed))
    positions = torch.cat([torch.arange(length) for length in lengths])[None]
    return {"input_ids": tokens, "position_ids": positions, "labels": tokens.masked_fill(positions < 2, -100)}


def targets(batch: dict[str, torch.Tensor]) -> int:
    return int((batch["labels"][:, 1:] != -100).sum())


def gradient(model: Any) -> torch.Tensor:
    result = torch.cat([parameter.grad.flatten() for parameter in model.parameters()])
    model.zero_grad()
    return result


@pytest.mark.parametrize("chunk", [1, 3, 7, 1000])
def test_chunks_change_neither_loss_nor_gradient(chunk: int) -> None:
    torch.manual_seed(0)
    head = torch.nn.Linear(8, VOCABULARY, bias=False)
    labels = torch.randint(0, VOCABULARY, (23,))
    results = []
    for size in (chunk, 1 << 20):
        hidden = torch.linspace(-1, 1, 23 * 8).reshape(23, 8).requires_grad_()
        loss = chunked_cross_entropy(head, hidden, labels, size)
        loss.backward()
        assert hidden.grad is not None and head.weight.grad is not None
        results.append((loss.item() / 23, hidden.grad.clone(), head.weight.grad.clone()))
        head.zero_grad()
    assert abs(results[0][0] - results[1][0]) < 1e-6
    for ours, whole in zip(results[0][1:], results[1][1:], strict=True):
        assert (ours - whole).abs().max() < 1e-5


@pytest.mark.parametrize("n_targets", [0, 1, 5, 23])
def test_every_rank_projects_equally_often_whatever_its_targets(n_targets: int) -> None:
    """ZeRO-3 gathers the projection's weights at every call, on all ranks together."""
    torch.manual_seed(0)
    head = torch.nn.Linear(8, VOCABULARY, bias=False)
    calls = []
    head.register_forward_hook(lambda *_: calls.append(1))
    hidden, labels = torch.randn(n_targets, 8, requires_grad=True), torch.randint(0, VOCABULARY, (n_targets,))
    loss = chunked_cross_entropy(head, hidden, labels, chunk_tokens=8, least_chunks=3)
    assert len(calls) == 3
    loss.backward()
    assert len(calls) == 6  # recomputed
    whole = torch.nn.functional.cross_entropy(head(hidden), labels, reduction="sum")
    assert abs(loss.item() - whole.item()) <= 1e-6 * whole.item()


def test_the_loss_is_that_of_full_logits(model: Any) -> None:
    batch = row([9, 14], 1)
    logits = (
        type(model)
        .forward(
            model,
            input_ids=batch["input_ids"],
            position_ids=batch["position_ids"],
            segment_lengths=(9, 14),
            use_cache=False,
        )
        .logits
    )
    expected = torch.nn.functional.cross_entropy(logits[0, :-1], batch["labels"][0, 1:])
    assert abs(model(**batch).loss.item() - expected.item()) < 1e-6


def test_lopsided_micro_batches_add_up_to_one_big_batch(model: Any) -> None:
    parts = [row([40, 3], 1), row([5], 2), row([3], 3), row([60], 4)]
    whole = {key: torch.cat([part[key] for part in parts], dim=1) for key in parts[0]}
    total = sum(targets(part) for part in parts)
    loss = model(**whole).loss
    loss.backward()
    expected = gradient(model)
    pieces = [model(**part, num_items_in_batch=total).loss for part in parts]
    torch.stack(pieces).sum().backward()
    assert abs(sum(piece.item() for piece in pieces) - loss.item()) < 1e-6
    assert (gradient(model) - expected).abs().max() < 1e-6


def test_a_batch_without_targets_is_zero_and_still_has_gradients(model: Any) -> None:
    batch = row([4], 1)
    batch["labels"][:] = -100
    loss = model(**batch).loss
    loss.backward()
    assert loss.item() == 0.0
    assert gradient(model).abs().max() == 0.0


def test_a_loss_that_explodes_is_found() -> None:
    guard = LossGuard(VOCABULARY)
    assert guard.problem(4.0, 500) == ""
    assert "the loss is 50.00, twice as bad as guessing" in guard.problem(50.0, 500)


def test_a_jump_after_warm_up_is_found() -> None:
    guard = LossGuard(32_000)
    assert {guard.problem(0.3, 500) for _ in range(20)} == {""}
    assert "jumped from about 0.30 to 4.00" in guard.problem(4.0, 500)


def test_a_run_that_begins_far_off_and_gets_better_has_no_problem() -> None:
    guard = LossGuard(VOCABULARY)
    assert {guard.problem(20.0 - step, 500) for step in range(20)} == {""}


def test_one_odd_label_among_few_targets_is_no_problem_and_many_are() -> None:
    guard = LossGuard(32_000)
    assert {guard.problem(0.05, 4) for _ in range(2_000)} == {""}
    assert guard.problem(30.0, 2) == "" and {guard.problem(0.05, 4) for _ in range(200)} == {""}
    assert any("jumped" in guard.problem(8.0, 4) for _ in range(130))


def test_steps_without_targets_do_not_count() -> None:
    """Their loss is 0: a run of more packs than samples was stopped for a jump from 0 to where it had always been."""
    guard = LossGuard(32_000)
    assert {guard.problem(*((0.0, 0) if step % 4 else (4.0, 500))) for step in range(200)} == {""}
