"""Metrics, full ranking, intervals and reports (notebook 06).

`evaluate` knows nothing of training: it takes anything with `predict(user_ids, item_ids) -> probabilities`.
"""

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
from klm_utils.evaluation.report import Comparison, Report, compare, evaluate, pooled
from klm_utils.lazy import modules

__all__ = [
    "Comparison",
    "Report",
    "auc",
    "average_precision",
    "compare",
    "coverage",
    "ece",
    "evaluate",
    "hit_rate",
    "logloss",
    "mrr",
    "ndcg",
    "pooled",
    "recall",
]

__getattr__, __dir__ = modules(__name__)
