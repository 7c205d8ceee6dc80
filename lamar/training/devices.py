"""Arrays on their way to the device."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def sent(array: np.ndarray, device: torch.device) -> Tensor:
    """An array as a tensor on `device`. A GPU goes on with what it has to do while the array is on its way."""
    tensor = torch.from_numpy(array)
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)
