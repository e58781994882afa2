"""The type in which matrices are multiplied."""

from __future__ import annotations

import torch

__all__ = ["mixed"]


def mixed(device: str | torch.device) -> torch.autocast:
    """Multiplies matrices in bfloat16 where the hardware has units for it.

    Sums, softmax and all that is kept stay float32. On a CPU without such units bfloat16 would be
    slower than float32.
    """
    kind = torch.device(device).type
    if kind == "cuda":
        fast = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        fast = kind == "cpu" and _cpu_has_matrix_units()
    return torch.autocast(kind, torch.bfloat16, enabled=fast)


def _cpu_has_matrix_units() -> bool:
    # Not part of torch's public interface: where it goes, we compute in float32.
    supported = getattr(torch.cpu, "_is_amx_tile_supported", None)
    return bool(supported is not None and supported())
