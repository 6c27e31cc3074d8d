"""What only a GPU can show, in one table, in under 8 minutes of one Hopper GPU: ``python -m train.gpu_check``.

It needs torch, transformers and accelerate, no network and no data: attention kernels against float64 (result,
gradients, leaks, windows), the chunked loss at a vocabulary of 128k, bitwise resume, also sharded (FSDP2 over one GPU,
with torch's distributed checkpoint), LoRA, host synchronisations, and a model of 1.2 B random weights on packs of 4,096
in bf16: target tokens per second, MFU and peak memory beside other ways to train, in one run. With several GPUs it
starts the launch configurations too. What needs a library that is not there says ``skipped``.

``--small`` does the same at sizes for a CPU, to try the program itself; its figures say nothing.
"""

from __future__ import annotations

import argparse
import copy
import gc
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
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
    outcome: Literal["passed", "failed", "skipped", "measured"]
    detail: str


@dataclass(frozen=True)
class _Sizes:
    """How large everything is."""

    segments: tuple[int, ...]
    vocabulary: int
    loss_tokens: int
    loss_hidden: int
    model: dict[str, int]
    samples: int
    max_length: int


_FULL = _Sizes(
    segments=(700, 37, 1900, 1, 458, 1000),
    vocabulary=128_256,
    loss_tokens=2048,
    loss_hidden=2048,
    model={
        "vocab_size": 128_256,
        "hidden_size": 2048,
        "intermediate_size": 8192,
        "num_hidden_layers": 16,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
    },
    samples=1200,
    max_length=4096,
)
_SMALL = _Sizes(
    segments=(70, 7, 190, 1, 32),
    vocabulary=1000,
    loss_tokens=64,
    loss_hidden=32,
    model={
        "vocab_size": 1000,
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
    },
    samples=24,
    max_length=512,
)
_LAYERS = {  # heads, key-value heads, size of a head, sliding window
    "32 heads of 128, 8 of keys": (32, 8, 128, None),
    "12 heads of 64": (12, 12, 64, None),
    "16 heads of 256, 8 of keys, window 512": (16, 8, 256, 512),
}


def _device() -> Any:
    import torch

    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def _peak_bytes() -> int:
    import torch

    return int(torch.cuda.max_memory_allocated()) if torch.cuda.is_available() else 0


def _start_over() -> None:
    """Free what the last check held, and its peak."""
    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def _result(name: str, passed: bool, detail: str) -> Check:
    return Check(name, "passed" if passed else "failed", detail)


