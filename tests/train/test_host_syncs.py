"""A GPU's host must not wait for it: our own code asks the device for a value at most once per optimizer step."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from train.sft import main

STEPS = 6


class HostSyncs(TorchDispatchMode):
    """Counts, by the line that asks, what would make the host wait: values read, and shapes that depend on values."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: Counter[str] = Counter()

    def count(self) -> None:
        frame = sys._getframe(1)
        while "/torch/" in frame.f_code.co_filename or frame.f_code.co_filename == __file__:
            frame = frame.f_back  # type: ignore[assignment]
        self.lines[f"{frame.f_code.co_filename}:{frame.f_code.co_name}"] += 1

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        by_mask = name in ("index", "index_put_") and any(x is not None and x.dtype == torch.bool for x in args[1])
        if name in ("_local_scalar_dense", "nonzero", "masked_select", "unique_consecutive") or by_mask:
            self.count()
        return func(*args, **(kwargs or {}))


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("accumulation", [1, 4])
def test_ours_are_one_per_step(
    accumulation: int, tiny_llama: Path, sums: Path, tmp_path: Path, repo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from train.trainer import PackedTrainer

    counter = HostSyncs()
    read: Callable[[torch.Tensor], Any] = torch.Tensor.tolist

    def tolist(tensor: torch.Tensor) -> Any:  # not an operator where the tensor is on the CPU already
        counter.count()
        return read(tensor)

    train = PackedTrainer._inner_training_loop

    def counted(*arguments: Any, **options: Any) -> Any:
        with counter, monkeypatch.context() as patch:
            patch.setattr(torch.Tensor, "tolist", tolist)
            return train(*arguments, **options)

    monkeypatch.setattr(PackedTrainer, "_inner_training_loop", counted)
    flags = ["--recipe", "demo", "--model", str(tiny_llama), "--data", str(sums), "--output_dir", str(tmp_path)]
    flags += ["--max_steps", str(STEPS), "--gradient_accumulation_steps", str(accumulation), "--report_to", "none"]
    assert main([*flags, "--save_strategy", "no", "--logging_steps", str(STEPS)]) == 0
    ours = {line: n for line, n in counter.lines.items() if line.startswith(str(repo / "train"))}
    theirs = sum(counter.lines.values()) - sum(ours.values())
    per_step = {line: n for line, n in ours.items() if n >= STEPS}
    print(f"ours {ours}, the Trainer's {theirs} in {STEPS} steps")
    assert per_step == {f"{repo / 'train' / 'trainer.py'}:_judged": STEPS}
    assert sum(ours.values()) - STEPS <= 9  # the probe before the first step, the meters of one log
