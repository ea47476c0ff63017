"""`avseg segment`: segment the sounding objects of videos and write outputs."""

import os
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from avsegcli.cli.options import Device, Engine, EngineChoice
from avsegcli.device import has_memory, memory_limit
from avsegcli.errors import ConfigError, OutOfMemoryError

if TYPE_CHECKING:
    from avsegcli.segment.batch import Batch
    from avsegcli.segment.segmenter import Segmenter


LEAST_MEMORY = 1_200_000_000  # bytes; libraries that had less end the process


class StyleChoice(StrEnum):
    """Style of painted videos."""

    OVERLAY = "overlay"
    OUTLINE = "outline"
    SPOTLIGHT = "spotlight"
    CUTOUT = "cutout"
    SIDE_BY_SIDE = "side-by-side"
    BLUR_OTHERS = "blur-others"


def segment(
    inputs: Annotated[
        list[str],
        typer.Argument(
            help="Videos, folders of videos, patterns, pictures (with --audio), or - for a list "
            "on standard input.",
            show_default=False,
        ),
    ],
    output: Annotated[
        str | None,
        typer.Option(
            "-o",
            "--output",
            help="The painted video: .mp4, .mov, .mkv, .webm or .gif; of several inputs a folder. "
            "{name} stands for the input.",
            show_default=False,
        ),
    ] = None,
    masks: Annotated[
        str | None,
        typer.Option(help="Folder for a palette PNG of each analysed frame.", show_default=False),
    ] = None,
    every_frame: Annotated[
        bool, typer.Option("--every-frame", help="Masks of every frame of the video.")
    ] = False,
    json: Annotated[
        str | None,
        typer.Option(
            help="Objects of each analysed frame with COCO run lengths, and events.",
            show_default=False,
        ),
    ] = None,
    alpha_video: Annotated[
        str | None,
        typer.Option(
            help="What sounds, cut out: .mov (ProRes 4444) or .webm (VP9).", show_default=False
        ),
    ] = None,
    timeline: Annotated[
        list[str] | None,
        typer.Option(
            help="Which class sounds when: .png, .csv, .srt or .vtt; may be given several times.",
            show_default=False,
        ),
    ] = None,
    report: Annotated[
        str | None, typer.Option(help="One self-contained .html page.", show_default=False)
    ] = None,
    audio: Annotated[
        Path | None,
        typer.Option(help="Take the sound of this file instead.", show_default=False),
    ] = None,
    audio_stream: Annotated[
        int | None,
        typer.Option(min=1, help="Number of the sound stream.", show_default="the default one"),
    ] = None,
    start: Annotated[
        str | None,
        typer.Option(
            help="Begin there: 1:30, 90 or 1500ms, as ffmpeg takes times; outputs count from it.",
            show_default="the start of the video",
        ),
    ] = None,
    end: Annotated[
        str | None, typer.Option(help="End there.", show_default="the end of the video")
    ] = None,
    deinterlace: Annotated[
        bool,
        typer.Option(
            "--deinterlace/--no-deinterlace", help="Make whole pictures of interlaced video."
        ),
    ] = True,
    fps: Annotated[
        float, typer.Option(help="Analysed frames a second; between them masks follow what moves.")
    ] = 4.0,
    threshold: Annotated[
        float | None,
        typer.Option(
            help="Mask probability above which a pixel counts, between 0 and 1.",
            show_default="that of the model, 0.5",
        ),
    ] = None,
    style: Annotated[
        StyleChoice, typer.Option(help="How the video is painted.")
    ] = StyleChoice.OVERLAY,
    alpha: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="Opacity of the masks; 0: outlines only.")
    ] = 0.5,
    palette: Annotated[
        str | None,
        typer.Option(
            help="Colours of classes, such as 'drum=#ff6348,guitar=#2ec4ff', or of all in their "
            "order, '#ff6348,#2ec4ff'; or a file of them.",
            show_default=False,
        ),
    ] = None,
    legend: Annotated[
        bool, typer.Option("--legend/--no-legend", help="List the sounding classes in a corner.")
    ] = True,
    labels: Annotated[
        bool, typer.Option("--labels/--no-labels", help="Write the class beside each mask.")
    ] = True,
    codec: Annotated[
        str | None,
        typer.Option(help="FFmpeg's name of the encoder.", show_default="libx264, or libvpx-vp9"),
    ] = None,
    crf: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=63,
            help="Quality of the encoder, lower is better.",
            show_default="20 of libx264, 32 of libvpx-vp9, else the encoder's",
        ),
    ] = None,
    preset: Annotated[
        str | None,
        typer.Option(
            help="Preset of the encoder.", show_default="veryfast of libx264, else the encoder's"
        ),
    ] = None,
    device: Device = "auto",
    engine: Engine = EngineChoice.AUTO,
    weights: Annotated[
        Path | None,
        typer.Option(help="A checkpoint, or a graph.", show_default="the packaged one"),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", "--force", help="Replace outputs that exist.")
    ] = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="Skip inputs whose outputs are complete.")
    ] = False,
    jobs: Annotated[int, typer.Option(min=1, help="Videos worked on at a time.")] = 1,
    shard: Annotated[
        str | None,
        typer.Option(
            metavar="I/N",
            help="Every Nth input only, from the Ith on.",
            show_default="the rank under torchrun",
        ),
    ] = None,
    json_summary: Annotated[
        Path | None,
        typer.Option(help="How each input went, as JSON; replaced.", show_default=False),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="List inputs and outputs only.")
    ] = False,
    quiet: Annotated[
        bool, typer.Option("-q", "--quiet", help="Print nothing but warnings and errors.")
    ] = False,
) -> None:
    """Find the sounding objects of videos, paint them, and say which class sounds when.

    Example: avseg segment clip.mp4 -o painted.mp4

    Example: avseg segment videos/ -o painted/ --json painted/ --resume
    """
    _check_memory()
    from avsegcli.segment.batch import parse_shard, plan_batch
    from avsegcli.segment.options import SegmentOptions
    from avsegcli.segment.segmenter import Segmenter

    if resume and overwrite:
        raise ConfigError("--resume and --overwrite exclude each other", "Give one of them.")
    wanted: dict[str, list[str | None]] = {
        "output": [output],
        "masks": [masks],
        "json": [json],
        "alpha_video": [alpha_video],
        "timeline": [*(timeline or [])],
        "report": [report],
    }
    named = {key: [text for text in texts if text] for key, texts in wanted.items()}
    _check_values({**named, "json_summary": [str(json_summary)] if json_summary else []})
    if every_frame and not masks:
        raise ConfigError("--every-frame is of masks, and none are asked for", "Give --masks DIR.")
    options = SegmentOptions(
        fps=fps,
        threshold=threshold,
        audio=audio,
        audio_stream=audio_stream,
        start=start,
        end=end,
        deinterlace=deinterlace,
        style=style.value,
        alpha=alpha,
        palette=palette or (),
        legend=legend,
        labels=labels,
        codec=codec,
        crf=crf,
        preset=preset,
        every_frame=every_frame,
    )
    batch = plan_batch(
        inputs,
        named,
        options,
        shard=parse_shard(shard, os.environ),
        summary=json_summary,
        also_read=[Path(one) for one in (audio, weights, palette) if one is not None],
        resume=resume,
        overwrite=overwrite,
    )
    if dry_run:
        for job in batch.jobs:
            names = ", ".join(str(path) for path in job.outputs.paths())
            typer.echo(f"{job.video} -> {names}{' (complete)' if job.status == 'skipped' else ''}")
        return
    segmenter = Segmenter(weights=weights, device=_device_of_rank(device), engine=engine.value)
    _run(batch, segmenter, workers=jobs, quiet=quiet)


