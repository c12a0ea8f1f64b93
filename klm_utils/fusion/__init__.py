"""Notebook 03: vectors, ids, profile and history become one score."""

from functools import partial

from klm_utils.fusion.dot import DotFusion
from klm_utils.fusion.layered import LayerFusion
from klm_utils.fusion.layers import LAYERS, Inputs
from klm_utils.fusion.vectors import BASE, ITEM_PARTS, UNKNOWN, USER, Vectors
from klm_utils.lazy import modules

FUSIONS = {"dot": DotFusion} | {name: partial(LayerFusion, layer=name) for name in LAYERS}

__all__ = [
    "BASE",
    "FUSIONS",
    "ITEM_PARTS",
    "LAYERS",
    "UNKNOWN",
    "USER",
    "DotFusion",
    "Inputs",
    "LayerFusion",
    "Vectors",
]

__getattr__, __dir__ = modules(__name__)
