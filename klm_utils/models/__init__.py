"""Whatever has `predict`: the recommender of the course, and the baselines that it must beat."""

from klm_utils.lazy import modules

__getattr__, __dir__ = modules(__name__)
