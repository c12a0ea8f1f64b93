"""A run that is killed at several moments and resumed each time. Run by test_loop.py; prints a line of JSON.

Usage: python killed.py FOLDER OBJECTIVE. Each kill is a SIGKILL to a process of its own.
"""

import json
import os
import signal
import sys
from pathlib import Path

import safetensors.torch
import torch
from worlds import planted, rows_of, same

import klm_utils as klm
from klm_utils import files

torch.set_num_threads(1)
FOLDER, OBJECTIVE = Path(sys.argv[1]), sys.argv[2]
CONFIG = klm.TrainConfig(objective=OBJECTIVE, epochs=5, patience=5, batch=8 if OBJECTIVE == "interaction" else 128)
DS = planted()
SPLIT = klm.split(DS, "random")


def kill():
    os.kill(os.getpid(), signal.SIGKILL)


def counted(function, at, before=True):
    """The function, but a SIGKILL before or after its call number `at`."""
    calls = [0]

    def wrapped(*args, **kwargs):
        calls[0] += 1
        if before and calls[0] == at:
            kill()
        result = function(*args, **kwargs)
        if calls[0] == at:
            kill()
        return result

    return wrapped


def in_the_first_step():
    torch.optim.AdamW.step = counted(torch.optim.AdamW.step, 2)


def in_a_later_step():
    torch.optim.AdamW.step = counted(torch.optim.AdamW.step, 11)


def while_writing():
    safetensors.torch.save_file = counted(safetensors.torch.save_file, 2, before=False)


def before_the_file_is_moved_in():
    os.replace = counted(os.replace, 2)


def after_the_file_was_moved_in():
    os.replace = counted(os.replace, 3, before=False)


def after_the_last_epoch():
    klm.training.resume.Run.finish = counted(klm.training.resume.Run.finish, 1)


def run(folder):
    model = klm.KLMRecommender.from_split(SPLIT)
    return model, klm.fit(model, SPLIT, CONFIG, checkpoint_dir=folder)


def killed(moment, folder):
    """Run and be killed at the moment; the number of the signal."""
    child = os.fork()
    if not child:
        moment()
        run(folder)
        os._exit(0)  # not killed: the test says so
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def main():
    whole, history = run(None)
    moments = [
        in_the_first_step,
        in_a_later_step,
        while_writing,
        before_the_file_is_moved_in,
        after_the_file_was_moved_in,
        after_the_last_epoch,
    ]
    found = {}
    for moment in moments:
        folder = FOLDER / moment.__name__
        code = killed(moment, folder)
        path = folder / klm.training.loop.RUN
        epochs = len(files.read_tensors(path)[1]["rows"]) if path.exists() else 0
        again, resumed = run(folder)
        users, items = SPLIT.test["user_id"], SPLIT.test["item_id"]
        equal = same(whole, again) and (whole.predict(users, items) == again.predict(users, items)).all()
        histories = rows_of(history).equals(rows_of(resumed)) and resumed.stopped == history.stopped
        found[moment.__name__] = [code, epochs, bool(equal), bool(histories), resumed.best_epoch == history.best_epoch]
    # twice in one run
    folder = FOLDER / "twice"
    codes = [killed(in_a_later_step, folder), killed(in_the_first_step, folder), killed(while_writing, folder)]
    again, resumed = run(folder)
    found["twice"] = [codes[0], 1, same(whole, again), rows_of(history).equals(rows_of(resumed)), codes[1:] == [-9, -9]]
    print(json.dumps(found))


if __name__ == "__main__":
    main()
