"""The checkers of the exercises against the reference, the stub, and the mistakes that they name."""

import random
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from io import StringIO

import answers_ch00
import answers_ch01
import answers_ch02
import answers_ch03
import answers_ch04
import answers_ch05
import answers_ch06
import answers_ch07
import answers_ch08
import numpy as np
import pytest
import torch

from klm_utils.course.exercises import DONE, STUB, ch00, ch01, ch02, ch03, ch04, ch05, ch06, ch07, ch08, verdict

BEST = ch05.check_best_epoch


def numpy_best(valid, patience):
    for last in range(1, len(valid) + 1):
        best = int(np.argmax(valid[:last])) + 1
        if last - best >= patience:
            break
    return np.array([best, last])


def counter_best(valid, patience, better=lambda new, best: new > best, top=-np.inf, stop=0):
    """The way most people write it: a counter of bad epochs."""
    best, bad = 0, 0
    for epoch, value in enumerate(valid, start=1):
        if better(value, top):
            top, best, bad = value, epoch, 0
        else:
            bad += 1
        if bad >= patience + stop:
            break
    return best, epoch


def against_the_previous(valid, patience):
    best = 1
    for epoch in range(2, len(valid) + 1):
        if valid[epoch - 1] > valid[epoch - 2]:
            best = epoch
        if epoch - best >= patience:
            return best, epoch
    return best, len(valid)


def argmax(valid):
    return int(np.argmax(valid)) + 1


best_epoch = [
    (ch05.best_epoch, DONE),
    (numpy_best, DONE),
    (counter_best, DONE),
    (lambda valid, patience: torch.tensor(counter_best(valid, patience)), DONE),
    (lambda valid, patience: (len(valid), len(valid)), STUB),
    (lambda valid, patience: (valid.argmax(), len(valid)), "it raises AttributeError"),
    (lambda valid, patience: (argmax(valid), counter_best(valid, patience)[1]), "lies behind the stop"),
    (lambda valid, patience: (counter_best(valid, patience)[1],) * 2, "keeps the last weights"),
    (lambda valid, patience: counter_best(valid, patience, stop=-1), "you stop too early"),
    (lambda valid, patience: counter_best(valid, patience, stop=1), "you stop too late"),
    (lambda valid, patience: (counter_best(valid, patience)[0], len(valid)), "it never stops"),
    (lambda valid, patience: (argmax(valid), len(valid)), "epoch 9 is never reached"),
    (lambda valid, patience: (argmax(valid), min(argmax(valid) + patience, len(valid))), "epoch 9 is never reached"),
    (lambda valid, patience: np.subtract(counter_best(valid, patience), 1), "count the epochs from 1"),
    (lambda valid, patience: counter_best(valid, patience)[0], "expected (4, 7)"),
    (lambda valid, patience: counter_best(valid, patience)[::-1], "expected (4, 7)"),
    (lambda valid, patience: [counter_best(valid, patience)], "of shape (1, 2)"),
    (lambda valid, patience: counter_best(valid, patience, better=lambda new, best: new < best, top=2), "got [1, 4]"),
    (lambda valid, patience: counter_best(valid, 3), "with patience 1 expected (2, 3)"),
    (lambda valid, patience: counter_best(valid, patience, better=lambda new, best: new >= best), "an equal value"),
    (against_the_previous, "compare with the best value so far"),
    (lambda valid, patience: counter_best(valid, patience, top=0.3), "with patience to spare"),
    (lambda valid, patience: counter_best(valid, patience, top=0.0), "it may lie below zero"),
    (lambda valid, patience: valid[patience] and counter_best(valid, patience), "got IndexError"),
]


TABLES = {BEST: best_epoch}
ANSWERS = (
    answers_ch00,
    answers_ch01,
    answers_ch02,
    answers_ch03,
    answers_ch04,
    answers_ch05,
    answers_ch06,
    answers_ch07,
    answers_ch08,
)
for chapter in ANSWERS:
    TABLES |= chapter.TABLES


def boom(*_):
    raise ValueError("boom")


def generator(*_):
    np.random.seed(1), torch.manual_seed(1), random.seed(1)
    yield 1


def nothing(*_):
    pass


