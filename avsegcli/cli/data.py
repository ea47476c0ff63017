"""`avseg data`: look at data sets, put downloads in place, fake and encode some, make parts."""

import json
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from avsegcli.cli.options import DataRoot, Force, Format, FormatChoice, clip_progress
from avsegcli.errors import ConfigError

if TYPE_CHECKING:
    from rich.table import Table

    from avsegcli.datasets.check import SplitCheck

MOST_PROBLEMS = 5  # of a split that are told

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Check, count, import or fake AVSBench, or make parts of COCO and VGGSound.\n\n"
    "Example: avseg data check AVSBench",
)


class SubsetChoice(StrEnum):
    """The subsets of AVSBench."""

    S4 = "s4"
    MS3 = "ms3"
    AVSS = "avss"


@app.command()
def check(
    root: Annotated[Path, typer.Argument(help="AVSBench's folder, or that of one subset.")],
    dataset: Annotated[
        SubsetChoice | None, typer.Option(help="Which subset.", show_default="all that are there")
    ] = None,
) -> None:
    """Check every file of AVSBench; list those missing or damaged.

    The exit code is 1 if a clip cannot be used.

    Example: avseg data check AVSBench
    """
    from avsegcli.cli.tables import print_table
    from avsegcli.datasets.check import check_avsbench

    with clip_progress() as update:
        checks = check_avsbench(root, dataset.value if dataset else None, on_progress=update)
    print_table(_check_table(checks))
    for split in checks:
        for problem in split.problems[:MOST_PROBLEMS]:
            typer.echo(f"{split.subset} {split.split}: {problem}")
        if len(split.problems) > MOST_PROBLEMS:
            more = len(split.problems) - MOST_PROBLEMS
            typer.echo(f"{split.subset} {split.split}: and {more} more")
    if any(split.usable < split.clips for split in checks):
        raise typer.Exit(1)


@app.command("import")
def import_files(
    source: Annotated[Path, typer.Argument(help="What was downloaded: a zip file or a folder.")],
    data_root: DataRoot = None,
) -> None:
    """Put a download of AVSBench in place.

    Files that are there already are skipped: what was interrupted goes on.

    Example: avseg data import Single-source.zip --data-root AVSBench
    """
    from avsegcli.datasets.import_archive import import_avsbench
    from avsegcli.datasets.registry import name_root

    root = name_root(data_root)
    with clip_progress() as update:
        done = import_avsbench(source, root, on_progress=update)
    typer.echo(f"{root}: {done.copied} files copied, {done.skipped} were there")


@app.command()
def vpo(
    output: Annotated[
        Path, typer.Option("-o", "--output", help="The parts folder; must not exist yet.")
    ],
    coco: Annotated[Path, typer.Option(help="COCO's instances, as instances_val2017.json.")],
    images: Annotated[Path, typer.Option(help="The folder of COCO's photos.")],
    vggsound: Annotated[
        Path, typer.Option(help='Folders of recordings, called by class as "dog barking".')
    ],
    pair: Annotated[
        list[str] | None,
        typer.Option(
            help="FOLDER=CATEGORY: a folder of sounds whose name does not tell its category of "
            "COCO; may be given more than once."
        ),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Replace such parts at the output.")
    ] = False,
) -> None:
    """Make a parts folder of COCO's objects and VGGSound's sounds.

    'avseg compose' makes clips of it, as the VPO sets are: single, multi or semantic.

    Example: avseg data vpo --coco ann.json --images val2017 --vggsound sounds -o parts
    """
    from avsegcli.cli.tables import count_noun
    from avsegcli.synthesis.vpo import write_vpo_parts

    pairs = {}
    for words in pair or []:
        folder, equals, category = words.rpartition("=")
        if not equals:
            raise ConfigError(f"'{words}' is no pair", 'write it as --pair "FOLDER=CATEGORY"')
        pairs[folder] = category
    with clip_progress() as update:
        parts = write_vpo_parts(
            coco, images, vggsound, output, pairs=pairs, force=force, on_progress=update
        )
    typer.echo(
        f"{output}: {count_noun(len(parts.classes), 'class', 'classes')}, {parts.objects} cutouts, "
        f"{parts.backgrounds} backgrounds, {parts.sounds} sounds"
    )


@app.command()
def fake(
    root: Annotated[Path, typer.Argument(help="The folder that stands for AVSBench's.")],
    dataset: Annotated[SubsetChoice, typer.Option(help="Which subset.")],
    clips: Annotated[int, typer.Option(min=1, help="Number of clips of each split.")] = 8,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same clips.")] = 0,
    force: Annotated[
        bool, typer.Option("--force", help="Replace an older subset at the same place.")
    ] = False,
) -> None:
    """Write a small set of drawn shapes that beep, in the very layout of AVSBench.

    With it every command can be tried without AVSBench. Nothing that is learned of it is of use.

    Example: avseg data fake AVSBench --dataset avss --clips 8
    """
    from avsegcli.datasets.avsbench_files import LAYOUTS
    from avsegcli.synthesis.fake_avsbench import write_fake

    count = write_fake(root, dataset.value, clips=clips, seed=seed, force=force)
    typer.echo(f"{root / LAYOUTS[dataset.value].folder}: {count} clips")


