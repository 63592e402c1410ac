"""Contracts of other projects, and our own: what a network's values and actions are.

``read_contract`` tells the forms apart, a module a form; ``make_contract`` takes whatever says it.
"""

from __future__ import annotations

from qpolicy_ros.interchange.incoming.contracts.context import Context
from qpolicy_ros.interchange.incoming.contracts.make import make_contract
from qpolicy_ros.interchange.incoming.contracts.read import find_contract, read_contract

__all__ = ["Context", "find_contract", "make_contract", "read_contract"]
