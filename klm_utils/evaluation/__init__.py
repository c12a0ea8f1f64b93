"""Metrics, full ranking, intervals and reports (notebook 06).

`evaluate` knows nothing of training: it takes anything with `predict(user_ids, item_ids) -> probabilities`.
"""

from klm_utils.evaluation.gain import Gain, paired_gain
from klm_utils.evaluation.metrics import (
    auc,
    average_precision,
    coverage,
    ece,
    hit_rate,
    logloss,
    mrr,
    ndcg,
    recall,
)
from klm_utils.evaluation.report import Report, evaluate, pooled
from klm_utils.lazy import modules

__all__ = [
    "Gain",
    "Report",
    "auc",
    "average_precision",
    "coverage",
    "ece",
    "evaluate",
    "hit_rate",
    "logloss",
    "mrr",
    "ndcg",
    "paired_gain",
    "pooled",
    "recall",
]

__getattr__, __dir__ = modules(__name__)
