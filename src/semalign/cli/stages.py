"""The commands that train, search and evaluate: `run`, and its stages on their own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from semalign.cli.options import (
    AsJson,
    Data,
    Holdout,
    JsonFile,
    KeepGoing,
    Model,
    OtherRecipe,
    Out,
    Overwrite,
    RecipeData,
    RecipeName,
    Resume,
    Seed,
    Set,
    Shard,
    argument,
    flag,
    option,
    overrides,
)
from semalign.cli.output import say
from semalign.cli.sharing import say_of_shard

if TYPE_CHECKING:
    from semalign.pipeline import Recipe

Split = Literal["test", "train", "all"]


def run(
    recipe: RecipeName,
    out: Out,
    data: RecipeData = None,
    resume: Resume = False,
    seed: Seed = None,
    holdout: Holdout = None,
    keep_going: KeepGoing = False,
    settings: Set = None,
    as_json: AsJson = False,
) -> None:
    """The whole job: train, search labels and train on them in turn, evaluate, report.

    DIR then holds report.html, summary.json, the models, every version of the labels and the resolved recipe.

    Examples:
        semalign run demo --out runs/demo
        semalign run 300w-compact --data ~/300w --out runs/300w
        semalign run 300w-compact --data ~/300w --out runs/300w --resume
    """
    from semalign import pipeline
    from semalign.cli import tables
    from semalign.cli.output import print_json
    from semalign.cli.progress import RichProgress

    resolved = pipeline.load_recipe(recipe, overrides(settings, seed, holdout))
    summary = pipeline.run(resolved, data, out, resume=resume, keep_going=keep_going, progress=RichProgress())
    if as_json:
        print_json(summary)
        return
    tables.print_summary(summary)
    say(f"report: {out / 'report.html'}")


def train(
    recipe: RecipeName,
    out: Out,
    data: RecipeData = None,
    resume: Resume = False,
    trained: Annotated[
        str | None,
        option("--from", "MODEL", "Start from the weights of this model file or shipped model instead of random ones."),
    ] = None,
    teachers: Annotated[
        list[str] | None,
        option(
            "--teacher",
            "MODEL",
            "Learn from this model's heatmaps, too (distillation.share of each target); may be given several times.",
        ),
    ] = None,
    seed: Seed = None,
    holdout: Holdout = None,
    keep_going: KeepGoing = False,
    settings: Set = None,
) -> None:
    """Train a detector on the annotations as they are.

    Examples:
        semalign train 300w-compact --data ~/300w --out start --set start.epochs=20
        semalign train 300w-compact --data ~/own --out own --from default --set start.epochs=10
        semalign train 300w-compact --data ~/300w --out taught --teacher start/model.safetensors
    """
    from semalign import pipeline
    from semalign.cli.progress import RichProgress

    resolved = pipeline.load_recipe(recipe, overrides(settings, seed, holdout))
    model = pipeline.train(
        resolved,
        data,
        out,
        trained=trained,
        teachers=tuple(teachers or ()),
        resume=resume,
        keep_going=keep_going,
        progress=RichProgress(),
    )
    say(f"model: {model}")


def align(
    model: Model,
    data: Data,
    out: Out,
    recipe: OtherRecipe = None,
    no_update: Annotated[
        bool, flag("--no-update", "Search around the annotations every time, not around the labels found last.")
    ] = False,
    resume: Resume = False,
    seed: Seed = None,
    keep_going: KeepGoing = False,
    settings: Set = None,
) -> None:
    """Search labels and train on them in turn, from a trained model on.

    DIR then holds the labels of every iteration (labels/0000.parquet are the annotations) and the model.

    Example:
        semalign align start/model.safetensors --data ~/300w --out aligned
    """
    from semalign import pipeline
    from semalign.cli.progress import RichProgress

    chosen = _recipe(recipe, overrides(settings, seed), model)
    result = pipeline.align(
        model,
        data,
        out,
        recipe=chosen,
        update=not no_update,
        resume=resume,
        keep_going=keep_going,
        progress=RichProgress(),
    )
    say(f"model: {result}")


def search(
    model: Model,
    data: Data,
    out: Out,
    recipe: OtherRecipe = None,
    beside: Annotated[
        str,
        option(
            "--beside",
            "MODEL",
            "A model of another kind that is heard, too; 'auto': with `default` 300w-detector, with others none; or 'none'.",
            default=True,
        ),
    ] = "auto",
    shard: Shard = None,
    keep_going: KeepGoing = False,
    settings: Set = None,
    as_json: AsJson = False,
) -> None:
    """Search labels once with a given model, without training.

    The labels are appended to those in DIR as a new version; `semalign labels export` writes them as .pts files. With `default`
    each label lies between the annotation and what two detectors and the face mesh say, by how far these err on these faces.
    With --shard nothing but a share of the looking is done, which the command without it then need not do.

    Examples:
        semalign search default --data ~/faces --out labels
        semalign search start/model.safetensors --data ~/300w --out labels
        semalign search default --data ~/faces --out labels --shard 1/4
    """
    from semalign import pipeline
    from semalign.cli import tables
    from semalign.cli.progress import RichProgress

    chosen, other = _recipe(recipe, overrides(settings, None), model), None if beside == "none" else beside
    if shard is not None:
        share = pipeline.parse_share(shard)
        missing = pipeline.search_part(
            model, data, out, share, recipe=chosen, beside=other, keep_going=keep_going, progress=RichProgress()
        )
        say_of_shard(share, missing)
        return
    version = pipeline.search(
        model, data, out, recipe=chosen, beside=other, keep_going=keep_going, progress=RichProgress()
    )
    if _is_first():
        tables.print_versions([version], as_json)


def crossfit(
    recipe: RecipeName,
    out: Out,
    data: RecipeData = None,
    folds: Annotated[
        int, option("--folds", "K", "Parts that the faces are dealt into, and trainings.", default=True, min=2)
    ] = 5,
    method: Annotated[
        str, option("--method", "NAME", "Label search, or 'recipe' for the recipe's own.", default=True)
    ] = "calibrated",
    beside: Annotated[
        str | None,
        option(
            "--beside",
            "RECIPE",
            "A network of another kind, trained on the same parts, which judges each face beside the first and the mesh.",
        ),
    ] = None,
    no_mesh: Annotated[
        bool,
        flag(
            "--no-mesh", "Leave out the face mesh: two networks judge each face, and each network leaves out two parts."
        ),
    ] = False,
    resume: Resume = False,
    seed: Seed = None,
    keep_going: KeepGoing = False,
    settings: Set = None,
    as_json: AsJson = False,
) -> None:
    """Search labels with networks that have not seen the faces.

    K networks are trained as the recipe's `start` says, each without one of K parts of the training faces, so that no
    annotation is judged by a network that has learned from it. The face mesh, which has learned from none, is the second
    witness where the landmark scheme has eyes. A label lies between annotation and witnesses by how far each of them errs.
    With --beside, K networks of another kind judge, too, which takes up to twice the time and made no difference to 300W's
    labels. DIR then holds the networks and the labels, with how sure each is (`spread_x`, `spread_y`).

    Examples:
        semalign crossfit 300w-crossfit --data ~/300w --folds 4 --out crossfit
        semalign crossfit 300w-crossfit --beside 300w-crossfit-mesh --data ~/300w --folds 4 --out crossfit
        semalign labels export crossfit/labels cleaned --data ~/300w
    """
    from semalign import pipeline
    from semalign.cli import tables
    from semalign.cli.progress import RichProgress
    from semalign.schemes import load_scheme

    chosen = [] if method == "recipe" else [f"search={{method={method!r}}}"]
    resolved = pipeline.load_recipe(recipe, [*chosen, *overrides(settings, seed)])
    faces = load_scheme(resolved.data.scheme).names_eyes
    resolved = replace(resolved, alternation=replace(resolved.alternation, mesh=faces and not no_mesh))
    version = pipeline.crossfit(
        resolved,
        data,
        out,
        folds=folds,
        beside=None if beside is None else pipeline.load_recipe(beside),
        resume=resume,
        keep_going=keep_going,
        progress=RichProgress(),
    )
    tables.print_versions([version], as_json)


def evaluate(
    model: Model,
    data: Data,
    json_file: JsonFile = None,
    labels: Annotated[
        Path | None,
        option("--labels", "DIR", "Measure against the last version of these labels, not the annotations (or truth)."),
    ] = None,
    split: Annotated[
        Split, option("--split", "SPLIT", "Faces to measure on: test, train or all.", default=True)
    ] = "test",
    against: Annotated[
        str | None,
        option("--against", "MODEL", "Compare with this model face by face: differences with bootstrap intervals."),
    ] = None,
    shard: Shard = None,
    parts: Annotated[
        Path | None, option("--parts", "DIR", "Where shards leave what they found, and where it is put together from.")
    ] = None,
    keep_going: KeepGoing = False,
    overwrite: Overwrite = False,
) -> None:
    """Errors of a model on the test faces, by subset and normalisation.

    Every normalisation has its own name: nme_interpupil divides by the distance of the pupils (means of the eyes'
    points), nme_interocular by that of the outer eye corners, nme_box by √(width · height) of the face box; errors and failure
    rates are in %, and auc_interocular_8 is the area under the cumulative curve up to 8 %.

    Examples:
        semalign evaluate default --data ~/300w --json default.json
        semalign evaluate default --data ~/300w --parts parts --shard 1/4
        semalign evaluate runs/300w/aligned/model.safetensors --data ~/300w --against runs/300w/baseline/model.safetensors
    """
    from semalign import pipeline
    from semalign.cli import tables
    from semalign.cli.output import claim_file, write_or_print_json
    from semalign.cli.progress import RichProgress
    from semalign.errors import SemalignError

    if shard is not None:
        if parts is None:
            raise SemalignError("--shard: name the folder in which the shards meet with --parts.")
        share = pipeline.parse_share(shard)
        missing = pipeline.evaluate_part(
            model, data, parts, share, keep_going=keep_going, split=split, against=against, progress=RichProgress()
        )
        say_of_shard(share, missing)
        return
    if _is_first():
        claim_file(json_file, overwrite)
    result = pipeline.evaluate_model(
        model,
        data,
        keep_going=keep_going,
        labels=labels,
        split=split,
        against=against,
        parts=parts,
        progress=RichProgress(),
    )
    if not _is_first():
        return
    if json_file is not None:
        write_or_print_json(json_file, result)
    if str(json_file) != "-":
        tables.print_evaluation(result)


def report(
    run_folder: Annotated[Path, argument("RUN", "Folder that `semalign run` wrote.")],
) -> None:
    """Write report.html anew from the files of a run.

    Example:
        semalign report runs/demo
    """
    from semalign.locks import one_writer
    from semalign.report import write_report

    if not run_folder.is_dir():  # which write_report says
        write_report(run_folder)
    with one_writer(run_folder):
        page = write_report(run_folder)
    say(f"report: {page}")


def _is_first() -> bool:
    """Whether this is the process of a run under `torchrun` that says what came out."""
    from semalign.training.trainer import make_accelerator

    return make_accelerator().is_main_process


def _recipe(name: str | None, changes: tuple[str, ...], model: str) -> Recipe | None:
    """The recipe asked for, or the model's own with changes; None = the settings stored in the model as they are."""
    from semalign.pipeline import load_recipe
    from semalign.pipeline.fitting import own_recipe

    if name is not None:
        return load_recipe(name, changes)
    return own_recipe(model, changes) if changes else None


COMMANDS: dict[str, Callable[..., None]] = {
    "run": run,
    "train": train,
    "align": align,
    "search": search,
    "crossfit": crossfit,
    "evaluate": evaluate,
    "report": report,
}
