"""Is this the gradient? Hand-written ones against autograd and central differences."""

from klm_utils.gradients.check import Comparison, compare, differences
from klm_utils.lazy import modules

__all__ = ["Comparison", "compare", "differences"]

__getattr__, __dir__ = modules(__name__)
