import os

import numpy as np
import pytest

from benchmarks.measure import measure


def filled(megabytes: int) -> float:
    return float(np.ones(megabytes * 1_000_000 // 8).sum())


def summed(values: list[float]) -> float:
    return sum(values)


def ballast(count: int) -> list[float]:
    return [float(value) for value in range(count)]


def refusing(_: object) -> None:
    raise ValueError("no")


def process(_: object) -> int:
    return os.getpid()


def test_memory_is_what_the_work_holds_at_its_highest() -> None:
    small, large = (measure(filled, megabytes, prepare=int).peak_mb for megabytes in (16, 160))
    assert large - small == pytest.approx(144, abs=15)


def test_what_prepares_the_inputs_does_not_count() -> None:
    measured = measure(summed, 2_000_000, prepare=ballast)
    assert measured.value == 1_999_999_000_000
    assert measured.seconds > 0
    assert measured.peak_mb < 10  # the list itself holds more than 60


def test_it_runs_in_a_process_of_its_own_and_errors_come_back() -> None:
    assert measure(process, prepare=int).value != os.getpid()
    with pytest.raises(ValueError, match=r"^no$"):
        measure(refusing, prepare=int)
