"""Run a trained network: checkpoints, backends, pre- and postprocessing."""
