"""Which model an unset ``model.name`` means, told without importing torch."""

from __future__ import annotations

import os
from pathlib import Path

TINY = "tiny"
"""Name of the model that is made on the spot: no download, fast on a CPU."""

DEFAULT_MODEL = "Qwen/Qwen3-1.7B"
"""The model of a run that names none on a machine with a GPU."""

DEVICE_FOLDER = Path("/dev")


def gpu_present() -> bool:
    """Return whether this process may use an NVIDIA GPU.

    The driver's device files decide, because ``/proc/driver/nvidia`` is also visible in containers that
    were given no GPU. A ``CUDA_VISIBLE_DEVICES`` that hides all of them counts as none.
    """
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None and visible.strip() in ("", "-1", "NoDevFiles"):
        return False
    return any(path.name[len("nvidia") :].isdigit() for path in DEVICE_FOLDER.glob("nvidia[0-9]*"))


def resolve_model_name(name: str | None, device: str = "auto") -> str:
    """Return `name`, or what an unset name means on this machine.

    Args:
        name: ``model.name``.
        device: ``engine.device``: ``cpu`` counts as a machine without a GPU, ``cuda`` as one with.
    """
    if name is not None:
        return name
    wants_gpu = device.startswith("cuda") or (device != "cpu" and gpu_present())
    return DEFAULT_MODEL if wants_gpu else TINY
