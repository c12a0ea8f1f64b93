"""A run that is killed from outside, at any time, and resumed. Run by test_resume.py; prints a line of JSON.

Usage: python killed_anytime.py FOLDER. The language model is trained along, so that a checkpoint has some size.
"""

import json
import os
import signal
import sys
import time
from pathlib import Path

import torch
from worlds import planted, rows_of, same, tiny_encoder

import klm_utils as klm

torch.set_num_threads(1)
FOLDER = Path(sys.argv[1])
os.environ["KLM_CACHE"] = str(FOLDER / "cache")
CONFIG = klm.TrainConfig(objective="interaction", batch=8, epochs=6, patience=6, head_epochs=1, dropout_text=0.1)
SPLIT = klm.split(planted(), "random")
ENCODER = tiny_encoder(layers=2, width=128)


def run(folder):
    model = klm.KLMRecommender.from_split(SPLIT, ENCODER, mode="full")
    return model, klm.fit(model, SPLIT, CONFIG, checkpoint_dir=folder)


def started(folder):
    """The process of a run."""
    folder.mkdir()
    child = os.fork()
    if not child:
        run(folder)
        os._exit(0)
    return child


def seconds_of_a_run(folder):
    start = time.perf_counter()
    os.waitpid(started(folder), 0)
    return time.perf_counter() - start


def killed(child):
    """Whether the kill came before the end."""
    os.kill(child, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL


def half_written(folder):
    return bool(list(folder.glob(".klm-tmp-*")))


def while_writing(folder, number):
    """Killed as soon as checkpoint `number` is being written; whether it was."""
    child, seen, before = started(folder), 0, False
    while seen < number:
        now = half_written(folder)
        seen, before = seen + (now and not before), now
        if os.waitpid(child, os.WNOHANG)[0]:
            return False
    return killed(child) and half_written(folder)


def goes_on(folder, whole, history):
    again, resumed = run(folder)
    return same(whole, again) and rows_of(history).equals(rows_of(resumed)) and resumed.stopped == history.stopped


def main():
    whole, history = run(None)
    seconds = seconds_of_a_run(FOLDER / "unkilled")
    anytime, in_a_write, writing = [], 0, []
    for n in range(10):
        for again in range(8):
            folder = FOLDER / f"anytime_{n}_{again}"
            child = started(folder)
            time.sleep((n + 0.5) / 11 * seconds)  # a busy machine is not as fast each time
            if dead := killed(child):
                break
            seconds = seconds_of_a_run(FOLDER / f"unkilled_{n}_{again}")  # the machine was busy, and is less so now
        in_a_write += half_written(folder)
        anytime.append([dead, goes_on(folder, whole, history)])
    for n in range(40):
        folder = FOLDER / f"writing_{n}"
        if while_writing(folder, 1 + len(writing)):
            writing.append(goes_on(folder, whole, history))
        if len(writing) == 4:
            break
    print(json.dumps({"seconds": seconds, "anytime": anytime, "in_a_write": in_a_write, "writing": writing}))


if __name__ == "__main__":
    main()
