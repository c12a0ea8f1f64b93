"""What threads cost, alone and beside a busy program: a frozen fit, an encoding, an end-to-end step.

Each case runs in processes of their own, under the course's settings and as torch does it by itself, first alone and
then beside a program that multiplies matrices with two threads. Printed are medians and ratios. A frozen fit has one
thread: alone it takes 1.06 to 1.19 times as long as with two, beside others a third to a half more and not three times
as long. A language model keeps both; two programs of two threads on two cores leave each other half, so 2 is what a
ratio beside can be at best (measured: 2.0 to 2.4). Three threads on two cores would take a larger share of a busy
machine (1.5 to 1.8), at its neighbour's cost, and 1.08 (encoding) to 1.22 (end to end) times as long alone. Nothing
else may run.
"""

import os
import subprocess
import sys
import time
from statistics import median

from klm_utils.threads import SLEEPING

RUNS = 5
BUSY = "import torch; torch.set_num_threads(2); a = torch.randn(2000, 2000)\nwhile True: a @ a"
CASES = {
    "frozen fit": """
split = klm.split(ds, "random")
model = klm.KLMRecommender.from_split(split)
work = lambda: klm.fit(model, split, klm.TrainConfig(epochs=4))
""",
    "encoding": """
texts = [f"{title}, number {n}" for n, title in enumerate(ds.items["title"])][:800]
encoder = klm.TextEncoder.from_pretrained("minilm")
work = lambda: encoder.encode(texts, cache=False)
""",
    "end-to-end epoch": """
split = klm.split(ds, "cold_item")
few = replace(ds, items=ds.items.head(100), interactions=ds.interactions[ds.interactions.item_id <= 100])
split = klm.split(few, "cold_item")
model = klm.KLMRecommender.from_split(split, klm.TextEncoder.from_pretrained("minilm"), mode="full")
work = lambda: klm.fit(model, split, klm.TrainConfig(objective="interaction", epochs=1, head_epochs=0))
""",
}
WORKER = """
import sys, time
from dataclasses import replace
import torch  # before klm_utils, as many notebooks do
import klm_utils as klm
ds = klm.load_dataset("movielens-100k")
{setting}
{case}
work()
print("ready", flush=True)
for line in sys.stdin:
    start = time.perf_counter()
    work()
    print(time.perf_counter() - start, flush=True)
"""
# The environment, and what is done after the imports; "before" is how torch does it by itself, all threads for all.
WAYS = {"course": (SLEEPING, ""), "before": ({}, "from klm_utils.training import loop; loop.SMALL = 0")}


def worker(case: str, variables: dict, setting: str) -> subprocess.Popen:
    """A process that does the work once for each line it is sent, and says how long it took."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("OMP_", "GOMP_", "MKL_"))} | variables
    command = [sys.executable, "-c", WORKER.format(case=case, setting=setting)]
    process = subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "ready\n"
    return process


def seconds(process: subprocess.Popen) -> float:
    process.stdin.write("\n")
    process.stdin.flush()
    return float(process.stdout.readline())


def medians(workers: dict) -> dict[str, float]:
    """Of some runs of each, in turn, so that all meet the same machine."""
    runs = [{label: seconds(process) for label, process in workers.items()} for _ in range(RUNS)]
    return {label: median(run[label] for run in runs) for label in workers}


def main():
    for name, case in CASES.items():
        processes = []
        try:
            for way in WAYS.values():
                processes.append(worker(case, *way))
            workers = dict(zip(WAYS, processes, strict=True))
            alone = medians(workers)
            processes.append(subprocess.Popen([sys.executable, "-c", BUSY]))
            time.sleep(5)
            del workers["before"]  # for an end-to-end epoch it takes twenty times as long
            beside = medians(workers)
        finally:
            for process in processes:
                process.kill()
                process.wait()
        cost, ratio = alone["course"] / alone["before"], beside["course"] / alone["course"]
        print(
            f"{name}: alone {alone['course']:.2f} s, {cost:.2f} times what torch does by itself; "
            f"beside a busy program {ratio:.2f} times as long as alone",
            flush=True,
        )


if __name__ == "__main__":
    main()
