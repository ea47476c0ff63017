"""Settings that have no effect on the data that are trained on."""

from collections.abc import Sequence

from avsegcli.config import PRESETS, Config, load_config
from avsegcli.datasets.clip import ClipDataset

OF_COMPOSED_CLIPS = ("num_frames", "clips_per_epoch", "task", "scene", "num_sounding")
OF_HEARD_CLASSES = ("audio", "tokens")


def ineffective_settings(config: Config, clips: ClipDataset) -> list[str]:
    """Say which settings have no effect on stored clips, one sentence each.

    Those that are as a preset has them were not asked for, and are not spoken of.

    Args:
        config: the settings.
        clips: to train on; the first speaks for all.

    Raises:
        DataError: if that one has to be read and cannot be.
    """
    usual = [Config(), *map(load_config, PRESETS)]

    def chosen(table: str, names: Sequence[str]) -> list[str]:
        def value(config: Config, name: str) -> object:
            return getattr(getattr(config, table), name)

        return [
            f"{table}.{name}"
            for name in names
            if value(config, name) not in [value(other, name) for other in usual]
        ]

    composing = chosen("data", OF_COMPOSED_CLIPS)
    hearing, seeing = chosen("loss", OF_HEARD_CLASSES), chosen("loss", ["visible"])
    idle = {"on clips that are on disk": composing}
    if hearing or seeing:
        first = clips[0]
        if first.heard is None:
            idle["where clips do not say what is heard"] = hearing
        if first.visible is None:
            idle["where clips do not say what is visible"] = seeing
    return [
        f"{', '.join(names)} {'has' if len(names) == 1 else 'have'} no effect {where}"
        for where, names in idle.items()
        if names
    ]
