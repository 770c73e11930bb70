"""Landmark schemes as data: 68 (iBUG), 19 (AFLW), 98 (WFLW) and 29 (COFW) points, and a user's own from TOML."""

from semalign.schemes.load import load_scheme, scheme_of_text, scheme_text, shipped_schemes
from semalign.schemes.scheme import Curve, LandmarkScheme

__all__ = ["Curve", "LandmarkScheme", "load_scheme", "scheme_of_text", "scheme_text", "shipped_schemes"]
