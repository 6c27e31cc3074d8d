"""What only a GPU can show, in one table: ``python -m train.gpu_check`` (``make gpu-check``).

Each check runs where its library and enough GPUs are, and says ``skipped`` and why elsewhere. Without a GPU it checks
nothing and fails.
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

__all__ = ["Check", "main"]

_CHECKOUT = Path(__file__).resolve().parent.parent
_LAUNCH = Path(__file__).resolve().parent / "launch"


@dataclass(frozen=True)
class Check:
    """One check's outcome."""

    name: str
    outcome: Literal["passed", "failed", "skipped"]
    detail: str


def _tiny(attention: str) -> Any:
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from train.loss import install

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=512, hidden_size=256, intermediate_size=512, num_hidden_layers=2, num_attention_heads=4
    )
    config._attn_implementation = attention
    model = LlamaForCausalLM(config).cuda()
    install(model)
    return model


def _loss(attention: str) -> tuple[float, float]:
    """Loss of a packed row under bf16 autocast, and how it changes with the first sample's tokens."""
    import torch

    from train.attention import register

    register()
    model = _tiny(attention)
    lengths = [100, 37, 300, 1]
    tokens = torch.randint(3, 512, (1, sum(lengths)), generator=torch.Generator().manual_seed(1)).cuda()
    positions = torch.cat([torch.arange(length) for length in lengths])[None].cuda()
    labels = tokens.masked_fill(positions == 0, -100)
    labels[:, : lengths[0]] = -100
    swapped = tokens.clone()
    swapped[:, : lengths[0]] = tokens[:, : lengths[0]].flip(1)
    with torch.autocast("cuda", torch.bfloat16):
        one, other = (float(model(input_ids=t, position_ids=positions, labels=labels).loss) for t in (tokens, swapped))
    return one, abs(one - other)


def _attention(name: str, module: str) -> Check:
    title = f"{name}: no leak, loss as packed_sdpa"
    if importlib.util.find_spec(module) is None:
        return Check(title, "skipped", f"{module} is not installed")
    loss, leak = _loss(name)
    reference, _ = _loss("packed_sdpa")
    passed = leak == 0.0 and abs(loss - reference) < 1e-2
    return Check(title, "passed" if passed else "failed", f"loss {loss:.5f} and {reference:.5f}, leak {leak:g}")


def _launch(name: str, distributed: str, module: str | None = None) -> Check:
    import torch

    title = f"train/launch/{name}.yaml: 5 steps"
    gpus = torch.cuda.device_count()
    if gpus < 2:
        return Check(title, "skipped", "needs two GPUs")
    if module and importlib.util.find_spec(module) is None:
        return Check(title, "skipped", f"{module} is not installed")
    from dart_tasks import embedded

    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "data.jsonl"
        data.write_text('{"query": "What is 2 + 3?", "response": "2 + 3 = 5."}\n' * 64, encoding="utf-8")
        command = [sys.executable, "-m", "accelerate.commands.launch", "--config_file", str(_LAUNCH / f"{name}.yaml")]
        command += ["--num_processes", str(gpus), "train/sft.py", "--recipe", "demo", "--data", str(data)]
        command += ["--model", str(embedded.BASE_MODEL_DIR), "--output_dir", f"{folder}/out", "--use_cpu", "false"]
        command += ["--bf16", "true", "--global-batch", str(gpus), "--max_steps", "5", "--report_to", "none"]
        command += ["--expect-processes", str(gpus), "--expect-distributed", distributed]
        done = subprocess.run(command, cwd=_CHECKOUT, capture_output=True, text=True, check=False, timeout=900)
    last = (done.stdout + done.stderr).strip().splitlines()[-1:] or [""]
    return Check(title, "failed" if done.returncode else "passed", last[0][:100])


def _memory() -> Check:
    """The estimate of ``--dry-run`` against the allocator's peak."""
    import torch

    from train.attention import register
    from train.estimate import memory_per_gpu, model_size

    register()
    torch.cuda.reset_peak_memory_stats()
    model = _tiny("packed_sdpa")
    optimizer = torch.optim.AdamW(model.parameters())
    tokens = torch.randint(3, 512, (1, 4096)).cuda()
    positions = torch.arange(1024).repeat(4)[None].cuda()
    for _ in range(2):
        with torch.autocast("cuda", torch.bfloat16):
            model(input_ids=tokens, position_ids=positions, labels=tokens).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    peak = torch.cuda.max_memory_allocated()
    estimate = memory_per_gpu(model_size(model.config), 4096, 1, "none", False, 2).total
    passed = 0.5 < estimate / peak < 2
    return Check(
        "memory estimate within a factor of two", "passed" if passed else "failed", f"{estimate:,} for {peak:,} bytes"
    )


def main() -> int:
    """Run all checks; 0 if none failed, 2 without a GPU."""
    import torch

    if not torch.cuda.is_available():
        print("train.gpu_check: no GPU here, nothing was checked", file=sys.stderr)
        return 2
    checks: list[Callable[[], Check]] = [
        lambda: _attention("flash_attention_2", "flash_attn"),
        lambda: _attention("flash_attention_3", "flash_attn_interface"),
        _memory,
        lambda: _launch("ddp-8gpu", "ddp"),
        lambda: _launch("fsdp2-8gpu", "fsdp"),
        lambda: _launch("zero3-8gpu", "deepspeed", "deepspeed"),
    ]
    outcomes = []
    for check in checks:
        outcome = check()
        outcomes.append(outcome)
        print(f"{outcome.outcome:8} {outcome.name}: {outcome.detail}", flush=True)
    return int(any(outcome.outcome == "failed" for outcome in outcomes))


if __name__ == "__main__":
    sys.exit(main())
