"""Packing 585,000 samples to 4,096 tokens: efficiency and time of our packer, next-fit, TRL's and others.

    python bench/packing.py [--samples 585000]

The lengths are drawn as the paper's data has them: responses log-normal (mean 330 tokens, sigma 0.65, at most 2,048),
queries log-normal (median 75, sigma 0.6), 38 tokens of template. Efficiency is the share of real tokens; times are
CPU times.
"""

from __future__ import annotations

import argparse
import importlib.util
import platform
import time
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from train.packing import WINDOW, best_fit_decreasing, epoch_packing

CAPACITY = 4096
Lengths = npt.NDArray[np.int64]


def draw_lengths(samples: int, seed: int = 0) -> Lengths:
    """Sample lengths as described above."""
    generator = np.random.default_rng(seed)
    responses = np.clip(generator.lognormal(np.log(330) - 0.65**2 / 2, 0.65, samples), 1, 2048)
    queries = generator.lognormal(np.log(75), 0.6, samples)
    return np.minimum(responses.astype(np.int64) + queries.astype(np.int64) + 38, CAPACITY)


def ours(lengths: Lengths) -> int:
    return len(epoch_packing(lengths, CAPACITY, seed=0, epoch=0))


def ours_one_window(lengths: Lengths) -> int:
    return len(best_fit_decreasing(lengths.tolist(), CAPACITY))


def next_fit(lengths: Lengths) -> int:
    """What the reference code does: close the pack as soon as a sample does not fit."""
    packs, free = 0, 0
    for length in lengths.tolist():
        if length > free:
            packs, free = packs + 1, CAPACITY
        free -= length
    return packs


def first_fit_decreasing_in_thousands(lengths: Lengths) -> int:
    """The textbook loop, in windows of 1,000 as it is quadratic."""
    packs = 0
    for start in range(0, len(lengths), 1000):
        free: list[int] = []
        for length in sorted(lengths[start : start + 1000].tolist(), reverse=True):
            for index, room in enumerate(free):
                if length <= room:
                    free[index] -= length
                    break
            else:
                free.append(CAPACITY - length)
        packs += len(free)
    return packs


def binpacking_in_thousands(lengths: Lengths) -> int:
    import binpacking

    return sum(
        len(binpacking.to_constant_volume(lengths[start : start + 1000].tolist(), CAPACITY))
        for start in range(0, len(lengths), 1000)
    )


def trl(lengths: Lengths) -> int:
    """TRL's ``pack_dataset(strategy="bfd")`` as SFTTrainer calls it (it moves the tokens, too: one byte each here)."""
    import datasets
    import pyarrow as pa
    from trl import pack_dataset

    datasets.disable_progress_bars()
    offsets = pa.array(np.concatenate([[0], np.cumsum(lengths)]))
    tokens = pa.LargeListArray.from_arrays(offsets, pa.array(np.zeros(int(lengths.sum()), dtype=np.int8)))
    dataset = datasets.Dataset(pa.table({"input_ids": tokens}))
    return len(pack_dataset(dataset, CAPACITY, "bfd", map_kwargs={"keep_in_memory": True}))


def trl_whole(lengths: Lengths) -> int:
    """The same algorithm over all samples at once, without its windows of 1,000."""
    import pyarrow as pa
    from trl.data_utils import _pack_bfd

    offsets = pa.array(np.concatenate([[0], np.cumsum(lengths)]))
    tokens = pa.LargeListArray.from_arrays(offsets, pa.array(np.zeros(int(lengths.sum()), dtype=np.int8)))
    return len(_pack_bfd(pa.table({"input_ids": tokens}), CAPACITY))


PACKERS: list[tuple[str, str | None, Callable[[Lengths], int]]] = [
    (f"ours, shuffled windows of {WINDOW:,}", None, ours),
    ("ours, one window", None, ours_one_window),
    ("next-fit (the reference)", None, next_fit),
    ("first-fit-decreasing, windows of 1,000", None, first_fit_decreasing_in_thousands),
    ("TRL bfd, one window", "trl", trl_whole),
    ("TRL bfd, as SFTTrainer runs it", "trl", trl),
    ("binpacking 2, windows of 1,000", "binpacking", binpacking_in_thousands),
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--samples", type=int, default=585_000)
    lengths = draw_lengths(parser.parse_args().samples)
    tokens = int(lengths.sum())
    print(
        f"Python {platform.python_version()}, numpy {np.__version__}, one core; "
        f"{len(lengths):,} samples, {tokens:,} tokens"
    )
    bound = -(-tokens // CAPACITY)
    print(f"{'packer':42} {'packs':>8} {'efficiency':>10} {'CPU s':>8} {'x ours':>7}")
    print(f"{'lower bound':42} {bound:8,} {tokens / (bound * CAPACITY):10.2%}", flush=True)
    own_seconds = 0.0
    for name, module, packer in PACKERS:
        if module and importlib.util.find_spec(module) is None:
            print(f"{name:42} not installed")
            continue
        started = time.process_time()
        packs = packer(lengths)
        seconds = time.process_time() - started
        own_seconds = own_seconds or seconds
        efficiency = tokens / (packs * CAPACITY)
        print(f"{name:42} {packs:8,} {efficiency:10.2%} {seconds:8.2f} {seconds / own_seconds:7.1f}", flush=True)


if __name__ == "__main__":
    main()
