"""Landmark schemes as data: 68 (iBUG), 19 (AFLW), 98 (WFLW) and 29 (COFW) points, and a user's own from TOML."""

from semalign.schemes.load import SCHEME_FILE, load_scheme, scheme_of_text, scheme_text, scheme_toml, shipped_schemes
from semalign.schemes.scheme import Curve, LandmarkScheme

__all__ = [
    "SCHEME_FILE",
    "Curve",
    "LandmarkScheme",
    "load_scheme",
    "scheme_of_text",
    "scheme_text",
    "scheme_toml",
    "shipped_schemes",
]
