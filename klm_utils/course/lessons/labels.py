"""Notebook 08: many labels of one film from its text, each a question of its own."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score, label_ranking_average_precision_score
from sklearn.multiclass import OneVsRestClassifier
from sklearn.preprocessing import MultiLabelBinarizer

from klm_utils.evaluation import metrics

STRENGTHS = (0.1, 1.0, 10.0)  # C of the logistic regression, picked on valid


@dataclass(frozen=True)
class Labelled:
    """Probabilities of the labels of the films of test, float [films, labels], and how good they are.

    threshold: above it a label is given; picked by micro-F1 on valid.
    """

    probabilities: np.ndarray
    threshold: float
    scores: dict[str, float]


def marks(items: pd.DataFrame, columns: Sequence[str], least: int = 20) -> pd.DataFrame:
    """Which labels each item has, a column of 0 and 1 for each that `least` items have; "countries=France"."""
    bags = [[f"{column}={value}" for column in columns for value in row[column]] for _, row in items.iterrows()]
    maker = MultiLabelBinarizer()
    table = pd.DataFrame(maker.fit_transform(bags), index=items.index, columns=maker.classes_)
    return table.loc[:, table.sum() >= least]


def predict_labels(x: np.ndarray, y: np.ndarray, train: np.ndarray, valid: np.ndarray, test: np.ndarray) -> Labelled:
    """A sigmoid for each label on the vectors of the texts; valid picks the strength and the threshold.

    Args:
        x: float [items, dim]. y: 0 or 1, [items, labels]. train, valid, test: which items, bool [items] each.
    """
    best = None
    for strength in STRENGTHS:
        model = OneVsRestClassifier(LogisticRegression(C=strength, max_iter=500)).fit(x[train], y[train])
        found = label_ranking_average_precision_score(y[valid], model.predict_proba(x[valid]))
        if best is None or found > best[0]:
            best = found, model
    assert best is not None
    return judged(best[1].predict_proba(x[valid]), y[valid], best[1].predict_proba(x[test]), y[test])


def share_of_each(y: np.ndarray, train: np.ndarray, valid: np.ndarray, test: np.ndarray) -> Labelled:
    """The same probabilities for every item: the share of each label in train."""
    share = np.tile(y[train].mean(0), (len(y), 1))
    return judged(share[valid], y[valid], share[test], y[test])


def judged(p_valid: np.ndarray, y_valid: np.ndarray, p: np.ndarray, y: np.ndarray) -> Labelled:
    """Threshold by valid; micro-F1 (one table of all films and labels), LRAP and calibration error on test.

    LRAP: for each true label of a film, the share of true ones among the labels at least as likely; the mean.
    """
    steps = np.linspace(0.05, 0.6, 23)
    threshold = float(steps[np.argmax([f1_score(y_valid, p_valid >= step, average="micro") for step in steps])])
    some = y.any(1)  # LRAP of a film without labels is 1 by definition
    scores = {
        "micro-F1": float(f1_score(y, p >= threshold, average="micro")),
        "micro-F1 at .5": float(f1_score(y, p >= 0.5, average="micro", zero_division=0.0)),
        "LRAP": float(label_ranking_average_precision_score(y[some], p[some])),
        "ECE": float(metrics.ece(y.ravel().astype(float), p.ravel())),
    }
    return Labelled(p, threshold, scores)
