"""Every table and figure of the paper, made anew from one laboratory of cached experiments."""

from semalign.reproduce.run import KNOWN, reproduce
from semalign.reproduce.sizes import SIZES

__all__ = ["KNOWN", "SIZES", "reproduce"]
