"""Texts to vectors: a pretrained language model, a pooling, an encoder with a cache."""

from klm_utils.embedding.backbones import load_backbone
from klm_utils.embedding.encoder import TextEncoder
from klm_utils.embedding.pooling import POOLINGS, cls_token, last_token, masked_mean
from klm_utils.lazy import modules

__all__ = ["POOLINGS", "TextEncoder", "cls_token", "last_token", "load_backbone", "masked_mean"]

__getattr__, __dir__ = modules(__name__)