ANYTHING = [  # what a slip may return in any exercise, and what the message must quote
    (nothing, "None"),
    (boom, "it raises ValueError: boom"),
    (lambda: 1, "it raises TypeError"),
    (None, "it raises TypeError: 'NoneType' object is not callable"),
    (generator, "<generator object"),
    (lambda *_: "text", "'text'"),
    (lambda *_: ["a", "b"], "['a', 'b']"),
    (lambda *_: [None, None], "[None, None]"),
    (lambda *_: float("nan"), "nan"),
    (lambda *_: {"a": 1}, "{'a': 1}"),
    (lambda *_: {1}, "{1}"),
    (lambda *_: [[1], [2, 3]], "[[1], [2, 3]]"),
    (lambda *_: torch.ones(2, 3), "shape (2, 3)"),
    (lambda *_: np.ones(2, dtype="i8,f8"), "array([(1, 1.)"),
    (lambda *_: np.ones(3, dtype="i8,f8"), "array([(1, 1.)"),
]


CHAPTERS = (ch00, ch01, ch02, ch03, ch04, ch05, ch06, ch07, ch08)


@dataclass
class Said:
    """What a checker said to an answer, and whether the global state was afterwards what it had been before."""

    check: Callable
    expected: str
    out: str = ""
    rows: list = field(default_factory=list)
    kept: bool = True

    def __str__(self):
        return f"{self.check.__name__} said {self.out!r} where {self.expected!r} was expected"


def ask(check, fn, expected) -> Said:
    said, before = Said(check, expected), state()

    def spy(rows, done):
        said.rows = rows
        verdict(rows, done)

    with pytest.MonkeyPatch.context() as patch, redirect_stdout(StringIO()) as out:
        patch.setitem(check.__globals__, "verdict", spy)
        try:
            assert check(fn) is None, "what it returns would be shown below the line that it prints"
        except Exception as fault:
            print(f"{type(fault).__name__}: {fault}")
    said.out, said.kept = out.getvalue(), state() == before
    return said


def state():
    numpy_state = np.random.get_state()
    return (
        (random.getstate(), numpy_state[1].tolist(), numpy_state[2:], torch.get_rng_state().tolist()),
        (torch.get_default_dtype(), torch.is_grad_enabled(), np.geterr()),
    )


def careless(fn):
    """A right answer of somebody who leaves the switches of the session turned."""

    def answer(*args):
        random.random(), np.random.rand(), torch.rand(1)
        torch.set_default_dtype(torch.float64), torch.set_grad_enabled(False)
        return fn(*args)

    return answer


@pytest.fixture(scope="module", params=CHAPTERS, ids=lambda chapter: chapter.__name__.split(".")[-1])
def answers(request):
    """Checker -> what it says to the answers of its table, then to what is no answer at all; for those of a chapter."""
    checkers = [value for name, value in vars(request.param).items() if name.startswith("check_")]
    tables = {check: [*TABLES[check], (careless(TABLES[check][0][0]), DONE), *ANYTHING] for check in checkers}
    return {check: [ask(check, *answer) for answer in table] for check, table in tables.items()}


def test_each_answer_gets_its_message_and_what_is_none_is_quoted(answers):
    def as_expected(said):
        begins = said.expected if said.expected in (DONE, STUB) else "not yet: "
        return said.expected in said.out and said.out.startswith(begins) and said.out.count("\n") == 1

    wrong = "\n".join(str(said) for told in answers.values() for said in told if not as_expected(said))
    assert not wrong, wrong


def test_each_row_of_the_verdict_is_reached_and_a_fragment_belongs_to_one_row(answers):
    faults = []
    for check, told in answers.items():
        table, name = told[: -len(ANYTHING)], check.__name__
        hits = {(said.expected, [bool(w) for w, _ in said.rows].index(True)) for said in table if said.expected != DONE}
        fragments, reached = [fragment for fragment, _ in hits], {row for _, row in hits}
        faults += [f"{name}: {text!r} stands in two rows" for text in {*fragments} if fragments.count(text) > 1]
        never = [message for i, (_, message) in enumerate(table[-1].rows) if i not in reached]
        faults += [f"{name}: no answer reaches {message!r}" for message in never]
    assert faults == []


def test_no_checker_touches_global_state(answers):
    assert {check.__name__ for check, told in answers.items() if not all(said.kept for said in told)} == set()


def test_every_checker_has_a_table():
    found = {v for chapter in CHAPTERS for name, v in vars(chapter).items() if name.startswith("check_")}
    assert set(TABLES) == found
