"""The type in which matrices are multiplied."""

from __future__ import annotations

import torch

__all__ = ["has_bfloat16_units", "mixed"]


def mixed(device: str | torch.device) -> torch.autocast:
    """Multiplies matrices in bfloat16 where the hardware has units for it.

    Sums, softmax and all that is kept stay float32. On a CPU without such units bfloat16 would be
    slower than float32.
    """
    kind = torch.device(device).type
    return torch.autocast(kind, torch.bfloat16, enabled=has_bfloat16_units(device))


def has_bfloat16_units(device: str | torch.device) -> bool:
    """Whether the hardware multiplies bfloat16 matrices faster than float32."""
    kind = torch.device(device).type
    if kind == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return kind == "cpu" and _cpu_has_matrix_units()


def _cpu_has_matrix_units() -> bool:
    # Not part of torch's public interface: where it goes, we compute in float32.
    supported = getattr(torch.cpu, "_is_amx_tile_supported", None)
    return bool(supported is not None and supported())
