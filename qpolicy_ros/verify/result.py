"""What a verification finds: sections, each with checks that count what was compared."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class Check:
    """One comparison.

    Attributes:
        name: what was compared with what.
        compared: how many values, proofs or episodes.
        wrong: how many of them differ.
        detail: the first difference, or a figure worth keeping.
    """

    name: str
    compared: int
    wrong: int
    detail: str = ""

    @property
    def passed(self) -> bool:
        """Whether something was compared and nothing differs."""
        return self.compared > 0 and self.wrong == 0


@dataclass(frozen=True)
class Section:
    """One section of a certificate.

    Attributes:
        name: ``bounds``, ``neurons``, ``formal``, ``chain``, ``loops`` or ``properties``.
        checks: at least one.
        uncovered: what this section leaves open, in words.
    """

    name: str
    checks: tuple[Check, ...]
    uncovered: tuple[str, ...] = field(default=())

    @property
    def passed(self) -> bool:
        """Whether every check passed."""
        return bool(self.checks) and all(check.passed for check in self.checks)

    def as_json(self) -> dict[str, Any]:
        """The section as JSON-able values."""
        return {
            "name": self.name,
            "passed": self.passed,
            "checks": [{**asdict(check), "passed": check.passed} for check in self.checks],
            "uncovered": list(self.uncovered),
        }
