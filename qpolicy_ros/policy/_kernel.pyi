import numpy.typing as npt
from typing_extensions import Self

from qpolicy_ros.policy.model import Float32, Int8, Int32

source: str  # SHA-256 of what it was built from

def instruction_sets() -> list[str]: ...

class Kernel:
    instructions: str
    quantise_ns: int
    def __new__(
        cls,
        mean: Float32,
        gain: Float32,
        table: Float32,
        bits: tuple[int, int, int],
        weights: tuple[Int8, ...],
        thresholds: tuple[Int32, ...],
        instructions: str = "",
    ) -> Self: ...
    def act(self, observation: npt.ArrayLike, actions: Float32, /) -> int: ...
    def act_batch(self, observations: npt.ArrayLike, actions: Float32, /) -> int: ...
    def codes_batch(self, observations: npt.ArrayLike, codes: Int32, /) -> int: ...
