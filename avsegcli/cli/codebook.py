"""`avseg codebook`: the classes and sounds of each codeword."""

from avsegcli.cli.options import (
    DataRoot,
    Dataset,
    Device,
    Force,
    OutputFolder,
    Split,
    Weights,
    check_output,
    clip_progress,
    load_model,
    open_clips,
)


def codebook(
    dataset: Dataset = None,
    data_root: DataRoot = None,
    split: Split = "test",
    weights: Weights = None,
    device: Device = "auto",
    output: OutputFolder = None,
    force: Force = False,
) -> None:
    """Show the classes that use each codeword, and its nearest sounds.

    With -o also codebook.png, .svg (a heat map) and .csv (every codeword).

    Example: avseg codebook -o figures
    """
    from avsegcli.analysis.codebook import codeword_csv, codeword_table, study_codewords
    from avsegcli.analysis.plots import draw_codewords, save_figure
    from avsegcli.cli.tables import print_table
    from avsegcli.files.atomic import write_atomically

    check_output(output, ["codebook.png", "codebook.svg", "codebook.csv"], force=force)
    clips = open_clips(dataset, split, data_root)
    predictor = load_model(weights, device)
    with clip_progress() as progress:
        codewords = study_codewords(predictor, clips, progress=progress)
    if output is not None:
        save_figure(draw_codewords(codewords), output, "codebook")
        write_atomically(output / "codebook.csv", codeword_csv(codewords))
    print_table(codeword_table(codewords))
