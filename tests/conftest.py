"""Settings of all tests, before anything loads torch."""

import os

# As many workers as cores run beside each other, and the commands that they start: with a thread for
# each core in every one of them, small networks would train ten times as slowly.
os.environ.setdefault("OMP_NUM_THREADS", "1")
