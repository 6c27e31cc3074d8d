"""Peak memory of each rank where a sharded run loads, saves and exports: ours beside accelerate's full states.

    python bench/sharded_memory.py            # two gloo ranks, 0.4 B random weights in bf16 (0.9 GB), about 5 minutes

Memory is anonymous memory (``RssAnon``) above what the imports take: pages of mapped files can be dropped at any time.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

RANKS = 2
WAYS = ("accelerate, full states", "ours, sharded")


class Peak:
    """The most anonymous memory of this process since it was last asked, in GB."""

    def __init__(self) -> None:
        self._most = 0
        threading.Thread(target=self._watch, daemon=True).start()

    @staticmethod
    def now() -> int:
        """Bytes."""
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) << 10 for line in lines if line.startswith("RssAnon"))

    def _watch(self) -> None:
        while True:
            self._most = max(self._most, self.now())
            time.sleep(0.005)

    def since(self, base: int) -> float:
        most, self._most = self._most, 0
        return (most - base) / 1e9


def make_model(folder: Path) -> int:
    """Random weights in bf16; their number."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig

    from dart_tasks import embedded

    tokenizer = AutoTokenizer.from_pretrained(embedded.BASE_MODEL_DIR)
    config = LlamaConfig(
        vocab_size=32_000,
        hidden_size=1024,
        intermediate_size=4096,
        num_hidden_layers=24,
        num_attention_heads=16,
        num_key_value_heads=8,
    )
    model = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    model.save_pretrained(folder, max_shard_size="200MB")
    tokenizer.save_pretrained(folder)
    return int(sum(parameter.numel() for parameter in model.parameters()))


def measure(way: str, folder: Path, out: Path) -> None:
    """One rank: load, take an optimizer step of zeros, save, export."""
    import torch
    import torch.distributed as dist
    from torch.distributed.checkpoint.state_dict import StateDictOptions, get_state_dict
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

    from dart_tasks.prompts import get_template
    from train.export import export_model
    from train.sharded_checkpoints import save_optimizer, save_weights
    from train.sharding import empty_model, fill, kept_once, open_mesh, shard, whole, whole_weights

    dist.init_process_group("gloo")
    mesh, rank = open_mesh(torch.device("cpu")), dist.get_rank()
    config, tokenizer = AutoConfig.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    peak = Peak()
    base, rows = peak.now(), []

    def step(name: str, action: Callable[[], Any]) -> Any:
        peak.since(base)
        result = action()
        rows.append(f"{way}|{name}|{rank}|{peak.since(base):.2f}")
        dist.barrier()
        return result

    ours = way == WAYS[1]

    def load() -> Any:
        if not ours:  # what transformers makes of FSDP with cpu_ram_efficient_loading, before anything is sharded
            os.environ |= {"ACCELERATE_USE_FSDP": "true", "FSDP_CPU_RAM_EFFICIENT_LOADING": "true"}
            return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
        model = shard(empty_model(config, None), mesh, torch.float32)
        fill(kept_once(model), whole_weights(str(folder), config, kept_once(model)) if rank == 0 else {})
        return model

    model = step("load", load)
    if not ours:
        del model
        model = shard(empty_model(config, None), mesh, torch.float32)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.0, foreach=False)
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    step("optimizer step", optimizer.step)
    optimizer.zero_grad()

    def save() -> None:
        if ours:
            save_weights(kept_once(model), out)
            save_optimizer(model, optimizer, out)
            return
        options = StateDictOptions(full_state_dict=True, cpu_offload=True)
        states = get_state_dict(model, optimizer, options=options)
        if rank == 0:
            torch.save(states, out / "states.pt")

    step("save", save)

    def export() -> None:
        state = kept_once(model)
        if not ours:
            state = get_state_dict(model, [], options=StateDictOptions(full_state_dict=True, cpu_offload=True))[0]
        plain = empty_model(config, None)
        template, most = get_template("alpaca"), 200_000_000 if ours else 1 << 60

        def fetch(names: Any) -> dict[str, torch.Tensor]:
            return {name: whole(state[name]) for name in names}

        if rank == 0:
            export_model(plain, list(state), fetch, tokenizer, template, out / "model", "bfloat16", most)
        elif ours:
            for name in state:
                fetch([name])

    step("export", export)
    print("\n".join(rows), flush=True)
    dist.destroy_process_group()


def main() -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        parameters = make_model(folder / "model")
        table: dict[str, dict[str, list[str]]] = {}
        for number, way in enumerate(WAYS):
            out = folder / f"out-{number}"
            out.mkdir()
            command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={RANKS}"]
            command += [__file__, way, str(folder / "model"), str(out)]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            rows = [line.split("|") for line in done.stdout.splitlines() if line.startswith(way)]
            if done.returncode or not rows:
                sys.exit(done.stdout + done.stderr)
            for _, what, _, size in sorted(rows, key=lambda row: row[2]):
                table.setdefault(what, {}).setdefault(way, []).append(f"{size} GB")
    sizes_in = f"{parameters * 2 / 1e9:.2f} GB in bf16, {parameters * 4 / 1e9:.2f} in float32"
    print(f"{parameters / 1e9:.2f} B parameters: {sizes_in}; two gloo ranks")
    print(f"| peak of rank 0, rank 1 | {' | '.join(WAYS)} |\n|---|---|---|")
    for what, sizes in table.items():
        print(f"| {what} | {' | '.join(', '.join(sizes[way]) for way in WAYS)} |")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        measure(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
    else:
        main()
