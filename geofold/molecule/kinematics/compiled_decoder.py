"""The decoder and its derivatives by kernels in C: twins of `TorsionDecoder.decode` and `DecoderDerivatives`.

Glossary: ``p`` probes, ``B`` rows, ``d`` latent, ``n`` torsions, ``m`` local atoms, ``r`` closure rows.
"""

from __future__ import annotations

from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor

from geofold.kernels.library import call
from geofold.kernels.structures import Expansion
from geofold.molecule.kinematics.decoder_derivatives import DecoderParts
from geofold.molecule.kinematics.decoder_state import DecoderState

ANISOTROPIC = 2
"""Status of the kernel of the metric if the weights of the coordinates of an atom differ."""


class Decoded(NamedTuple):
    """Result of a decoding.

    Attributes
    ----------
    mean : (B, n + 3 m)
        Increments, then coordinates (nm).
    valid : (B,) bool
    basis : (B, n, r)
        Directions in which Newton's method closes the loop.
    free : (B, n)
        Projected increments before the cap.
    frames : (B, n, 12)
        Rotation and translation of each torsion; empty without torsions.
    """

    mean: Tensor
    valid: Tensor
    basis: Tensor
    free: Tensor
    frames: Tensor


def decode(decoder: DecoderParts, z: Tensor, state: DecoderState, limit: float, cap: float) -> Decoded:
    """Decode latents.

    Parameters
    ----------
    decoder : DecoderParts
    z : (B, d)
    state : DecoderState
    limit : float
        Largest increment before loop closure, radian.
    cap : float
        Largest increment of a valid decoding, radian.
    """
    rows, (n, m) = len(z), (len(decoder.tree), state.xyz.shape[1])
    mean, valid = z.new_empty(rows, n + 3 * m), torch.empty(rows, dtype=torch.bool)
    basis, free, frames = torch.empty_like(state.space.normal), z.new_empty(rows, n), z.new_empty(rows, n, 12)
    call(
        "decode", decoder.kinematics.c_struct, decoder.closure.c_struct, rows, z.shape[1], limit, cap, z, state.xyz,
        state.mobility, state.space.normal, basis, free, frames, mean, valid,
    )  # fmt: skip
    return Decoded(mean, valid, basis, free, frames)


class CompiledDerivatives:
    """Linear maps of one expansion of the decoder. Build with `TorsionDecoder.expand`.

    Parameters
    ----------
    decoder : DecoderParts
    state : DecoderState
        State that is moved.
    decoded : Decoded
        Decoding of the latent.
    limit : float
        Largest increment before loop closure, radian.
    """

    def __init__(self, decoder: DecoderParts, state: DecoderState, decoded: Decoded, limit: float) -> None:
        self._decoder, self._state, self._decoded, self._limit = decoder, state, decoded, limit

    @cached_property
    def _expansion(self) -> Expansion:
        decoder, state, mean = self._decoder, self._state, self._decoded.mean
        rows, n, r = self._decoded.basis.shape
        at = Expansion.of(
            decoder.kinematics.c_struct, decoder.closure.c_struct, rows, decoder.latent_dim, self._limit, state.xyz,
            state.mobility, state.space.normal, *self._decoded[2:], mean, mean.new_empty(rows, n, 6),
            mean.new_empty(rows, r, n), mean.new_empty(rows, n, r),
        )  # fmt: skip
        call("expand", at)
        return at

    def push(self, v: Tensor) -> Tensor:
        """Compute J v: (p, B, d) -> (p, B, k)."""
        out = v.new_empty(*v.shape[:2], self._decoded.mean.shape[1])
        call("push", self._expansion, len(v), v.contiguous(), out)
        return out

    def pull(self, c: Tensor) -> Tensor:
        """Compute J'c: (p, B, k) -> (p, B, d)."""
        out = c.new_empty(*c.shape[:2], self._decoder.latent_dim)
        call("pull", self._expansion, len(c), c.contiguous(), out)
        return out

    def bend(self, v: Tensor) -> Tensor:
        """Compute the second derivative (B, k) of the observations along v (B, d)."""
        out = torch.empty_like(self._decoded.mean)
        call("bend", self._expansion, v.contiguous(), out)
        return out

    def gram(self, weight: Tensor) -> Tensor:
        """Compute J'WJ (B, d, d) for W (B, k), from the inertia of the tree if W is isotropic for each atom."""
        rows, dim = len(self._decoded.mean), self._decoder.latent_dim
        weight = weight if weight.stride(-1) == 1 else weight.contiguous()
        out = weight.new_empty(rows, dim, dim)
        if call("gram", self._expansion, weight, weight.stride(0), out) == ANISOTROPIC:
            columns = self.push(torch.eye(dim, dtype=weight.dtype)[:, None].expand(dim, rows, dim))
            return torch.einsum("ibk,bk,jbk->bij", columns, weight, columns)
        return out
