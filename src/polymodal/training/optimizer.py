"""AdamW without torch's compiler, which ``torch.optim`` would import for it: a second of every run (torch)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import torch
from torch.optim import AdamW


def _plain(method: Callable[..., Any]) -> Callable[..., Any]:
    """Return a method without its decorators: they import ``torch._dynamo`` to keep it out of compiled code."""
    return cast(Callable[..., Any], getattr(method, "__wrapped__", method))


class PlainAdamW(AdamW):
    """AdamW (Loshchilov and Hutter 2019) to be called from outside of compiled code only; its results are the same.

    Example:
        >>> weight = torch.nn.Parameter(torch.ones(2))
        >>> optimizer = PlainAdamW([weight], lr=0.1, weight_decay=0.0)
        >>> weight.sum().backward()
        >>> optimizer.step()
        >>> weight.detach().tolist()
        [0.8999999761581421, 0.8999999761581421]
    """

    add_param_group = _plain(AdamW.add_param_group)
    zero_grad = _plain(AdamW.zero_grad)
    state_dict = _plain(AdamW.state_dict)
    load_state_dict = _plain(AdamW.load_state_dict)
    _step = _plain(AdamW.step)

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """Change the weights by their gradients.

        Args:
            closure: Computes the loss again, with gradients; usually None.

        Returns:
            The closure's loss, or None.
        """
        return self._step(closure)
