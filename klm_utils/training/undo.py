"""What a training that does not come to its end leaves behind: the model as it was, or one that can be used."""

import torch


class Snapshot:
    """All that `fit` changes in a model, as it is now."""

    FIELDS = ("objective", "measured", "unfinished")
    RATES = ("p", "id_dropout", "user_dropout")  # of torch's Dropout, of a fusion

    def __init__(self, model):
        self.weights = {name: p.detach().clone() for name, p in model.named_parameters() if p.requires_grad}
        self.text = model.fusion.text  # is replaced in training, never written to
        self.scale, self.shift = model.scale.clone(), model.shift.clone()
        self.head = None if model.texts is None else model.texts.head
        self.rates = [(m, name, getattr(m, name)) for m in model.modules() for name in self.RATES if hasattr(m, name)]
        self.fields = {name: getattr(model, name) for name in self.FIELDS}

    def put_back(self, model) -> None:
        """Make the model what it was; its name last, so that it is marked until all is in place."""
        model.eval()
        if model.texts is not None:
            model.texts.head = self.head
        self.put_weights_back(model)
        model.scale, model.shift = self.scale.to(model.device), self.shift.to(model.device)
        for module, name, rate in self.rates:
            setattr(module, name, rate)
        for name, value in self.fields.items():
            setattr(model, name, value)

    @torch.no_grad()
    def put_weights_back(self, model) -> None:
        """Its weights and text vectors only."""
        for name, weight in model.named_parameters():
            if name in self.weights:
                weight.copy_(self.weights[name])
        model.fusion.text = self.text.to(model.fusion.text)  # the model may have been moved since


def leave_usable(run, fault: BaseException, before: Snapshot) -> None:
    """The best weights so far, with a name that says so, as the error does. If even that fails: as it was before."""
    model, epochs = run.model, f"{len(run.rows)} epoch" + "s" * (len(run.rows) > 1)
    stopped = isinstance(fault, KeyboardInterrupt)
    model.unfinished = f"{'interrupted' if stopped else 'broken off'} after {epochs}"
    try:
        run.finish()
    except BaseException as second:  # such as another Ctrl-C
        before.put_back(model)
        raise fault from second
    fault.add_note(
        f"The training was {model.unfinished}. The model has the weights of epoch {run.best_epoch} and is called\n"
        f"{model.name!r} until a training of it comes to its end." + " To train it, run the same cell again." * stopped
    )
