"""What a training that does not come to its end leaves behind: the model as it was, or one that can be used."""

import torch


class Snapshot:
    """All that `fit` changes in a model, as it is now."""

    FIELDS = ("objective", "scale", "shift", "measured", "unfinished")

    def __init__(self, model):
        self.weights = {name: p.detach().clone() for name, p in model.named_parameters() if p.requires_grad}
        self.text = model.fusion.text  # is replaced in training, never written to
        self.head = None if model.texts is None else model.texts.head
        self.fields = {name: getattr(model, name) for name in self.FIELDS}

    def put_back(self, model) -> None:
        """Make the model what it was."""
        for name, value in self.fields.items():
            setattr(model, name, value)
        self.put_weights_back(model)
        if model.texts is not None:
            model.texts.head = self.head
        model.eval()

    @torch.no_grad()
    def put_weights_back(self, model) -> None:
        """Its weights and text vectors only."""
        for name, weight in model.named_parameters():
            if name in self.weights:
                weight.copy_(self.weights[name])
        model.fusion.text = self.text


def leave_usable(run, fault: BaseException) -> None:
    """The best weights so far, with a name that says so; the error says it too."""
    epochs = f"{len(run.rows)} epoch" + "s" * (len(run.rows) > 1)
    run.model.unfinished = f"{'interrupted' if isinstance(fault, KeyboardInterrupt) else 'broken off'} after {epochs}"
    run.finish()
    fault.add_note(
        f"The training was {run.model.unfinished}. The model has the weights of epoch {run.best_epoch} and is called\n"
        f"{run.model.name!r} until a training of it comes to its end. To train it, run the same cell again."
    )
