"""A data set cleaned: audited, and written once more in its own format with what was accepted. It is only read.

audit/             the audit, as `semalign audit` makes it, unless another one was given
labels/            the documents under their own names, or the pictures with their .pts files
changes.csv        a row for each point that moved, see `semalign.auditing.accepting.COLUMNS`
provenance.json    what of, who judged, what was accepted, how much moved; written last

Replacing puts new ones in place of the last three, and never touches people's decisions, which are in the audit.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from semalign import __version__
from semalign.auditing.accepting import WAYS, Changes, changes, write_changes
from semalign.auditing.judging import (
    ASKED,
    Judging,
    Source,
    audit_part,
    audit_source,
    audit_there,
    refuse_other,
    source_of,
)
from semalign.auditing.result import ABOUT, LISTED, Audit, read_audit
from semalign.data.converting import rewritable, rewrite_dataset
from semalign.data.opening import own_scheme
from semalign.data.results import CLEANED, DONE, STARTED
from semalign.data.samples import Dataset
from semalign.errors import SemalignError
from semalign.files import (
    LOCK,
    read_json,
    refuse_occupied,
    shown,
    temporary_folder,
    write_error,
    write_json,
    write_text,
)
from semalign.locks import among_others, one_writer
from semalign.parts import Share
from semalign.schemes import SCHEME_FILE, LandmarkScheme, scheme_toml

if TYPE_CHECKING:
    from semalign.progress import Progress

AUDIT, LABELS, CHANGES = "audit", "labels", "changes.csv"
REVIEWED: Final = "reviewed"
BEFORE: Final = "before"  # name of what is replaced while it is


@dataclass(frozen=True, eq=False)
class Cleaned:
    """A data set that was cleaned.

    Attributes:
        out: the folder.
        labels: what to give as the data set: the document, or the folder with all of them.
        audit_folder: of the audit.
        changes: what moved.
        notes: what the data set lacks, and what its format could not hold, in sentences.
        left_out: (face, why) of faces that could not be judged and stay as they were.
        provenance: what `provenance.json` says.
    """

    out: Path
    labels: Path
    audit_folder: Path
    changes: Changes
    notes: tuple[str, ...]
    left_out: tuple[tuple[str, str], ...]
    provenance: dict[str, Any]


def clean(
    path: str | Path,
    out: str | Path | None = None,
    *,
    accept: str = "auto",
    least: float = LISTED,
    unshift: bool = False,
    judging: Judging | None = None,
    audit: str | Path | None = None,
    scheme: LandmarkScheme | None = None,
    images: str | Path | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Cleaned:
    """Audit a data set and write it once more, in its own format, with what was accepted of the proposals.

    The new folder is made all at once but for the audit in it, which is kept when the work is broken off: the same call then
    goes on with it. A finished audit that is there is used again if it is of the same annotations and judges.

    Args:
        path: data set of a format that can be written (`semalign.data.formats.Format`); it is only read.
        out: new folder, by default the data set's name and `-clean`.
        accept: `auto`, `all`, `reviewed` or `none`, see `semalign.auditing.accepting.changes`.
        least: probability from which `auto` takes a proposal.
        unshift: also move all points sideways by the shift of the whole set that the audit tells.
        judging: how annotations are judged, by default by networks that are trained for it.
        audit: folder of a finished audit of this data set, which is then used instead.
        scheme: another landmark scheme than the data set's own.
        images: folder of the pictures that a document names.
        overwrite: replace what an earlier call wrote of this data set; people's decisions on its audit stay.
        progress: told what goes on.

    Raises:
        SemalignError: a format that is only read, an `out` that holds something else or is where the data set is, an audit of
            other annotations, no decisions where they are asked for, or a file that cannot be read or written.
    """
    if accept not in WAYS:
        raise SemalignError(f"{accept!r} is no way to accept proposals; choose from {', '.join(WAYS)}.")
    given = None if audit is None else read_audit(audit)
    if given is not None and images is None:
        images = source_of(given).images
    source = Source(Path(path), scheme, None if images is None else Path(images))
    known, place = rewritable(source.path, scheme, images=images)
    dataset = source.open(pictures=audit is None)
    out = Path(f"{dataset.name}-clean") if out is None else Path(out)
    _refuse_inside(out, source.path, place)
    folder, judges = out / AUDIT if audit is None else Path(audit), judging or Judging()
    if given is not None:
        refuse_other(given, folder, dataset)
    with one_writer(out), _claimed(out, source, overwrite):
        found = given if given is not None else _audited(source, dataset, folder, judges, accept, overwrite, progress)
        moved = changes(found, accept, least, folder, unshift)
        unjudged = set(dataset.ids()) - set(found.ids)
        left_out = {str(one["image"]): str(one["why"]) for one in found.about.get("left_out", ())}
        left_out |= {shown(name): "it is not in the audit" for name in sorted(unjudged) if shown(name) not in left_out}
        head = {
            "made_by": CLEANED,
            "semalign": __version__,
            "at": datetime.now(UTC).isoformat(timespec="seconds"),
            "data": {
                "path": shown(path),
                "absolute": shown(os.path.abspath(path)),
                "name": dataset.name,
                "format": known.title,
                "scheme": dataset.scheme.name,
            },
            "audit": AUDIT if audit is None else shown(folder.absolute()),
            "judges": found.about.get("judges"),
            "settings": {"accept": accept, "least": least, "unshift": unshift, "judging": found.about.get(ASKED)},
            "left_out": [{"image": name, "why": why} for name, why in left_out.items()],
        }
        with nullcontext() if progress is None else progress.stage("writing the labels", 1):
            moved, labels, notes = _write(source, out, moved, head, known.document, own_scheme(place))
    return Cleaned(out, labels, folder, moved, (*dataset.notes, *notes), tuple(left_out.items()), head)


def clean_part(
    path: str | Path,
    out: str | Path | None,
    share: Share,
    *,
    judging: Judging,
    scheme: LandmarkScheme | None = None,
    images: str | Path | None = None,
    progress: Progress | None = None,
) -> int:
    """The share of one process in the audit that `clean` makes, see `semalign.auditing.judging.audit_part`.

    The other arguments are those of `clean`, and must be the same for all; `clean` puts the shares together.

    Returns:
        How many parts are still missing, of all shares.

    Raises:
        SemalignError: as `clean` and `audit_part`.
    """
    source = Source(Path(path), scheme, None if images is None else Path(images))
    _, place = rewritable(source.path, scheme, images=images)
    dataset = source.open()
    out = Path(f"{dataset.name}-clean") if out is None else Path(out)
    _refuse_inside(out, source.path, place)
    with among_others(out):
        _claim(out, source, overwrite=False)
        return audit_part(source, dataset, out / AUDIT, judging, share, progress)


def export_reviewed(folder: str | Path) -> Cleaned:
    """Write the data set of an audit once more as people decided, into a folder beside the audit; what an earlier export wrote
    there is replaced.

    The folder is called as the audit's with `-reviewed` in place of `-audit`; of one that is called audit, `reviewed`.

    Raises:
        SemalignError: as `clean`.
    """
    folder = Path(folder)
    source = source_of(read_audit(folder))
    return clean(
        source.path,
        beside(folder),
        accept=REVIEWED,
        audit=folder,
        scheme=source.scheme,
        images=source.images,
        overwrite=True,
    )


def beside(folder: Path) -> Path:
    """Where `export_reviewed` writes."""
    folder = Path(os.path.abspath(folder))
    name = folder.name.removesuffix(AUDIT).removesuffix("-")
    return folder.parent / (f"{name}-{REVIEWED}" if name else REVIEWED)


def audit_of(path: Path) -> Path | None:
    """The folder of the audit that a folder is, or that belongs to a cleaned data set; None where it is neither."""
    if (path / ABOUT).is_file():
        return path
    said = _said(path / DONE)
    return path / str(said.get("audit", AUDIT)) if said is not None else None


def _audited(
    source: Source,
    dataset: Dataset,
    folder: Path,
    judging: Judging,
    accept: str,
    overwrite: bool,
    progress: Progress | None,
) -> Audit:
    """The audit that is there already, or else a new one."""
    found = None
    if not overwrite or accept == REVIEWED:
        found = audit_there(folder, dataset)
    elif (folder / ABOUT).is_file():
        found = _same(folder, dataset, judging)
    if accept == REVIEWED and found is None:
        raise SemalignError(f"{folder}: holds no finished audit on which people could have decided; give audit=FOLDER.")
    if found is not None and accept != REVIEWED and found.about.get(ASKED) != judging.asked():
        raise SemalignError(
            f"{folder}: is an audit by other judges; give overwrite=True to judge again, or audit=FOLDER to use it as it is."
        )
    if found is None:
        return audit_source(source, dataset, folder, judging, overwrite=overwrite, progress=progress)
    if progress is not None:
        progress.say(f"using the audit in {folder}")
    return found


def _same(folder: Path, dataset: Dataset, judging: Judging) -> Audit | None:
    """The audit in a folder if a new one would be the same."""
    try:
        found = audit_there(folder, dataset)
    except SemalignError:
        return None
    same = (
        found is not None and found.about.get(ASKED) == judging.asked() and found.about.get("semalign") == __version__
    )
    return found if same else None


def _refuse_inside(out: Path, given: Path, place: Path) -> None:
    """Refuse to write where the data set is.

    Raises:
        SemalignError: `out` is the data set or lies in its folder.
    """
    real = Path(os.path.realpath(out))
    for data in (given, place):
        own = Path(os.path.realpath(data))
        if own in (real, *real.parents):
            raise SemalignError(
                f"{out}: is where the data set is, which is only read; choose one outside {data} with out=FOLDER."
            )


def _said(marker: Path) -> dict[str, Any] | None:
    """What a cleaned data set says of itself; None if this is none."""
    if not marker.is_file():
        return None
    said = read_json(marker, "repair or delete it")
    return said if isinstance(said, dict) and said.get("made_by") == CLEANED else None


@contextmanager
def _claimed(out: Path, source: Source, overwrite: bool) -> Iterator[None]:
    """A block that makes a cleaned data set; a folder that is new or of the same data set is marked as unfinished before it.

    If the block fails before anything was made, nothing is left behind.

    Raises:
        SemalignError: the folder holds something else, or is finished and not to be replaced.
    """
    _claim(out, source, overwrite)
    try:
        yield
    finally:
        if (out / DONE).is_file() or {entry.name for entry in out.iterdir()} <= {STARTED, LOCK}:
            (out / STARTED).unlink()


def _claim(out: Path, source: Source, overwrite: bool) -> None:
    """Mark a folder as an unfinished one of this data set.

    Raises:
        SemalignError: as `_claimed`.
    """
    done, started = _said(out / DONE), _said(out / STARTED)
    path = shown(os.path.abspath(source.path))
    if done is None and started is None:
        refuse_occupied(out, "cleaned data set")
    for said in (done, started):
        if said is not None and said["data"]["absolute"] != path:
            raise SemalignError(
                f"{out}: is for the data set {said['data']['absolute']}; choose another one with out=FOLDER."
            )
    if done is not None and not overwrite:
        raise SemalignError(
            f"{out}: holds a cleaned data set already; give overwrite=True to replace it, or another out=FOLDER."
        )
    write_json(out / STARTED, {"made_by": CLEANED, "data": {"absolute": path}})


def _write(
    source: Source, out: Path, moved: Changes, head: dict[str, Any], document: bool, own: LandmarkScheme | None
) -> tuple[Changes, Path, tuple[str, ...]]:
    """Write labels, changes and provenance: all of it before any is put in its place, the provenance last.

    Returns:
        What moved as it is written, where it can be read, and what the format could not hold.
    """
    try:
        place = temporary_folder(out, LABELS)
        try:
            written = rewrite_dataset(source.path, moved.by_face(), place / LABELS, source.scheme, images=source.images)
            if own is not None:
                write_text(place / LABELS / SCHEME_FILE, scheme_toml(own))
            files = [file.relative_to(place / LABELS) for file in written.files]
            alone = document and len(files) == 1 and len(files[0].parts) == 1
            inside = Path(LABELS) / files[0] if alone else Path(LABELS)
            moved = _read_back(moved, Source(place / inside, source.scheme, source.images).open(pictures=False))
            write_changes(place / CHANGES, moved)
            head |= {"moved": moved.summary()}
            head |= {"labels": shown(inside), "files": len(files)}
            head |= {"notes": list(written.notes)}
            write_json(place / DONE, head)
            (out / DONE).unlink(missing_ok=True)
            if (out / LABELS).exists():
                os.replace(out / LABELS, place / BEFORE)
            for name in (LABELS, CHANGES, DONE):
                os.replace(place / name, out / name)
        finally:
            shutil.rmtree(place, ignore_errors=True)
    except OSError as error:
        raise write_error(out, error) from error
    return moved, out / inside, written.notes


def _read_back(moved: Changes, written: Dataset) -> Changes:
    """What moved as a data set that was written has it, which may hold fewer digits.

    Raises:
        SemalignError: something else has moved, or faces are lost.
    """
    rows = {name: row for row, name in enumerate(written.ids())}
    known = np.array([row for row, name in enumerate(moved.audit.ids) if name in rows], np.int64)
    if len(known) < len(moved.audit) and not written.skipped:
        raise SemalignError(f"{written.root}: would not hold all faces; nothing was written.")
    points = moved.points.copy()
    points[known] = written.points()[[rows[moved.audit.ids[row]] for row in known]]
    other = (points != moved.points) & ~(np.isnan(points) & np.isnan(moved.points))
    other[moved.face, moved.landmark] = False
    if other.any():
        name = moved.audit.ids[int(np.flatnonzero(other.any(axis=(1, 2)))[0])]
        raise SemalignError(
            f"{name}: other points than those that move would be written otherwise; nothing was written."
        )
    return replace(moved, points=points).that_move()
