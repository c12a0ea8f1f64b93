"""Several processes that train one model: each does a part of every step, and all take the same step.

    torchrun --nproc_per_node 2 script.py

where the script calls `torch.distributed.init_process_group("gloo")` and then `klm.fit` as ever, with one
`checkpoint_dir`, if any, that all of them see. They end where one process does, but for dropout inside the language
model: each draws its own.
"""

import torch
import torch.distributed as dist


def world() -> int:
    """How many processes train together; 1 where nobody has called `init_process_group`."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """The number of this process, from 0."""
    return dist.get_rank() if world() > 1 else 0


def first() -> bool:
    """Whether this is the process that writes and prints."""
    return rank() == 0


def part(batch: torch.Tensor) -> torch.Tensor:
    """The part of a batch that is this process's to do: every world()-th entry."""
    return batch[rank() :: world()]


def add_up(weights: list[torch.Tensor], loss: torch.Tensor) -> torch.Tensor:
    """Give every process the sum of the gradients of all, and of the losses.

    Each process has divided its loss by the size of the whole batch, not of its part: so the sum is the gradient of
    the mean over the whole batch, even if the parts are of different sizes.
    """
    if world() == 1:
        return loss
    there = torch.tensor([weight.grad is not None for weight in weights], dtype=torch.uint8, device=loss.device)
    dist.all_reduce(there, dist.ReduceOp.MAX)  # a part may be empty, or not meet some weight
    for weight, any_has in zip(weights, there.tolist(), strict=True):
        if any_has:
            weight.grad = torch.zeros_like(weight) if weight.grad is None else weight.grad
            dist.all_reduce(weight.grad)
    dist.all_reduce(loss)
    return loss
