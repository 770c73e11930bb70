"""Which data set an audit is of, so that it can be written once more."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from semalign.auditing.result import Audit
from semalign.data import Dataset, open_dataset
from semalign.errors import SemalignError
from semalign.files import shown
from semalign.schemes import LandmarkScheme, scheme_of_text, scheme_text


@dataclass(frozen=True)
class Source:
    """A data set as it was opened, so that it can be written once more.

    Attributes:
        path: folder or document.
        scheme: landmark scheme that was given; None = the data's own.
        images: folder of pictures that was given.
    """

    path: Path
    scheme: LandmarkScheme | None = None
    images: Path | None = None

    def opened(self) -> Dataset:
        """The data set, without its bad faces, which it lists.

        Raises:
            SemalignError: it cannot be read.
        """
        return open_dataset(self.path, self.scheme, keep_going=True, images=self.images)

    def refuse_within(self, out: Path) -> None:
        """Refuse a folder to write into that is the data set's, or holds it.

        Raises:
            SemalignError: it is.
        """
        mine, real = Path(os.path.realpath(self.path)), Path(os.path.realpath(out))
        if real == mine or real in mine.parents:
            raise SemalignError(f"{out}: is or holds what is read; choose another folder with --out.")

    def said(self) -> dict[str, str | None]:
        """For an audit's `about`."""
        return {
            "path": str(self.path.absolute()),
            "scheme": None if self.scheme is None else scheme_text(self.scheme),
            "images": None if self.images is None else str(self.images.absolute()),
        }

    @classmethod
    def of(cls, about: Mapping[str, Any]) -> Source:
        """That of an audit, from what it says of itself.

        Raises:
            SemalignError: the audit does not say.
        """
        said = about.get("source")
        if not isinstance(said, dict) or not said.get("path"):
            raise SemalignError("the audit does not say which data set it is of; make it again with 'semalign audit'.")
        scheme, images = said.get("scheme"), said.get("images")
        return cls(Path(said["path"]), scheme_of_text(scheme) if scheme else None, Path(images) if images else None)


def refuse_other(audit: Audit, dataset: Dataset, folder: Path) -> None:
    """Refuse an audit of other annotations than a data set's.

    Raises:
        SemalignError: other faces, another scheme, or annotations that have changed since.
    """
    damaged = set(audit.about.get("damaged") or ())
    rest = dataset.select(exclude=damaged) if damaged else dataset
    if audit.ids != rest.ids() or audit.scheme.count != dataset.scheme.count:
        what = f"its {len(audit)} faces are not the {len(rest)} of {dataset.root}"
    elif not np.allclose(audit.annotations, rest.points(), rtol=0, atol=1e-9, equal_nan=True):
        changed = ~np.isclose(audit.annotations, rest.points(), rtol=0, atol=1e-9, equal_nan=True).all(axis=(1, 2))
        first = shown(audit.ids[int(changed.argmax())])
        what = f"{int(changed.sum())} of its faces have other annotations by now, the first {first}"
    else:
        return
    raise SemalignError(f"{folder}: is an audit of something else: {what}; make it again with 'semalign audit'.")
