"""Why does LoRA need more memory than training everything? Writes docs/results/memory.json.

    python benchmarks/memory.py   # two minutes; Linux with glibc, whose pool of memory is what is looked at

Each mode is measured in processes of its own: as it is, and with `MALLOC_MMAP_THRESHOLD_`, which makes the C library
give each larger piece of memory back to the system as soon as it is free, and keep none in its pool.
"""

import json
from pathlib import Path

from klm_utils.course.lessons import cost
from klm_utils.files import atomic_write

OUT = Path(__file__).parents[1] / "docs" / "results" / "memory.json"
AT_ONCE = {"MALLOC_MMAP_THRESHOLD_": "262144"}
MODES = ("partial", "full", "adapter")


def main() -> None:
    found = {}
    for mode in MODES:
        usual, at_once = (cost.in_a_process_of_its_own(env, mode=mode) for env in ({}, AT_ONCE))
        found[mode] = {name: usual[name] for name in ("trained", "parameters", "kept_mb", "peak_mb")}
        found[mode] |= {"peak_mb, given back at once": at_once["peak_mb"]}
        print(mode, found[mode], flush=True)
    text = json.dumps({"threads": 2, "modes": found}, indent=1) + "\n"
    atomic_write(OUT, lambda part: part.write_text(text, encoding="utf8"))


if __name__ == "__main__":
    main()
