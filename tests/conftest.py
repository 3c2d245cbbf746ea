"""Every test: one thread, no window, no network; the long pipeline test is started first."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings
from joblib.externals.loky import reusable_executor

# no deadline: what takes long on a busy machine is not wrong
settings.register_profile("phonoscope", deadline=None, derandomize=True)
settings.load_profile("phonoscope")

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ[variable] = "1"
os.environ["MPLBACKEND"] = "Agg"
os.environ["PYTHONPATH"] = str(Path(__file__).parents[1] / "src")  # for the processes that tests start
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    # the second of two workers gets to the rebuild, which rests on the repro's clone, when that has long been made
    order = {"test_repro.py": -1, "test_rebuild.py": 1}
    items.sort(key=lambda item: order.get(item.path.name, 0))


@pytest.fixture(autouse=True)
def no_workers_are_left() -> Iterator[None]:
    """Worker processes stand in the folder of the test that started them, which is not the next one's."""
    yield
    if reusable_executor._executor is not None:
        reusable_executor._executor.shutdown(wait=True)
