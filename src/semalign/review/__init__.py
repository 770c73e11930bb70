"""The local page on which people go through an audit."""

from semalign.review.opening import open_review

__all__ = ["open_review"]
