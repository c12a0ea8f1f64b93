"""TrainConfig: how to train."""

from dataclasses import dataclass, replace

from klm_utils.errors import check_choice, check_number, check_seed, check_whole
from klm_utils.training.objectives import BY_POPULARITY, LOSSES

CHOICES = 512  # a step, for the losses that go through the choices one by one
# What an objective wants. Decay is AdamW's: each step takes lr * decay of a weight away.
PRESETS = {
    "label": {"batch": 4096, "lr": 0.01, "decay_ids": 2.0, "decay_maps": 10.0, "id_dropout": 0.2},
    "interaction": {"batch": 128, "lr": 0.005, "decay_ids": 0.3, "decay_maps": 0.3, "id_dropout": 0.5},
}
# What a mode wants: small steps for weights that know something, larger ones for those of an adapter, which are new.
MODE_PRESETS = {
    "frozen": {"head_epochs": 0, "lr_text": 0.0, "warmup": 0, "clip": 0.0},
    "adapter": {"head_epochs": 20, "lr_text": 1e-3, "warmup": 20, "clip": 1.0},
    "partial": {"head_epochs": 20, "lr_text": 1e-4, "warmup": 20, "clip": 1.0},
    "full": {"head_epochs": 20, "lr_text": 3e-5, "warmup": 20, "clip": 1.0},
}


@dataclass(frozen=True)
class TrainConfig:
    """How to train. None takes the value of `PRESETS[objective]`, or of `MODE_PRESETS[mode of the model]`.

    objective: "label" (rows of train with their labels) or "interaction" (the chosen rows against all other pairs).
    loss: one of `LOSSES[objective]`, see `klm_utils.training.objectives`; None: "squared_error" of the ratings if
        there are more than two different ones and "bce" of the labels otherwise, or "bce" of all pairs.
    log_q: take log q off where a loss draws negatives by popularity; False only to show what happens without.
    epochs, patience: at most so many; stop after so many without a better value on valid, counted from the end of
        `head_epochs` where there is a language model to train.
    batch: rows a step for "label", items (with all users) for "interaction", choices for its other losses. Where the
        language model is trained, a step of "label" takes items with all their rows, so many that the rows are
        `batch` on average.
    lr: learning rate of AdamW.
    decay_ids, decay_maps, decay_biases: weight decay of free vectors, maps from features, biases.
    id_dropout, user_dropout: share of items, of users, that a step meets as if they were new.
    average: what valid sees and the model keeps is a running average of the weights, of which this share stays at each
        step (0: the weights themselves). It evens out the noise of single steps.
    head_epochs: epochs at the start in which the language model stands still and the rest is trained on its vectors, at
        next to no cost: a head that knows nothing yet would pull it out of shape.
    lr_text, decay_text, dropout_text: learning rate and weight decay of the language model's trained weights, and
        the dropout within it.
    warmup: the learning rates rise to their values over so many steps.
    clip: a longer gradient is shortened to this norm; 0: never. All trained weights count as one vector.
    mlm: lambda in L = L_rec + lambda L_MLM, see `klm_utils.embedding.mlm`; 0: none.
    precision: "float32", "bfloat16" (matrix products and the like in half the bits), or "auto": bfloat16 on a GPU that
        has it, where it saves time.
    seed: of the order of the batches and the dropout.
    verbose: True: a line for each epoch. False: nothing. None: one line, gone in the end, where somebody looks (a
        terminal, a notebook in a browser).

    Raises:
        ConfigError: a value without meaning.

    Source: Kumar et al. 2022, Fine-tuning can distort pretrained features (`head_epochs`); Goyal et al. 2017, Accurate,
    large minibatch SGD, section 2.2 (`warmup`).
    """

    objective: str = "label"
    loss: str | None = None
    log_q: bool = True
    epochs: int = 60
    patience: int = 8
    batch: int | None = None
    lr: float | None = None
    decay_ids: float | None = None
    decay_maps: float | None = None
    decay_biases: float = 0.05
    id_dropout: float | None = None
    user_dropout: float = 0.1
    average: float = 0.95
    head_epochs: int | None = None
    lr_text: float | None = None
    decay_text: float = 0.01
    dropout_text: float = 0.1
    warmup: int | None = None
    clip: float | None = None
    mlm: float = 0.0
    precision: str = "auto"
    seed: int = 0
    verbose: bool | None = None

    def __post_init__(self):
        check_choice("objective", self.objective, tuple(PRESETS))
        check_choice("loss", self.loss, (None, *LOSSES[self.objective]))
        check_choice("log_q", self.log_q, (True, False) if self.loss in BY_POPULARITY else (True,))
        check_choice("verbose", self.verbose, (None, True, False))
        check_choice("precision", self.precision, ("auto", "float32", "bfloat16"))
        single = self.objective == "interaction" and self.loss not in (None, "bce")
        for name, value in (PRESETS[self.objective] | ({"batch": CHOICES} if single else {})).items():
            if getattr(self, name) is None:
                object.__setattr__(self, name, value)
        for name in ("epochs", "patience", "batch"):
            least = 2 if (name, self.loss) == ("batch", "info_nce") else 1  # its negatives are the other rows
            object.__setattr__(self, name, check_whole(name, getattr(self, name), least=least))
        for name in ("head_epochs", "warmup"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, check_whole(name, getattr(self, name), least=0))
        object.__setattr__(self, "seed", check_seed(self.seed, "TrainConfig(seed)"))
        limits = dict.fromkeys(("lr", "decay_ids", "decay_maps", "decay_biases", "decay_text", "mlm"), 1e6)
        limits |= {name: 1e6 for name in ("lr_text", "clip") if getattr(self, name) is not None}
        limits |= dict.fromkeys(("id_dropout", "user_dropout", "dropout_text"), 1) | {"average": 0.9999}
        for name, most in limits.items():
            value = check_number(f"TrainConfig({name})", getattr(self, name), 0, most, "leave it out for the preset")
            object.__setattr__(self, name, value)

    def of(self, mode: str) -> "TrainConfig":
        """The same, with the presets of a mode where a value is None."""
        return replace(self, **{k: v for k, v in MODE_PRESETS[mode].items() if getattr(self, k) is None})