def _kernels(sizes: _Sizes) -> Iterator[Check]:
    """Every kernel that may be chosen here, in bf16, against float64."""
    import torch
    from transformers import LlamaConfig

    from train.attention import TOLERANCE, kernel_errors

    packages = {"flash_attention_3": "flash_attn_interface", "flash_attention_2": "flash_attn"}
    for kernel in ("varlen", "flash_attention_2", "flash_attention_3", "packed_sdpa"):
        for layer, (heads, kv_heads, size, window) in _LAYERS.items():
            name = f"{kernel}: {layer}"
            if kernel in packages and not importlib.util.find_spec(packages[kernel]):
                yield Check(name, "skipped", f"{packages[kernel]} is not installed")
                break
            if kernel == "varlen" and not torch.cuda.is_available():
                yield Check(name, "skipped", "it runs on GPUs only")
                break
            config = LlamaConfig(
                hidden_size=heads * size, num_attention_heads=heads, num_key_value_heads=kv_heads, head_dim=size
            )
            window = window and min(window, sizes.segments[0] // 3)
            try:
                errors = kernel_errors(kernel, config, window, _device(), torch.bfloat16, sizes.segments)
            except Exception as error:  # of a package that we do not know
                yield Check(name, "failed", f"{type(error).__name__}: {str(error).partition(chr(10))[0][:120]}")
                continue
            passed = not errors.leaks and max(errors.result, errors.gradient) < TOLERANCE
            leak = "a LEAK" if errors.leaks else "no leak"
            yield _result(name, passed, f"result {errors.result:.2%}, gradients {errors.gradient:.2%} off, {leak}")


def _chunked_loss(sizes: _Sizes) -> Iterator[Check]:
    """The loss in chunks against full logits in float64, and the memory of both in bf16."""
    import torch

    from train.loss import chunked_cross_entropy

    torch.manual_seed(0)
    device = _device()
    hidden = torch.randn(sizes.loss_tokens, sizes.loss_hidden, device=device)
    targets = torch.randint(0, sizes.vocabulary, (sizes.loss_tokens,), device=device)
    head = torch.nn.Linear(sizes.loss_hidden, sizes.vocabulary, bias=False, device=device)

    def run(dtype: Any, chunk: int) -> tuple[float, Any, int]:
        states = hidden.to(dtype, copy=True).requires_grad_()
        module = copy.deepcopy(head).to(dtype)
        _start_over()
        before = _peak_bytes()
        loss = chunked_cross_entropy(module, states, targets, chunk) if chunk else None
        if loss is None:
            loss = torch.nn.functional.cross_entropy(module(states).double(), targets, reduction="sum")
        gradient, _ = torch.autograd.grad(loss, (states, module.weight))
        return float(loss.detach()), gradient.double(), _peak_bytes() - before

    chunk = max(1, sizes.loss_tokens // 8)
    exact, gradient, _ = run(torch.float64, 0)
    loss, ours, _ = run(torch.float32, chunk)
    error = float((ours - gradient).abs().max() / gradient.abs().max())
    name = f"chunked loss, {sizes.loss_tokens:,} targets, vocabulary {sizes.vocabulary:,}"
    detail = f"loss {abs(loss / exact - 1):.1e}, gradient {error:.1e} off float64"
    _, _, chunked = run(torch.bfloat16, chunk)
    _, _, whole = run(torch.bfloat16, sizes.loss_tokens)
    if _peak_bytes():
        detail += f"; {chunked / 2**30:.2f} GiB in bf16, {whole / 2**30:.2f} in one piece"
    yield _result(name, abs(loss / exact - 1) < 1e-5 and error < 1e-3, detail)


def _config(sizes: _Sizes, **overrides: int) -> Any:
    from transformers import LlamaConfig

    return LlamaConfig(**{**sizes.model, "max_position_embeddings": 8192, **overrides})


def _attention(sizes: _Sizes) -> str:
    """The attention that a run would choose here."""
    import torch

    from train.attention import choose_attention

    return choose_attention("auto", _device(), torch.cuda.is_available(), _config(sizes)).name


def _training(**others: Any) -> dict[str, Any]:
    import torch

    on_gpu = torch.cuda.is_available()
    return {"use_cpu": not on_gpu, "bf16": on_gpu, "optim": "adamw_torch_fused" if on_gpu else "adamw_torch", **others}


def _resume(sizes: _Sizes) -> Iterator[Check]:
    """Six steps, and three resumed to six, with deterministic kernels: the same bits. Then sharded over one device."""
    import torch.distributed as dist

    yield from _resumed(sizes, sharded=False)
    _start_over()
    try:
        yield from _resumed(sizes, sharded=True)
    finally:
        if dist.is_initialized():
            dist.destroy_process_group()


def _resumed(sizes: _Sizes, sharded: bool) -> Iterator[Check]:
    import torch

    from train.checkpoints import latest_complete
    from train.sharded_checkpoints import stored_tensors
    from train.sharding import kept_once, whole
    from train.throughput import Setup, Way, draw, ours

    layers = {"vocab_size": 2048, "hidden_size": 256, "intermediate_size": 512, "num_hidden_layers": 2}
    config = _config(sizes, **layers, num_attention_heads=4, num_key_value_heads=2)
    encoded = draw(sizes.samples // 4 + 8, 2048, sizes.max_length / 4096)
    attention = _attention(sizes)
    torch.use_deterministic_algorithms(True, warn_only=True)
    folders: list[str] = []
    try:
        states = []
        for steps in (6, 3, 6):
            saving = {"save_strategy": "steps", "save_steps": 3, "max_steps": 6, "lr_scheduler_type": "constant"}
            trainer = Way("", lambda setup: ours(setup, attention, sharded)).make(
                Setup(config, encoded, sizes.max_length, _training(**saving))
            )
            if steps == 6 and folders:  # the second run, resumed
                trainer.args.output_dir = folders[-1]
            else:
                folders.append(trainer.args.output_dir)
            checkpoint, _ = latest_complete(Path(trainer.args.output_dir))
            if steps == 3:
                trainer.args.max_steps = 3
            trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
            states.append({name: whole(tensor).cpu() for name, tensor in kept_once(trainer.model).items()})
            del trainer
            _start_over()
        if sharded:
            last = Path(folders[0]) / "checkpoint-6"
            stored = all(torch.equal(stored_tensors(last, [name])[name], states[0][name]) for name in states[0])
            yield _result(
                "sharded: what train export reads of a checkpoint", stored, "equal" if stored else "DIFFERENT"
            )
    finally:
        torch.use_deterministic_algorithms(False)
        for folder in folders:
            shutil.rmtree(folder, ignore_errors=True)
    equal = all(torch.equal(states[0][name], states[2][name]) for name in states[0])
    moved = any(not torch.equal(states[0][name], states[1][name]) for name in states[0])
    kind = ", sharded" if sharded else ""
    yield _result(f"resume with {attention}{kind}: bitwise", equal and moved, "equal" if equal else "DIFFERENT weights")


def _lora(sizes: _Sizes) -> Iterator[Check]:
    """An adapter's gradients as of merged weights, and with 4 bits where they can be had."""
    import torch

    name = "LoRA: merged weights are the adapted model"
    if not importlib.util.find_spec("peft"):
        yield Check(name, "skipped", "peft is not installed")
        return
    from transformers import AutoModelForCausalLM

    from train.lora import Lora, add_adapter, merged_state
    from train.loss import packed_logits

    torch.manual_seed(0)
    config = _config(sizes, num_hidden_layers=2, vocab_size=2048)
    model = AutoModelForCausalLM.from_config(config, attn_implementation="packed_sdpa").to(_device())
    plain = copy.deepcopy(model)
    adapted = add_adapter(model, Lora(16), 0)
    with torch.no_grad():
        for parameter in adapted.parameters():
            if parameter.requires_grad:
                parameter.normal_(std=0.02)
    tokens = torch.randint(3, 2048, (1, 300), device=_device())
    positions = torch.cat([torch.arange(n) for n in (100, 200)])[None].to(_device())
    before, expected = packed_logits(plain, tokens, positions), packed_logits(adapted, tokens, positions)
    plain.load_state_dict(merged_state(adapted, adapted.state_dict(), torch.float32))
    error, change = (float((x - expected).abs().max()) for x in (packed_logits(plain, tokens, positions), before))
    yield _result(
        name, error < 1e-3 < change, f"logits {error:.1e} off, where the adapter changes them by {change:.2g}"
    )


def _host_syncs(sizes: _Sizes) -> Iterator[Check]:
    """How often the host waits for the GPU in a step, by whose code."""
    import torch

    from train.throughput import Setup, draw, ours

    name = "host synchronisations per step"
    if not torch.cuda.is_available():
        yield Check(name, "skipped", "needs a GPU (a test counts them on the CPU)")
        return
    layers = {"vocab_size": 2048, "hidden_size": 256, "intermediate_size": 512, "num_hidden_layers": 2}
    config = _config(sizes, **layers, num_attention_heads=4, num_key_value_heads=2)
    steps = 8
    setup = Setup(config, draw(64, 2048), sizes.max_length, _training(max_steps=steps))
    trainer = ours(setup, _attention(sizes))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            trainer.train()
        finally:
            torch.cuda.set_sync_debug_mode("default")
    waits = [warning for warning in caught if "synchroniz" in str(warning.message)]
    own = [f"{Path(w.filename).name}:{w.lineno}" for w in waits if Path(w.filename).parent == Path(__file__).parent]
    shutil.rmtree(trainer.args.output_dir, ignore_errors=True)
    often = sorted({place for place in own if own.count(place) >= steps - 1})
    detail = f"ours {len(own) / steps:.1f} ({', '.join(often)}), others' {(len(waits) - len(own)) / steps:.1f}"
    yield _result(name, len(often) <= 1, detail)


def _throughput(sizes: _Sizes) -> Iterator[Check]:
    """Ways to train the same model on the same samples, one after the other."""
    import torch
    import transformers

    from train.estimate import flops_per_epoch, memory_per_gpu, model_size, peak_flops
    from train.throughput import WAYS, Setup, Way, draw, ours

    transformers.logging.set_verbosity_error()
    config, encoded = _config(sizes), draw(sizes.samples, sizes.model["vocab_size"], sizes.max_length / 4096)
    setup = Setup(config, encoded, sizes.max_length, _training())
    size = model_size(config)
    flops = flops_per_epoch(size, encoded.lengths, encoded.target_lengths)
    peak = peak_flops(torch.cuda.get_device_name()) if torch.cuda.is_available() else None
    chosen = _attention(sizes)
    names = ("ours: packed, one SDPA per sample", "TRL SFTTrainer, packing=True (bfd)", "Trainer, dynamic padding")
    ways = [way for way in WAYS if way.name in names]
    if chosen != "packed_sdpa":
        ways.insert(0, Way(f"ours: packed, {chosen}", lambda setup: ours(setup, chosen)))
    first = 0.0
    for way in ways:
        name = f"{size.parameters / 1e6:,.1f} M parameters, {way.name}"
        if not way.installed:
            yield Check(name, "skipped", f"{way.module} is not installed")
            continue
        _start_over()
        try:
            warm = way.make(Setup(config, encoded, sizes.max_length, _training(max_steps=3)))
            warm.train()
            shutil.rmtree(warm.args.output_dir, ignore_errors=True)
            del warm
            _start_over()
            trainer = way.make(setup)
            started = time.perf_counter()
            trainer.train()
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            seconds = time.perf_counter() - started
        except Exception as error:  # of the way that we compare with, mostly memory
            yield Check(name, "failed", f"{type(error).__name__}: {str(error).partition(chr(10))[0][:120]}")
            continue
        first = first or seconds
        shutil.rmtree(trainer.args.output_dir, ignore_errors=True)
        del trainer
        detail = (
            f"{encoded.target_lengths.sum() / seconds:,.0f} target tokens/s, {seconds / first:.2f} times the first's"
        )
        if peak:
            detail += f", MFU {flops / seconds / peak:.1%}"
        if bytes_ := _peak_bytes():
            estimate = memory_per_gpu(size, sizes.max_length, 1, "none", False, 2).total
            ours_too = f" (--dry-run says {estimate / 2**30:.1f})" if way.name.startswith("ours") else ""
            detail += f", peak {bytes_ / 2**30:.1f} GiB{ours_too}"
        yield Check(name, "measured", detail)


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


def _launches(_: _Sizes) -> Iterator[Check]:
    yield _launch("ddp-8gpu", "ddp")
    yield _launch("fsdp2-8gpu", "fsdp")
    yield _launch("zero3-8gpu", "deepspeed", "deepspeed")


_CHECKS: tuple[Callable[[_Sizes], Iterator[Check]], ...] = (
    _kernels,
    _chunked_loss,
    _resume,
    _lora,
    _host_syncs,
    _throughput,
    _launches,
)


def _safely(check: Callable[[_Sizes], Iterator[Check]], sizes: _Sizes) -> Iterator[Check]:
    """A check that breaks is a failed one: what the others found in a short loan is not to be lost with it."""
    try:
        yield from check(sizes)
    except Exception as error:
        yield Check(check.__name__.strip("_"), "failed", f"{type(error).__name__}: {str(error).splitlines()[:1]}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run all checks; 0 if none failed, 2 without a GPU."""
    parser = argparse.ArgumentParser(prog="train.gpu_check", description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument(
        "--small", action="store_true", help="sizes for a CPU, to try the program; the figures say nothing"
    )
    parser.add_argument("--limit-s", type=float, default=450, help="start no check after so many seconds (%(default)s)")
    options = parser.parse_args(sys.argv[1:] if arguments is None else arguments)
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # these two: for the check of bitwise resume
    os.environ.setdefault("FLASH_ATTENTION_DETERMINISTIC", "1")
    import torch
    import transformers

    from train.attention import register

    register()
    if not torch.cuda.is_available() and not options.small:
        print("train.gpu_check: no GPU here, nothing was checked (--small tries the program on a CPU)", file=sys.stderr)
        return 2
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU, small sizes"
    print(f"{device}; torch {torch.__version__}, transformers {transformers.__version__}\n")
    print("| check | outcome | figures |\n|---|---|---|", flush=True)
    started, failed = time.monotonic(), 0
    for check in _CHECKS:
        if time.monotonic() - started > options.limit_s:
            print(f"| {check.__name__.strip('_')} | skipped | {options.limit_s:.0f} s are over |", flush=True)
            continue
        for outcome in _safely(check, _SMALL if options.small else _FULL):
            failed += outcome.outcome == "failed"
            print(f"| {outcome.name} | {outcome.outcome} | {outcome.detail} |", flush=True)
        _start_over()
    print(f"\n{failed} failed, {time.monotonic() - started:.0f} s")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
