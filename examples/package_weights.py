"""Choose a model's class threshold on validation clips and store it in half precision.

    python examples/package_weights.py runs/lite/best.safetensors --data PARTS -o lite.safetensors

The threshold is the one with the highest sum of binary J (tpavi) and mIoU of the classes present
(avss) on 100 composed clips, or on the split val of a data set.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import torch

from avsegcli.checkpoint import load_checkpoint, save_checkpoint
from avsegcli.config import DataConfig
from avsegcli.evaluation.evaluator import evaluate
from avsegcli.predictor import Predictor
from avsegcli.training.data import open_training

THRESHOLDS = (0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("weights", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--name", default="lite")
    parser.add_argument("--thresholds", type=float, nargs="+", default=THRESHOLDS)
    arguments = parser.parse_args()

    loaded = load_checkpoint(arguments.weights)
    _, clips = open_training(arguments.data, DataConfig(), seed=0)
    results = {}
    for threshold in arguments.thresholds:
        config = replace(loaded.config, class_threshold=threshold)
        predictor = Predictor.from_model(loaded._replace(config=config), torch.device("cpu"))
        scores = evaluate(predictor, clips)
        results[threshold] = scores.tpavi.j + scores.avss.miou_present
        print(
            f"class threshold {threshold:.2f}: J {scores.tpavi.j:.3f},"
            f" mIoU of present classes {scores.avss.miou_present:.3f}",
            flush=True,
        )
    best = max(results, key=results.__getitem__)
    save_checkpoint(
        arguments.output,
        load_checkpoint(arguments.weights).model,
        replace(loaded.config, class_threshold=best),
        loaded.classes,
        name=arguments.name,
        half=True,
    )
    print(f"{arguments.output}: class threshold {best:.2f}")


if __name__ == "__main__":
    main()
