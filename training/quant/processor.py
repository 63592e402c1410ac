"""Which products this processor multiplies itself, and torch does not emulate.

Torch takes products of bfloat16 and of bytes everywhere, but where the processor has no instruction
for them at a thirtieth to a fiftieth of the speed of float32 (measured with AVX2 alone).
"""

from __future__ import annotations

import torch

try:
    from qpolicy_training.quant import _actor

    _KNOWN = bool(_actor.available)
except ImportError:  # installed without a C compiler
    _KNOWN = False


def products_dtype(products: str) -> torch.dtype:
    """What products that may be ``float32`` or ``bfloat16`` are taken at on this processor.

    bfloat16 only where it has AVX512-BF16; float32 is the more exact of the two.
    """
    fast = products == "bfloat16" and _has("avx512_bf16")
    return torch.bfloat16 if fast else torch.float32


def multiplies_bytes() -> bool:
    """Whether products of bytes, summed as int32, are faster than those of float32."""
    return _has("avx512_vnni")


def _has(name: str) -> bool:
    # A torch without this function is too old to say; the C passes know at least of bfloat16.
    capabilities: dict[str, bool] = getattr(torch.cpu, "get_capabilities", dict)()
    return bool(capabilities.get(name, _KNOWN))
