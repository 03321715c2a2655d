"""Executable contracts of domains, backbones and metrics.

Run them on a domain of your own before you stream it (`examples/04_your_own_domain.py`). The checks run from basic to
specific, and the first violation raises a `ContractError` with the value found, the value expected and advice.
Arguments are not modified.
"""

from geofold.core.checks.assertions import ContractError
from geofold.core.checks.contracts import check_backbone, check_domain, check_metric

__all__ = ["ContractError", "check_backbone", "check_domain", "check_metric"]
