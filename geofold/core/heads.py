"""Observation heads: the weight W of the pullback metric from the calibrated precision of a decoder.

W is the Fisher information of the likelihood of a head in its location parameter, in closed form:

===========  ==============================  ====================================================
head         observation                     Fisher information W
===========  ==============================  ====================================================
Gaussian     mean                            1 / variance
von Mises    angle, concentration kappa      kappa I1(kappa) / I0(kappa)   (Mardia and Jupp 2000)
categorical  2 sqrt(p), p = softmax(logits)  1
===========  ==============================  ====================================================

A categorical head's Fisher information in its logits, diag(p) - pp', is not diagonal; on the square-root map it
is the identity (the Fisher-Rao sphere of radius two), so a diagonal W still gives the pullback metric exactly, and
constant W the exact Christoffel term. A temperature T, fitted on a held-out split, divides the precision of every head
by T^2 (for the categorical head, the logits by T), so that predicted and observed errors agree.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor


def gaussian_information(log_precision: Tensor, temperature: float = 1.0) -> Tensor:
    """Fisher information of a Gaussian mean, shape of `log_precision`."""
    return torch.exp(log_precision - 2 * math.log(temperature))


def gaussian_nll(observed: Tensor, mean: Tensor, log_precision: Tensor, temperature: float = 1.0) -> Tensor:
    """Negative log-likelihood of each observation.

    Parameters
    ----------
    observed : Tensor
        Observations.
    mean, log_precision : Tensor
        Parameters of the distribution.
    temperature : float
        Factor of the standard deviation.
    """
    weight = log_precision - 2 * math.log(temperature)
    return 0.5 * (math.log(2 * math.pi) - weight + (observed - mean).square() * torch.exp(weight))


def von_mises_information(concentration: Tensor, temperature: float = 1.0) -> Tensor:
    """Fisher information kappa A(kappa) of a von Mises location: kappa - 1/2 when sharp, kappa^2 / 2 when flat."""
    sharp = concentration / temperature**2
    # Scaled Bessel functions keep the ratio finite where exp(kappa) overflows.
    return sharp * torch.special.i1e(sharp) / torch.special.i0e(sharp)


def von_mises_concentration(resultant: Tensor) -> Tensor:
    """Concentration kappa of the von Mises density whose mean resultant A(kappa) is given, in [0, 1).

    Starting values of Best and Fisher (Commun. Stat. Simul. Comput. 10:493, 1981), and one Newton step.
    """
    r = resultant
    flat = 2 * r + r**3 + 5 * r**5 / 6
    middle = -0.4 + 1.39 * r + 0.43 / (1 - r)
    sharp = 1 / (r**3 - 4 * r**2 + 3 * r).clamp_min(1e-12)
    kappa = torch.where(r < 0.53, flat, torch.where(r < 0.85, middle, sharp)).clamp_min(1e-6)
    ratio = torch.special.i1e(kappa) / torch.special.i0e(kappa)
    return (kappa - (ratio - r) / (1 - ratio / kappa - ratio.square())).clamp_min(1e-6)


def von_mises_nll(observed: Tensor, angle: Tensor, concentration: Tensor, temperature: float = 1.0) -> Tensor:
    """Negative log-likelihood of each angle (rad).

    Parameters
    ----------
    observed, angle : Tensor
        Observed and mean angles (radian).
    concentration : Tensor
        Concentration of the distribution.
    temperature : float
        Factor of the width: the concentration is divided by its square.
    """
    sharp = concentration / temperature**2
    # 2 sin^2(x / 2) = 1 - cos x, without cancellation.
    versine = 2 * torch.sin((observed - angle) / 2).square()
    return math.log(2 * math.pi) + torch.log(torch.special.i0e(sharp)) + sharp * versine


def categorical_observation(logits: Tensor, temperature: float = 1.0) -> Tensor:
    """Observation 2 sqrt(p), (..., classes), whose Fisher information is one."""
    return 2 * torch.exp(0.5 * torch.log_softmax(logits / temperature, -1))


def categorical_nll(observed: Tensor, logits: Tensor, temperature: float = 1.0) -> Tensor:
    """Negative log-likelihood of class indices (...) under logits (..., classes)."""
    return -torch.log_softmax(logits / temperature, -1).gather(-1, observed[..., None])[..., 0]
