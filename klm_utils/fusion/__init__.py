"""Notebook 03: vectors, ids, profile and history become one score."""

from klm_utils.fusion.dot import BASE, ITEM_PARTS, USER, Catalogue, DotFusion
from klm_utils.fusion.layers import LAYERS, Inputs

FUSIONS = {"dot": DotFusion}

__all__ = ["BASE", "FUSIONS", "ITEM_PARTS", "LAYERS", "USER", "Catalogue", "DotFusion", "Inputs"]
