"""Is this the gradient? Hand-written ones against autograd and central differences."""

from klm_utils.gradients.check import Comparison, compare, differences

__all__ = ["Comparison", "compare", "differences"]
