"""What this processor multiplies itself, and which of the compiled passes it runs.

Torch takes products of bfloat16 and of bytes everywhere, but where the processor has no instruction
for them at a thirtieth to a fiftieth of the speed of float32 (measured with AVX2 alone). The passes
in C are built twice: for AVX512-BF16, and for AVX2 with products of float32.
"""

from __future__ import annotations

import importlib
from typing import Any

import torch

ACTOR, CRITIC = "qpolicy_training.quant._actor", "qpolicy_training.rl._critic"


def compiled_passes(of: str, dtype: torch.dtype) -> Any:
    """The C module of ``ACTOR`` or ``CRITIC`` with such products, or None where it cannot run."""
    try:
        module = importlib.import_module(f"{of}_{str(dtype).removeprefix('torch.')}")
    except ImportError:  # installed without a C compiler
        return None
    return module if module.available else None


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
    if name in capabilities:
        return capabilities[name]
    return compiled_passes(ACTOR, torch.bfloat16) is not None
