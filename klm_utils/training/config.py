"""TrainConfig: how to train."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

from klm_utils.errors import ConfigError, check_choice, check_number, check_seed, check_whole

if TYPE_CHECKING:
    from klm_utils.data.splits import Split

LOSSES = {
    "label": ("squared_error", "bce", "ordinal", "bpr"),
    "interaction": ("bce", "softmax", "sampled_softmax", "info_nce", "bpr"),
}
BY_POPULARITY = ("sampled_softmax", "info_nce")  # draw negatives as often as they were chosen
# What an objective wants. Decay is AdamW's: each step takes lr * decay of a weight away.
PRESETS: dict[str, dict[str, Any]] = {
    "label": {"batch": 4096, "lr": 0.01, "decay_ids": 2.0, "decay_maps": 10.0, "id_dropout": 0.2},
    "interaction": {"batch": 128, "lr": 0.005, "decay_ids": 0.3, "decay_maps": 0.3, "id_dropout": 0.5},
}
CHOICES = 512  # the batch of losses that go through the choices one by one
# What a mode wants: small steps for weights that know something, larger ones for those of an adapter, which are new.
MODE_PRESETS: dict[str, dict[str, Any]] = {
    "frozen": {"head_epochs": 0, "lr_text": 0.0, "warmup": 0, "clip": 0.0},
    "adapter": {"head_epochs": 20, "lr_text": 1e-3, "warmup": 20, "clip": 1.0},
    "partial": {"head_epochs": 20, "lr_text": 1e-4, "warmup": 20, "clip": 1.0},
    "full": {"head_epochs": 20, "lr_text": 3e-5, "warmup": 20, "clip": 1.0},
}
BY_LOG = {
    "objective": '"label" if train has two labels or several ratings, else "interaction"',
    "loss": '"squared_error" of more than two different ratings, else "bce"',
}
OPEN: Any = None  # what follows from the log, the objective or the mode
WHOLE = {"epochs": 1, "patience": 1, "batch": 1, "negatives": 1, "sample": 1, "head_epochs": 0, "warmup": 0}  # least
NUMBERS = dict.fromkeys(("lr", "decay_ids", "decay_maps", "decay_biases", "lr_text", "decay_text", "clip", "mlm"), 1e6)
NUMBERS |= {"id_dropout": 1.0, "user_dropout": 1.0, "dropout_text": 1.0, "average": 0.9999}  # at most


@dataclass(frozen=True)
class TrainConfig:
    """How to train. What is None follows from the log, the objective or the model's mode: `print(config)` says how.

    objective: "label" (rows of train with their labels) or "interaction" (the chosen rows against all other pairs).
    loss: one of `LOSSES[objective]`, see `klm_utils.training.objectives`.
    log_q: take log q off where a loss draws negatives by popularity; False only to show what happens without.
    negatives: users drawn for each choice by "bce" of "interaction", where a fusion cannot score all pairs at once.
    sample: items drawn for each choice by "sampled_softmax".
    epochs, patience: at most so many; stop after so many without a better value on valid, counted from the end of
        `head_epochs`. A split without valid has exactly `epochs`.
    batch: rows a step for "label", items (with all users) for "interaction", choices for its other losses. Where the
        language model is trained, a step of "label" takes items with all their rows, so many that the rows are
        `batch` on average.
    lr: learning rate of AdamW.
    decay_ids, decay_maps, decay_biases: weight decay of free vectors, maps from features, biases.
    id_dropout, user_dropout: share of items, of users, that a step meets as if they were new.
    average: what valid sees and the model keeps is a running average of the weights, of which this share stays at each
        step (0: the weights themselves). It evens out the noise of single steps.
    head_epochs: epochs at the start in which the language model stands still and the rest is trained on its vectors, at
        next to no cost: a head that knows nothing yet would pull it out of shape. Always 0 in mode "frozen".
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

    objective: str = OPEN
    loss: str = OPEN
    log_q: bool = True
    negatives: int = 4
    sample: int = 20
    epochs: int = 60
    patience: int = 8
    batch: int = OPEN
    lr: float = OPEN
    decay_ids: float = OPEN
    decay_maps: float = OPEN
    decay_biases: float = 0.05
    id_dropout: float = OPEN
    user_dropout: float = 0.1
    average: float = 0.95
    head_epochs: int = OPEN
    lr_text: float = OPEN
    decay_text: float = 0.01
    dropout_text: float = 0.1
    warmup: int = OPEN
    clip: float = OPEN
    mlm: float = 0.0
    precision: str = "auto"
    seed: int = 0
    verbose: bool | None = None

    def __post_init__(self) -> None:
        check_choice("objective", self.objective, (None, *PRESETS))
        check_choice("loss", self.loss, (None, *LOSSES.get(self.objective, sum(LOSSES.values(), ()))))
        check_choice("log_q", self.log_q, (True, False) if self.loss in BY_POPULARITY else (True,))
        check_choice("precision", self.precision, ("auto", "float32", "bfloat16"))
        check_choice("verbose", self.verbose, (None, True, False))
        object.__setattr__(self, "seed", check_seed(self.seed, "TrainConfig(seed)"))
        for name, default in ((field.name, field.default) for field in fields(self)):
            value = getattr(self, name)
            if value is None and default is None:
                continue
            if name in WHOLE:
                pairs = (name, self.loss) == ("batch", "info_nce")  # its negatives are the other rows
                object.__setattr__(self, name, check_whole(name, value, 2 if pairs else WHOLE[name]))
            elif name in NUMBERS:
                value = check_number(f"TrainConfig({name})", value, 0, NUMBERS[name], "leave it out for the preset")
                object.__setattr__(self, name, value)

    def __str__(self) -> str:
        config = self._with(self._of_objective())
        return "\n".join(
            ["TrainConfig", *(f"  {f.name:12s} {_said(f.name, getattr(config, f.name))}" for f in fields(self))]
        )

    def of(self, mode: str, split: Split | None = None) -> TrainConfig:
        """The same with a value in place of each None: what `fit` uses for a model of this mode on this split.

        Without a split, an objective and a loss that are not given stay open, and the values that follow from them.

        Raises:
            ConfigError: the head epochs of the preset leave none for the language model; `mlm` in mode "frozen"; a
                loss that is none of the objective that follows from the log.
        """
        config = self
        if split is not None:
            ratings, labels = (split.train[column].nunique() for column in ("rating", "label"))
            config = config._with({"objective": "label" if ratings > 1 or labels > 1 else "interaction"})
            graded = config.objective == "label" and ratings > 2
            config = config._with({"loss": "squared_error" if graded else "bce"})
        if mode == "frozen":
            if self.mlm:
                what = "a frozen language model has nothing to gain from a second loss"
                raise ConfigError(what, "TrainConfig(mlm)", self.mlm, "0 in mode 'frozen'", 'mode="full", for example')
            config = replace(config, head_epochs=0, lr_text=0.0)
        config = config._with(config._of_objective() | MODE_PRESETS[mode])
        if self.head_epochs is None and MODE_PRESETS[mode]["head_epochs"] >= self.epochs:
            what, head = "the language model would never be trained", MODE_PRESETS[mode]["head_epochs"]
            found = f"epochs={self.epochs}, of which the preset keeps {head} for the head alone"
            expected = f"more than {head} epochs, or head_epochs of your own"
            raise ConfigError(what, "TrainConfig(epochs)", found, expected, "for example head_epochs=0")
        return config

    def _of_objective(self) -> dict[str, Any]:
        """The presets of the objective, if it is known by now."""
        if self.objective != "interaction":
            return PRESETS.get(self.objective, {})
        return PRESETS["interaction"] | {"loss": "bce"} | ({} if self.loss in (None, "bce") else {"batch": CHOICES})

    def _with(self, values: dict[str, Any]) -> TrainConfig:
        """The same with these values in place of None."""
        return replace(self, **{name: value for name, value in values.items() if getattr(self, name) is None})


def _said(name: str, value: Any) -> str:
    """A value, or what it follows from."""
    if value is not None or name == "verbose":
        return repr(value)
    for by, presets in (("objective", PRESETS), ("mode", MODE_PRESETS)):
        if name in next(iter(presets.values())):
            return f"by {by}: " + ", ".join(f"{key} {values[name]:g}" for key, values in presets.items())
    return BY_LOG[name]
