"""Settings of all tests, before anything loads torch."""

import gc
import os

# As many workers as cores run beside each other, and the commands that they start: with a thread for
# each core in every one of them, small networks would train ten times as slowly.
os.environ.setdefault("OMP_NUM_THREADS", "1")


def pytest_collection_finish() -> None:
    """What was imported stays: to look through it for garbage over and over takes a twentieth of all."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 50, 1000)
