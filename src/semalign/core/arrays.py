"""Formulas that hold for NumPy's arrays and for PyTorch's tensors alike: how they are written once, without importing PyTorch.

A function of such formulas takes `Array`s, all of one library, and gives the same. What NumPy and PyTorch call alike (`stack`,
`concatenate`, `where`, `clip`, `linalg.solve` with `axis=` and `keepdims=`) it takes from `library`. `Tensor` in annotations of
modules that do without PyTorch is PyTorch's, for which nothing is imported; shapes are checked all the same.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor as Tensor

    Array = TypeVar("Array", np.ndarray, Tensor)
else:
    Tensor = Any
    Array = TypeVar("Array")


def library(array: Any) -> Any:
    """The module of an array's functions: `numpy`, or `torch` for a tensor."""
    if isinstance(array, np.ndarray):
        return np
    import torch

    return torch


def like(constant: np.ndarray, array: Array) -> Array:
    """A constant in an array's library, of its type of numbers and on its device."""
    if isinstance(array, np.ndarray):
        return constant.astype(array.dtype, copy=False)
    return library(array).as_tensor(constant, dtype=array.dtype, device=array.device)


def single(array: Array) -> Array:
    """In float32."""
    return array.astype(np.float32) if isinstance(array, np.ndarray) else array.float()


def double(array: Array) -> Array:
    """In float64."""
    return array.astype(np.float64) if isinstance(array, np.ndarray) else array.double()


def gelu(array: Array) -> Array:
    """X Φ(x), the Gaussian error linear unit."""
    x = array / math.sqrt(2.0)
    error = _ERF(x).astype(x.dtype) if isinstance(x, np.ndarray) else library(x).special.erf(x)
    return array * (error + 1.0) / 2.0


_ERF = np.vectorize(math.erf, otypes=[np.float64])  # NumPy has none
