available: int
"""1 where this processor runs it."""

def size(observations: int, actions: int, width: int, batch: int, norm: int, /) -> int: ...
def prepare(
    block: int, observations: int, actions: int, width: int, batch: int, norm: int, /
) -> None: ...
def pack(block: int, flat: int, back: int, /) -> None: ...
def forward(
    block: int,
    flat: int,
    observations: int,
    stride: int,
    actions: int,
    stride2: int,
    q: int,
    keep: int,
    /,
) -> None: ...
def backward(block: int, flat: int, d_q: int, gradient: int, /) -> None: ...
def action_gradient(block: int, flat: int, d_q: int, result: int, /) -> None: ...
