"""Weights of training sets: how often their samples are in an epoch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from train.arguments import training_set
from train.errors import UsageError
from train.mixture import Mixture, mixture
from train.packing import epoch_packing, pack_count

Sft = Callable[..., tuple[int, str]]


@given(
    sets=st.lists(st.integers(0, 2), min_size=1, max_size=60),
    weights=st.tuples(*[st.sampled_from([0.25, 0.5, 1.0, 1.5, 2.0, 3.75])] * 3),
    seed=st.integers(0, 9),
)
def test_over_the_epochs_every_sample_is_seen_as_often_as_its_weight_says(
    sets: list[int], weights: tuple[float, ...], seed: int
) -> None:
    drawn, epochs = Mixture(np.array(sets), weights, seed), 8
    seen = np.bincount(np.concatenate([drawn(epoch) for epoch in range(epochs)]), minlength=len(sets))
    for index, weight in enumerate(weights):
        of_set = seen[np.array(sets) == index]
        if len(of_set):
            assert of_set.max() - of_set.min() <= 1
            assert abs(of_set.sum() - epochs * weight * len(of_set)) <= 1


def test_packs_hold_each_epochs_samples_and_no_others() -> None:
    generator = np.random.default_rng(0)
    lengths, sets = generator.integers(1, 50, 90), np.repeat([0, 1], [60, 30])
    mixed = mixture(sets, [0.5, 2], 3)
    assert mixed is not None and mixture(sets, [1, 1.0], 3) is None
    count = pack_count(lengths, 64, 3, 4, 8, mixture=mixed)
    for epoch in range(4):
        packing = epoch_packing(lengths, 64, 3, epoch, count, mixture=mixed)
        assert len(packing) == count
        assert sorted(packing.samples) == sorted(mixed(epoch))
        assert max(lengths[packing[pack]].sum() for pack in range(count)) <= 64


def test_the_weight_is_a_key_of_data() -> None:
    assert training_set("a.jsonl,weight=0.5").weight == 0.5 and training_set("a.jsonl").weight == 1
    for wrong in ("0", "-1", "nan", "two", "1e9"):
        with pytest.raises(UsageError, match="weight must be above 0"):
            training_set(f"a.jsonl,weight={wrong}")


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_weighted_run_trains_so_many_tokens_and_resumes_to_the_same_bits(
    sft: Any, build_dataset: Callable[..., Path], tmp_path: Path
) -> None:
    other = build_dataset(tmp_path / "other", rows=20, seed=5)
    flags = ["--data", f"{other},weight=2.5", "--num_train_epochs", "2", "--export-dtype", "float32"]
    flags += ["--save_strategy", "steps", "--save_steps", "4", "--save_total_limit", "9", "--max-length", "700"]
    assert sft("whole", *flags) == (0, "")
    assert "samples        110 " in sft.out  # 60 once and 20 two and a half times
    import shutil

    shutil.copytree(tmp_path / "whole", tmp_path / "cut")
    newest = sorted((tmp_path / "cut").glob("checkpoint-*"), key=lambda path: int(path.name.split("-")[1]))
    for late in newest[1:]:
        shutil.rmtree(late)
    assert sft("cut", *flags) == (0, "")
    weights = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("whole", "cut")]
    assert weights[0] == weights[1]
    code, error = sft("cut", *[flag.replace("weight=2.5", "weight=1") for flag in flags])
    assert code == 1 and "another run" in error
