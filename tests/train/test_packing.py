"""Packing: no sample lost, split or doubled; as many packs as the global batch asks for; the same every time."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from train.packing import best_fit_decreasing, epoch_packing, fewest_packs, fingerprint, pack_count, pack_sizes

CAPACITY = 64
lengths_lists = st.lists(st.integers(1, CAPACITY), min_size=1, max_size=120)


@given(lengths_lists)
def test_every_sample_is_in_exactly_one_pack_and_no_pack_overflows(lengths: list[int]) -> None:
    packs = best_fit_decreasing(lengths, CAPACITY)
    assert Counter(index for pack in packs for index in pack) == Counter(range(len(lengths)))
    assert all(0 < sum(lengths[index] for index in pack) <= CAPACITY for pack in packs)


@given(lengths_lists, st.integers(0, 9), st.integers(1, 16), st.integers(1, 40))
def test_an_epoch_has_every_sample_once_in_a_whole_number_of_steps(
    lengths: list[int], seed: int, global_batch: int, window: int
) -> None:
    array = np.array(lengths)
    count = pack_count(array, CAPACITY, seed, 3, global_batch, window)
    assert count % global_batch == 0
    for epoch in range(3):
        packing = epoch_packing(array, CAPACITY, seed, epoch, count, window)
        assert len(packing) == count
        assert sorted(packing.samples.tolist()) == list(range(len(lengths)))
        assert all(array[packing[i]].sum() <= CAPACITY for i in range(count))


@given(lengths_lists, st.integers(0, 9))
def test_empty_packs_appear_only_when_there_are_fewer_samples_than_packs(lengths: list[int], seed: int) -> None:
    array = np.array(lengths)
    count = pack_count(array, CAPACITY, seed, 1, 8)
    packing = epoch_packing(array, CAPACITY, seed, 0, count)
    empty = sum(len(packing[i]) == 0 for i in range(count))
    assert empty == max(count - len(lengths), 0)


def test_packing_is_a_pure_function_of_seed_and_epoch() -> None:
    lengths = np.random.default_rng(0).integers(1, CAPACITY, 500)
    once, again = (fingerprint(epoch_packing(lengths, CAPACITY, 1, 0)) for _ in range(2))
    others = {fingerprint(epoch_packing(lengths, CAPACITY, seed, epoch)) for seed, epoch in [(1, 1), (2, 0), (2, 1)]}
    assert once == again
    assert len(others | {once}) == 4


def test_the_order_is_the_same_on_every_platform() -> None:
    lengths = np.arange(1, 41)
    assert fingerprint(epoch_packing(lengths, CAPACITY, 7, 1)) == "7b36cd11a27a06c9"


def test_best_fit_prefers_the_fullest_pack_that_still_fits() -> None:
    assert best_fit_decreasing([6, 5, 4, 5], 10) == [[0, 2], [1, 3]]


@pytest.mark.parametrize("lengths", [[0, 3], [3, CAPACITY + 1]])
def test_impossible_lengths_are_refused(lengths: list[int]) -> None:
    with pytest.raises(ValueError, match=r"lengths must be in 1\.\.64"):
        best_fit_decreasing(lengths, CAPACITY)


def test_more_packs_than_asked_for_is_an_error() -> None:
    with pytest.raises(ValueError, match="needs 3 packs, more than 2"):
        epoch_packing(np.array([60, 60, 60]), CAPACITY, 0, 0, 2)


def test_efficiency_on_the_papers_lengths_is_at_least_99_6_percent() -> None:
    generator = np.random.default_rng(0)
    responses = np.clip(generator.lognormal(np.log(330) - 0.65**2 / 2, 0.65, 100_000), 1, 2048)
    queries = generator.lognormal(np.log(75), 0.6, 100_000)
    lengths = np.minimum(responses.astype(int) + queries.astype(int) + 38, 4096)
    packing = epoch_packing(lengths, 4096, 0, 0)
    assert packing.efficiency(lengths, 4096) >= 0.996


SIZES = pack_sizes(8, CAPACITY)


def test_pack_sizes_double_up_to_the_longest_sample() -> None:
    assert SIZES == (8, 16, 32, 64)
    assert pack_sizes(4096, 32768) == (4096, 8192, 16384, 32768)
    assert pack_sizes(4096, 20000) == (4096, 8192, 16384, 20000)
    assert pack_sizes(64, 64) == (64,)


@given(lengths_lists, st.integers(0, 9), st.integers(1, 8))
def test_longer_samples_have_larger_packs_and_nothing_else_has(lengths: list[int], seed: int, step: int) -> None:
    array = np.array(lengths)
    for pack in best_fit_decreasing(lengths, SIZES):
        longest = max(lengths[index] for index in pack)
        assert sum(lengths[index] for index in pack) <= min(size for size in SIZES if size >= longest)
    count = pack_count(array, SIZES, seed, 2, step)
    assert count >= fewest_packs(array, SIZES)
    for epoch in range(2):
        packing = epoch_packing(array, SIZES, seed, epoch, count, step=step)
        assert sorted(packing.samples.tolist()) == list(range(len(lengths)))
        rooms = packing.rooms(array, SIZES)
        assert [min(size for size in SIZES if size >= array[packing[i]].sum()) for i in range(count)] == rooms.tolist()
        assert all((np.diff(rooms[first : first + step]) <= 0).all() for first in range(0, count, step))


def test_a_few_long_samples_do_not_lengthen_every_pack() -> None:
    lengths = np.concatenate([np.full(10_000, 400), [30_000, 9_000, 5_000]])
    packing = epoch_packing(lengths, pack_sizes(4096, 32768), 0, 0)
    sizes = Counter(packing.rooms(lengths, pack_sizes(4096, 32768)).tolist())
    assert (sizes[8192], sizes[16384], sizes[32768]) == (0, 1, 1) and sizes[4096] > 900
    assert packing.efficiency(lengths, pack_sizes(4096, 32768)) > 0.97
