"""Several models as one: what they predict on average."""

from typing import Any

import numpy as np

from klm_utils.errors import ConfigError
from klm_utils.evaluation import ranking


class Average:
    """The mean of the probabilities of several fitted models of one question and one split.

    Models that differ in seed, loss or form err in different places; their mean errs less. There is nothing to tune.

    Args:
        models: two or more, anything with `predict(user_ids, item_ids) -> float [n]`. `objective` and `protocol`, where
            they have them, must agree: `klm.evaluate` reads them.

    Raises:
        ConfigError: fewer than two; no model; different questions or splits.

    Source: Breiman 1996, Bagging predictors; Lakshminarayanan et al. 2017, Simple and scalable predictive uncertainty
    estimation using deep ensembles.
    """

    def __init__(self, *models: Any):
        if len(models) < 2:
            raise ConfigError("an average needs models", "Average(*models)", len(models), "2 or more", "pass them all")
        for model in models:
            ranking.check_model("Average(*models)", model)
        self.models = models
        self.name = f"mean of {', '.join(dict.fromkeys(ranking.model_name(model) for model in models))}"
        for about in ("objective", "protocol"):
            if found := {getattr(model, about) for model in models if hasattr(model, about)}:
                if len(found) > 1:
                    remedy = "average models of one question, fitted on one split"
                    raise ConfigError(f"these differ in {about}", "Average(*models)", sorted(found), "one", remedy)
                setattr(self, about, found.pop())

    def predict(self, user_ids, item_ids) -> np.ndarray:
        """The mean for each pair, float64 [n]."""
        return np.mean([ranking.predict(model, user_ids, item_ids) for model in self.models], axis=0)