@app.command()
def encode(
    parts: Annotated[Path, typer.Argument(help="A parts folder.")],
    output: Annotated[
        Path, typer.Option("-o", "--output", help="The pool; clips that are there are kept.")
    ],
    clips: Annotated[int, typer.Option(min=1, help="Number of clips.")],
    preset: Annotated[str, typer.Option(help="lite, r50, swin-t or pvt-b5.")] = "lite",
    config: Annotated[Path | None, typer.Option(help="Settings of your own: a TOML file.")] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", help="One setting, like data.num_frames=5; repeatable."),
    ] = None,
    backbone_weights: Annotated[
        Path | None,
        typer.Option(
            help="Weights of the backbone: a file, or a name of 'avseg download'.",
            show_default="those of the packaged model",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same clips.")] = 0,
) -> None:
    """Compose clips and keep them with the features of a frozen backbone, for 'avseg train --pool'.

    A training step then costs only what comes after the backbone. What was interrupted goes on.

    Example: avseg data encode PARTS -o pool --clips 8000
    """
    from avsegcli.config import load_config
    from avsegcli.training.run import encode_pool

    encode_pool(
        load_config(preset, config, settings),
        parts,
        output,
        clips,
        backbone_weights=backbone_weights,
        seed=seed,
        report=lambda line: typer.echo(line, err=True),
    )
    typer.echo(f"{output}: {clips} clips")


@app.command()
def stats(
    root: Annotated[
        Path, typer.Argument(help="AVSBench's folder, that of one subset, or videos with masks.")
    ],
    dataset: Annotated[
        SubsetChoice | None, typer.Option(help="Which subset.", show_default="all that are there")
    ] = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Also write all numbers to this file.")
    ] = None,
    plot: Annotated[
        Path | None, typer.Option(help="Also draw the frames of each class: .png.")
    ] = None,
    form: Format = FormatChoice.TEXT,
    force: Force = False,
) -> None:
    """Count clips, frames, pixels and seconds by class and split.

    Example: avseg data stats AVSBench --dataset avss --json stats.json
    """
    from avsegcli.cli.tables import print_tables
    from avsegcli.datasets.avsbench_files import Subset
    from avsegcli.datasets.check import open_splits
    from avsegcli.datasets.statistics import class_table, count_split, split_table
    from avsegcli.datasets.video_folder import VideoFolder
    from avsegcli.files.atomic import check_can_create, write_atomically

    for path in (json_file, plot):
        if path is not None:
            check_can_create(path, force=force)
    if plot is not None:
        if plot.suffix.lower() != ".png":
            raise ConfigError(f"{plot} is not a PNG file", "A plot ends in .png.")
        from avsegcli.analysis.plots import require_matplotlib

        require_matplotlib()
    with clip_progress() as update:
        if (root / "masks").is_dir():
            counted = [count_split(VideoFolder(root), "videos", "all", update)]
        else:
            subset: Subset | None = dataset.value if dataset else None
            counted = [
                count_split(clips, name, split, update)
                for name, split, clips in open_splits(root, subset)
            ]
    if json_file is not None:
        values = [split.as_dict() for split in counted]
        write_atomically(json_file, json.dumps(values, indent=1) + "\n")
    if plot is not None:
        from avsegcli.analysis.plots import draw_class_frames, png_bytes

        write_atomically(plot, png_bytes(draw_class_frames(counted)))
    print_tables([split_table(counted), class_table(counted)], form)


def _check_table(checks: "list[SplitCheck]") -> "Table":
    from rich import box
    from rich.table import Table

    from avsegcli.datasets.avsbench_files import PUBLISHED

    table = Table(box=box.SIMPLE_HEAD, padding=0)  # nine columns in 80 characters
    table.add_column("split", no_wrap=True)
    titles = "clips", "usable", "unknown\ncolours", "frames", "sizes"
    for title in (*titles, "no\nsound", "short\nsound", "log-mel"):
        table.add_column(title, justify="right", no_wrap=True)
    for split in checks:
        width, height = split.sizes[0] if split.sizes else (0, 0)
        more = f"\nand {len(split.sizes) - 1} more" if len(split.sizes) > 1 else ""
        table.add_row(
            f"{split.subset} {split.split}",
            str(split.clips) + ("" if split.published is None else f" of {split.published}"),
            *map(str, (split.usable, split.unknown_colours, split.frames)),
            f"{width} x {height}{more}" if split.sizes else "-",
            *map(str, (split.silent, split.short, split.log_mel)),
        )
    for subset in dict.fromkeys(split.subset for split in checks):
        published = PUBLISHED[subset].get("")
        if published is not None:
            clips = sum(split.clips for split in checks if split.subset == subset)
            table.caption = f"{subset}: {clips} of {published} published clips"
    return table
