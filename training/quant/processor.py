"""What this processor multiplies itself, and which of the compiled passes it runs.

Torch takes products of bfloat16 and of bytes everywhere, but where the processor has no instruction
for them at a thirtieth to a fiftieth of the speed of float32 (measured with AVX2 alone). The passes
in C are built twice: for AVX512-BF16, and for AVX2 with products of float32.
"""

from __future__ import annotations

import functools
import importlib
import sys
from pathlib import Path
from typing import Any

import torch

from qpolicy_ros.common.built import is_built_from

ACTOR, CRITIC = "qpolicy_training.quant._actor", "qpolicy_training.rl._critic"


def compiled_passes(of: str, dtype: torch.dtype) -> Any:
    """The C module of ``ACTOR`` or ``CRITIC`` with such products, or None where it cannot run."""
    try:
        module = importlib.import_module(f"{of}_{str(dtype).removeprefix('torch.')}")
    except ImportError:  # installed without a C compiler
        return None
    return module if module.available and _is_of_its_source(module, of) else None


@functools.cache
def _is_of_its_source(module: Any, of: str) -> bool:
    """Whether the module was built from the source beside it; where that is not, it was."""
    source = Path(module.__file__).with_name(of.rpartition(".")[2] + ".c")
    if not source.exists():
        return True
    if is_built_from(module, [source, *source.parents[1].glob("*/*.h")]):
        return True
    text = "is not built from the source beside it, so torch takes the passes, slower"
    sys.stderr.write(f"notice: {module.__file__}: {text}; run `pip install -e .` again\n")
    return False


def products_dtype(products: str) -> torch.dtype:
    """What products that may be ``float32`` or ``bfloat16`` are taken at on this processor.

    bfloat16 only where it has AVX512-BF16; float32 is the more exact of the two.
    """
    fast = products == "bfloat16" and multiplies_bfloat16()
    return torch.bfloat16 if fast else torch.float32


def multiplies_bfloat16() -> bool:
    """Whether products of bfloat16 are faster than those of float32."""
    return _has("avx512_bf16")


def multiplies_bytes() -> bool:
    """Whether products of bytes, summed as int32, are faster than those of float32."""
    return _has("avx512_vnni")


def _has(name: str) -> bool:
    # A torch without this function is too old to say; the C passes know at least of bfloat16.
    capabilities: dict[str, bool] = getattr(torch.cpu, "get_capabilities", dict)()
    if name in capabilities:
        return capabilities[name]
    return compiled_passes(ACTOR, torch.bfloat16) is not None
