import hashlib
import math
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from phonoscope.compute import derive_seed, parallel_map, pick_device, setup_torch
from phonoscope.config.compute import ComputeConfig
from phonoscope.errors import EnvironmentFault


def test_derived_seeds_are_the_same_everywhere() -> None:
    expected = int.from_bytes(hashlib.sha256(b"42\0joe\0three\x004").digest()[:4], "big")
    assert derive_seed(42, "joe", "three", 4) == expected
    assert derive_seed(42) == 0x73475CB4


@given(st.lists(st.tuples(st.integers(0, 99), st.text(max_size=5).filter(lambda text: "\0" not in text)), unique=True))
def test_derived_seeds_are_seeds_and_differ(works: list[tuple[int, str]]) -> None:
    seeds = [derive_seed(seed, name) for seed, name in works]
    assert all(0 <= seed < 2**32 for seed in seeds)
    assert len(set(seeds)) == len(works)


def test_work_comes_back_in_order_whoever_did_it() -> None:
    items = list(range(40, 0, -1))
    alone = parallel_map(partial(derive_seed, 7), items, workers=1)
    assert alone == [derive_seed(7, item) for item in items]
    assert parallel_map(partial(derive_seed, 7), iter(items), workers=2) == alone
    assert parallel_map(math.sqrt, [], workers=2) == []


def test_a_fault_in_one_item_is_raised() -> None:
    with pytest.raises(ValueError, match=r"domain error|nonnegative"):
        parallel_map(math.sqrt, [1.0, -1.0])


@pytest.fixture
def _torch_as_it_was() -> Iterator[None]:
    threads = torch.get_num_threads()
    yield
    torch.use_deterministic_algorithms(False)
    torch.set_num_threads(threads)


@pytest.mark.usefixtures("_torch_as_it_was")
def test_setup_torch_fixes_threads_seed_and_algorithms() -> None:
    def draws() -> list[float]:
        assert setup_torch(ComputeConfig(torch_threads=1, device="cpu"), 3).type == "cpu"
        return [random.random(), float(np.random.rand()), float(torch.rand(()))]

    assert draws() == draws()
    assert torch.get_num_threads() == 1
    assert torch.are_deterministic_algorithms_enabled()


@pytest.mark.parametrize(
    ("cuda", "mps", "expected"), [(True, True, "cuda"), (False, True, "mps"), (False, False, "cpu")]
)
def test_auto_takes_the_fastest_device_there_is(
    monkeypatch: pytest.MonkeyPatch, cuda: bool, mps: bool, expected: str
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
    assert pick_device("auto").type == expected
    assert pick_device("cpu").type == "cpu"
    if not cuda:
        with pytest.raises(EnvironmentFault, match=r"no device 'cuda'.*use auto or cpu"):
            pick_device("cuda")


def test_a_limit_holds_for_libraries_that_are_used_later_only() -> None:
    """Where the limit comes before SciPy's BLAS is loaded, the first fit of a process would have other last bits."""
    script = """
from phonoscope.compute import limit_threads
with limit_threads():
    import scipy.optimize, sklearn.cluster
    from threadpoolctl import threadpool_info
    print(sorted({(library["user_api"], library["num_threads"]) for library in threadpool_info()}))
"""
    many = {f"{library}_NUM_THREADS": "2" for library in ("OMP", "OPENBLAS", "MKL")}
    shown = subprocess.run(
        [sys.executable, "-c", script], env=os.environ | many, check=True, capture_output=True, text=True
    ).stdout
    assert shown == "[('blas', 1), ('openmp', 1)]\n"
