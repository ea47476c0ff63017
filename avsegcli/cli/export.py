"""`avseg export`: a checkpoint to an ONNX graph."""

from pathlib import Path
from typing import Annotated

import typer


def export(
    output: Annotated[
        Path, typer.Option("-o", "--output", help="The graph: .onnx.", show_default=False)
    ],
    weights: Annotated[
        Path | None, typer.Argument(help="A checkpoint.", show_default="the packaged one")
    ] = None,
    external: Annotated[
        bool,
        typer.Option(
            "--external",
            help="Leave the weights in the checkpoint, beside which the graph must lie.",
        ),
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Replace the output if it exists.")
    ] = False,
) -> None:
    """Write the ONNX graph of a checkpoint, which runs without PyTorch.

    Example: avseg export runs/lite/best.safetensors -o lite.onnx
    """
    from avsegcli.inference.export_onnx import export_graph

    export_graph(weights, output, external=external, force=force)
    typer.echo(f"{output}: {output.stat().st_size / 1e6:.1f} MB", err=True)