def _check_memory() -> None:
    """Raise if a limit (`ulimit -v`) is too low for anything, before libraries are loaded."""
    if memory_limit() is not None and not has_memory(LEAST_MEMORY):
        raise OutOfMemoryError(memory_limit())


def _check_values(named: dict[str, list[str]]) -> None:
    """Refuse an option as the value of the one before it, whose own was forgotten."""
    for key, texts in named.items():
        for text in texts:
            if text.startswith("-"):
                raise ConfigError(
                    f"--{key.replace('_', '-')} is followed by {text}, and has no value",
                    f"If a file is called so, write ./{text}",
                )


def _run(batch: "Batch", segmenter: "Segmenter", *, workers: int, quiet: bool) -> None:
    from avsegcli.cli import progress as show
    from avsegcli.cli.tables import count_noun, print_table
    from avsegcli.render.colors import class_colours

    batch.check_files(segmenter)
    if batch.is_waiting:
        predictor = segmenter.predictor
        class_colours(batch.options.look.palette, predictor.classes)  # refuses unknown names
        if not quiet:
            classes = len(predictor.classes) - 1
            typer.echo(
                f"avseg: {predictor.model_name} ({count_noun(classes, 'class', 'classes')}) "
                f"on {predictor.device_name}",
                err=True,
            )
    waiting = sum(job.status == "waiting" for job in batch.jobs)
    with show.SpeedBars(shown=not quiet, total=waiting) as bars:
        batch.run(segmenter, workers=workers, progress=bars.update, finished=bars.end)
    for job in batch.jobs:
        for problem in job.problems:
            typer.echo(f"avseg: warning: {problem}", err=True)
        if job.status == "failed":
            typer.echo(f"avseg: {job.error}", err=True)
            if job.hint:
                typer.echo(f"       {job.hint}", err=True)
    if not quiet:
        if batch.several:
            print_table(show.batch_table(batch.jobs))
        elif batch.jobs and batch.jobs[0].summary is not None:
            print_table(show.event_table(batch.jobs[0].summary))
    if any(job.status == "failed" for job in batch.jobs):
        raise typer.Exit(1)


def _device_of_rank(device: str) -> str:
    """Give each process that torchrun starts on a machine a GPU of its own."""
    rank = os.environ.get("LOCAL_RANK")
    if rank is None or device not in ("auto", "cuda"):
        return device
    import torch

    if not torch.cuda.is_available():
        return device
    return f"cuda:{int(rank) % torch.cuda.device_count()}"
