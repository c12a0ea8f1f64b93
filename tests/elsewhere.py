"""A second device for machines that have none: tensors that say "meta" and compute on the CPU all the same."""

from contextlib import contextmanager

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map

THERE = torch.device("meta")
MOVES = (torch.ops.aten._to_copy.default, torch.ops.aten.copy_.default)  # what may see both devices


class Elsewhere(torch.Tensor):
    """A tensor of the second device. Beside a tensor of the CPU, unless that is a single number, it is refused."""

    @staticmethod
    def __new__(cls, value: torch.Tensor):
        shape = (value.shape, value.stride(), value.storage_offset())
        made = torch.Tensor._make_wrapper_subclass(cls, *shape, dtype=value.dtype, device=THERE)
        made.value = value
        return made

    @classmethod
    def __torch_dispatch__(cls, function, types, args=(), kwargs=None):
        return _run(function, args, kwargs or {})

    def tolist(self):
        return self.value.tolist()

    def __repr__(self, **options):
        return f"Elsewhere({self.value!r})"


@contextmanager
def second_device():
    """While it lasts, `torch.device("meta")` is a device that computes, and mixing it with the CPU is an error."""
    with _Numbers(), _Operations():
        yield


class _Operations(TorchDispatchMode):
    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        return _run(function, args, kwargs or {})


class _Numbers(TorchFunctionMode):
    """Tensors made of numbers of Python, which no dispatch sees."""

    def __torch_function__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if function is torch.tensor and torch.device(kwargs.get("device") or "cpu") == THERE:
            return torch.tensor(*args, **kwargs | {"device": "cpu"}).to(THERE)
        if function is torch.Tensor.new_tensor:
            return torch.tensor(args[1], **{"dtype": args[0].dtype} | kwargs).to(args[0].device)
        return function(*args, **kwargs)


def _run(function, args, kwargs):
    tensors = [one for one in tree_flatten((args, kwargs))[0] if isinstance(one, torch.Tensor)]
    there = [one for one in tensors if isinstance(one, Elsewhere)]
    here = [one for one in tensors if not isinstance(one, Elsewhere) and one.dim()]
    if there and here and function not in MOVES:
        raise RuntimeError(f"{function}: tensors of two devices, {[tuple(t.shape) for t in here]} on the CPU")
    goal = kwargs.get("device")
    goes_there = there if goal is None else torch.device(goal) == THERE
    if goal is not None:
        kwargs = {**kwargs, "device": torch.device("cpu")}
    values = {id(one.value): one for one in there}
    args, kwargs = tree_map(lambda one: one.value if isinstance(one, Elsewhere) else one, (args, kwargs))
    result = function(*args, **kwargs)
    if not goes_there:
        return result

    def wrapped(one):
        if not isinstance(one, torch.Tensor):
            return one
        return values[id(one)] if id(one) in values else Elsewhere(one)  # an operation in place gives what it was given

    return tree_map(wrapped, result)
