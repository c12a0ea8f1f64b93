"""How many threads compute, and how they wait for each other.

A thread of OpenMP that waits spins: it keeps its core busy so as to go on at once. Beside other programs that core is
wanted elsewhere, the thread that everybody waits for is put off, and a training of seconds takes ten times as long. So
small tensors get one thread, which is as fast alone, and large ones all of them, which sleep while they wait.
`tests/benchmarks/bench_busy.py` measures both, alone and beside a busy program.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager

# Read once, when the first library that uses OpenMP (torch, scikit-learn) or OpenBLAS (numpy, scipy) is loaded.
# GOMP_SPINCOUNT: a few microseconds of spinning, as a thread that sleeps at once is woken late for the next product.
SLEEPING = {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "3000", "OPENBLAS_THREAD_TIMEOUT": "4"}


def sleep_while_waiting() -> None:
    """Let threads of libraries that are yet to be loaded sleep while they wait, unless the user has said otherwise."""
    if not SLEEPING.keys() & os.environ.keys():
        os.environ.update(SLEEPING)


@contextmanager
def one_thread(wanted: bool = True) -> Iterator[None]:
    """Let torch compute with one thread inside, and with as many as before afterwards; nothing if not `wanted`."""
    import torch

    before = torch.get_num_threads()
    try:
        if wanted and before > 1:
            torch.set_num_threads(1)
        yield
    finally:
        if torch.get_num_threads() != before:
            torch.set_num_threads(before)
