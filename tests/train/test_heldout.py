"""Held-out loss: exact, by data set, equal on any number of ranks, and without any influence on training."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load, load_file

from train.data import TrainingSet, encode
from train.heldout import draw, held_out

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # torch's, about how it was built


def mean_loss(model: Path, sources: list[Path], cache: Path) -> float:
    """By transformers' own forward pass, sample by sample in float64."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    plain = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float64)
    encoded = encode([TrainingSet(str(path)) for path in sources], AutoTokenizer.from_pretrained(model), cache)
    total = count = 0.0
    for index in range(len(encoded)):
        ids, is_target = encoded.sample(index)
        prompt_length = int(is_target.argmax())
        row = torch.tensor(ids.astype(np.int64))[None]
        with torch.no_grad():
            logits = plain(input_ids=row).logits[0, prompt_length - 1 : -1]
        total += float(torch.nn.functional.cross_entropy(logits, row[0, prompt_length:], reduction="sum"))
        count += len(ids) - prompt_length
    return total / count


def shown(text: str) -> list[float]:
    return [float(found) for found in re.findall(r"held-out loss (\d+\.\d+)", text)]


def test_the_held_out_loss_is_that_of_the_exported_model_by_data_set(
    sft: Any, tmp_path: Path, build_dataset: Callable[..., Path]
) -> None:
    one, two = build_dataset(tmp_path / "one", 7, seed=5), build_dataset(tmp_path / "two", 12, seed=6)
    flags = ["--eval-data", str(one), "--eval-data", str(two), "--max-length", "512", "--export-dtype", "float32"]
    assert sft("out", "--num_train_epochs", "1", *flags) == (0, "")
    assert "held out       19 samples in " in sft.out
    (line,) = re.findall(rf"held-out loss (\S+)  {one} (\S+); {two} (\S+)\n", sft.out)
    for found, sources in zip(line, ([one, two], [one], [two]), strict=True):
        assert abs(float(found) - mean_loss(tmp_path / "out", sources, tmp_path / "cache")) < 1e-4


def test_evaluation_changes_no_weight(sft: Any, tmp_path: Path, build_dataset: Callable[..., Path]) -> None:
    """With dropout on, and also where a checkpoint is saved for it."""
    flags = ["--num_train_epochs", "2", "--max-length", "512", "--export-dtype", "float32"]
    held = ["--eval-data", str(build_dataset(tmp_path / "held", 7, seed=5)), "--eval_strategy", "steps"]
    assert sft("without", *flags) == (0, "")
    assert sft("with", *flags, *held, "--eval_steps", "2", "--eval_on_start", "--keep-best") == (0, "")
    assert len(shown(sft.out)) > 3
    one, other = ((tmp_path / name / "model.safetensors").read_bytes() for name in ("without", "with"))
    assert one == other


def test_the_best_checkpoint_is_kept_and_exported(sft: Any, tmp_path: Path, build_dataset: Callable[..., Path]) -> None:
    """With a rate at which the loss is lowest in the middle. The last weights were exported."""
    held = ["--eval-data", str(build_dataset(tmp_path / "held", 7, seed=5)), "--keep-best", "--save_total_limit", "1"]
    steps = ["--max_steps", "6", "--eval_strategy", "steps", "--eval_steps", "1", "--max-length", "512"]
    held += ["--export-dtype", "float32"]
    diverging = ["--learning_rate", "0.3", "--lr_scheduler_type", "constant_with_warmup", "--warmup_steps", "6"]
    assert sft("out", *held, *steps, *diverging, "--on-divergence", "ignore") == (0, "")
    found = shown(sft.out)
    assert len(found) == 6
    best = 1 + int(np.argmin(found))
    assert 1 < best < 6, found
    assert {path.name for path in (tmp_path / "out").glob("checkpoint-*")} == {f"checkpoint-{best}", "checkpoint-6"}
    exported = (tmp_path / "out" / "model.safetensors").read_bytes()
    kept = load_file(tmp_path / "out" / f"checkpoint-{best}" / "model.safetensors")
    assert all(torch.equal(tensor, kept[name]) for name, tensor in load(exported).items())
    assert f"of step {best}: the lowest held-out loss" in " ".join(sft.out.split())
    assert sft("out", *held, *steps, *diverging, "--on-divergence", "ignore") == (0, "")  # resumed at its end
    assert (tmp_path / "out" / "model.safetensors").read_bytes() == exported
    state = json.loads((tmp_path / "out" / "checkpoint-6" / "trainer_state.json").read_text())
    assert state["best_global_step"] == best and abs(state["best_metric"] - min(found)) < 1e-4


def test_a_split_holds_out_whole_queries_whatever_their_order(
    tmp_path: Path, build_tokenizer: Callable[..., Any]
) -> None:
    rows = [{"query": f"What is {i % 40} + 1?", "response": f"{i}"} for i in range(400)]
    tokenizer, chosen = build_tokenizer(tmp_path / "t"), []
    for name, ordered in (("one", rows), ("other", rows[::-1])):
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ordered))
        encoded = encode([TrainingSet(str(tmp_path / f"{name}.jsonl"))], tokenizer, tmp_path / "cache")
        drawn = draw(encoded, np.arange(400), 0.2, 42)
        chosen.append({ordered[i]["query"] for i in np.flatnonzero(drawn)})
        assert not chosen[-1] & {ordered[i]["query"] for i in np.flatnonzero(~drawn)}
        packs = held_out(encoded, np.flatnonzero(drawn), 300).packs
        assert sorted(np.concatenate(packs)) == np.flatnonzero(drawn).tolist()
        assert all(encoded.lengths[pack].sum() <= 300 for pack in packs)
    assert chosen[0] == chosen[1] and 2 <= len(chosen[0]) <= 16


@pytest.mark.parametrize(
    ("flags", "code", "message"),
    [
        ("--eval-split 1.5", 2, "--eval-split must be from 0 to below 1"),
        ("--eval-split 0.1 --eval-data x", 2, "give --eval-data or --eval-split, not both"),
        ("--keep-best", 2, "--keep-best needs --eval-data or --eval-split"),
        ("--eval-split 1e-9", 1, "--eval-split 1e-09 leaves no sample to measure the held-out loss on"),
        ("--eval-data nowhere.jsonl", 2, "--eval-data nowhere.jsonl: no such file or folder"),
        ("--eval-data nowhere", 2, "--eval-data nowhere: no such file or folder, and without a GPU nothing"),
    ],
)
def test_what_cannot_be_held_out_is_one_line(flags: str, code: int, message: str, sft: Any) -> None:
    found, error = sft("out", *flags.split())
    assert found == code and message in error and len(error.strip().splitlines()) == 1
