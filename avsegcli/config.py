"""All settings, with defaults and units. Presets (TOML) hold only differences. No torch."""

import difflib
import json
import math
import tomllib
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from avsegcli.errors import ConfigError

PRESETS = ("lite", "r50", "swin-t", "pvt-b5")
DATASETS = ("s4", "ms3", "avss")  # whose names a preset may have tables under, as [avss.optim]
PRECISIONS = ("auto", "fp32", "bf16")
SCHEDULES = ("step", "cosine")
FORMER_NAMES = {  # of settings, by table and name
    ("loss", "heard"): "audio",
    ("model", "agreement"): "score_fusion",
    ("model", "mask_channels"): "mask_dim",
    ("optim", "checkpointing"): "activation_checkpointing",
}
NOT_SETTINGS = ("classes", "log_with", "name", "origin")  # other keys of a run's config.json
CONVENTIONS = ("aligned", "avsbench", "stored")  # how log-mel examples are made of the sound
TASKS = ("single", "multi", "semantic")  # what clips can be composed for


@dataclass(frozen=True)
class ModelConfig:
    """Architecture and inference settings; stored in every checkpoint. Defaults: r50."""

    # lite0+deeplab, efficientnet-lite0, small, resnet50, swin-tiny, pvt-v2-b5
    backbone: str = "resnet50"
    audio_encoder: str = "vggish"  # vggish, yamnet, small
    attention: str = "deformable"  # deformable (C3..C6), plain (C4, C5)
    size: int = 224  # pixels, longest side of the frames that it is asked about
    hidden_dim: int = 256  # D
    num_heads: int = 8
    ffn_dim: int = 2048
    dropout: float = 0.1
    encoder_layers: int = 4
    decomposition_layers: int = 3  # of the global and of the local decoder, Eq. 4 and 6
    decoder_layers: int = 4
    num_tokens: int = 5  # N, semantic tokens and queries
    codebook_size: int = 128  # K
    codebook_ema: bool = False  # codes move by moving average; False: by the gradient of Eq. 9
    codebook_norm: bool = False  # code vectors have mean 0 and variance 1, like the tokens
    codebook_fill: bool = False  # tokens of the first batch are the first codes
    codebook_revival: int = 0  # steps after which an unused code moves to a token; 0: never
    codebook_warmup: tuple[int, ...] = (0, 0)  # steps: none of the tokens quantized, all of them
    pyramid: str = "full"  # full (R2-VOS), light (sums of D-wide levels, then separable)
    pyramid_dim: int = 256  # channels of its levels; light: of those finer than the encoder's
    mask_dim: int = 256  # channels of the mask features
    dynamic_dim: int = 8  # hidden channels of the dynamic convolution, Eq. 7
    decomposition: bool = True  # Table 2: rows 1 (all four off), 3, 4, 5, 6 (all four on)
    quantization: bool = True
    recombination: bool = True
    calibration: bool = True
    # Exponents of decoder, tokens, audio classifier, picture and AudioSet's tags in a query's class
    # score; only clips that say what is heard and what is visible teach the middle three.
    score_fusion: tuple[float, ...] = (1.0, 0.0, 0.0, 0.0, 0.0)
    visible_share: float = 0.0  # of the picture alone in the masks, beside the queries
    class_threshold: float = 0.25  # a query of this class probability is just heard


@dataclass(frozen=True)
class LossConfig:
    """Weights of the loss terms, Eq. 8-10; those of R2-VOS."""

    mask: float = 2.0  # binary cross-entropy
    dice: float = 5.0
    classes: float = 2.0  # focal
    box: float = 5.0  # L1
    giou: float = 2.0
    quantization: float = 0.5  # lambda of Eq. 8
    audio: float = 1.0  # classes heard in each frame, from the audio feature alone
    tokens: float = 0.25  # classes heard, from the semantic tokens alone
    visible: float = 1.0  # classes visible in each cell, from the visual feature alone
    auxiliary: bool = True  # a loss at every decoder layer


@dataclass(frozen=True)
class DataConfig:
    """Training data and batches."""

    size: int = 224  # pixels, longest side of the frames of training
    repeats: tuple[int, ...] = (1, 7)  # times that each part of s4+ms3 is seen in an epoch
    num_frames: int = 5  # T, of composed clips; those of a data set on disk have their own
    batch_size: int = 4  # clips, of each process
    workers: int = -1  # of each process; -1: as many as it has CPUs to spare, at most 8
    clips_per_epoch: int = 4000  # of composed clips; a data set on disk has its own length
    convention: str = "aligned"  # of the log-mel examples: aligned, avsbench, stored
    classes: tuple[str, ...] = ()  # of a parts folder; none: its folders of objects
    task: str = "semantic"  # of composed clips: single, multi, semantic
    # Augmentation of clips on disk, at random for each clip and epoch.
    flip: float = 0.5  # share of the clips that is mirrored
    color_jitter: float = 0.5  # of brightness (a quarter of it), contrast and saturation
    scale_jitter: tuple[float, ...] = (1.0, 1.0)  # `size` is multiplied by, at least and at most
    gain_db: float = 0.0  # the sound is louder or softer by up to so much
    noise: float = 0.0  # share of the clips that gets pink noise
    noise_snr_db: tuple[float, ...] = (5.0, 30.0)  # of this noise, at least and at most
    scene: float = 0.40  # share of composed clips that are a whole photo, where mostly one sounds
    num_sounding: tuple[float, ...] = (0.60, 0.30, 0.10)  # semantic, no photo: 1, 2, 3 sound


@dataclass(frozen=True)
class OptimConfig:
    """Optimizer and schedule."""

    lr: float = 1e-4
    backbone_lr_factor: float = 0.5  # 0: the backbone is not trained
    audio_lr_factor: float = 0.0  # of the audio encoder; 0: it is not trained, as in AVSBench
    weight_decay: float = 5e-4
    clip_norm: float = 0.1
    epochs: int = 13
    visible_epochs: int = 0  # at the beginning: only what is visible is learned
    warmup_steps: int = 0
    schedule: str = "step"  # step (x 0.1 at `milestones`), cosine
    milestones: tuple[int, ...] = (8, 10)  # epochs
    ema_decay: float = 0.0  # of the weights; 0 = off
    frozen_stages: int = 1  # backbone stages (the stem and C2 first) that are not trained
    frozen_norm: bool = True  # batch norm of the backbone keeps its ImageNet statistics
    frozen_affine: bool = True  # and its scale and shift with them
    accumulate: int = 1  # batches whose gradients make one step
    precision: str = "auto"  # of the forward pass: fp32, bf16; auto: bf16 on CUDA, else fp32
    activation_checkpointing: bool = False  # less memory: activations are recomputed, not kept
    half_best: bool = False  # best.safetensors in half precision, and half as large
    compile: bool = False  # torch.compile for backbone, visual encoder and pyramid
    seed: int = 0
    keep_best: int = 1  # checkpoints of the best epochs that are kept; of one: best.safetensors


@dataclass(frozen=True)
class Config:
    """One run."""

    model: ModelConfig = field(default_factory=ModelConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    data: DataConfig = field(default_factory=DataConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)

    def to_dict(self) -> dict[str, Any]:
        """Return plain nested values, which `config_from_dict` reads back."""
        return asdict(self)

    def to_toml(self) -> str:
        """Write every setting as TOML, which `load_config` reads back.

        Example:
            >>> print(Config().to_toml()[:54])
            [model]
            backbone = "resnet50"
            audio_encoder = "vggish"
        """
        lines: list[str] = []
        for table, settings in self.to_dict().items():
            lines += [f"[{table}]", *(f"{k} = {_to_toml(v)}" for k, v in settings.items()), ""]
        return "\n".join(lines)


def config_from_dict(values: dict[str, Any]) -> Config:
    """Build a config from nested plain values; what is missing keeps its default.

    Raises:
        ConfigError: names every unknown key and every value of a wrong type at once.
    """
    problems: list[str] = []
    config = _build(Config, current_names(values), "", problems)
    if not problems:
        problems = _find_senseless(config)
    if problems:
        raise ConfigError("; ".join(problems), "avseg train --show-settings names them all")
    return config


def _find_senseless(config: Config) -> list[str]:
    """Say which values are of the right type but make no sense."""
    model, data, optim = config.model, config.data, config.optim
    positive = {
        "model": ("size", "hidden_dim", "num_heads", "ffn_dim", "num_tokens", "codebook_size"),
        "data": ("num_frames", "batch_size", "clips_per_epoch"),
        "optim": ("epochs", "accumulate", "keep_best"),
    }
    positive["model"] += ("decomposition_layers", "decoder_layers", "pyramid_dim")
    positive["model"] += ("mask_dim", "dynamic_dim")
    problems = [
        f"'{table}.{key}' should be at least 1"
        for table, keys in positive.items()
        for key in keys
        if getattr(getattr(config, table), key) < 1
    ]
    if problems:
        return problems
    for key, width in (("hidden_dim", model.hidden_dim), ("pyramid_dim", model.pyramid_dim)):
        if width < 4 or width % 4 or width % min(32, width // 4):
            problems.append(f"'model.{key}' should be a multiple of 4, and of 32 from 128 on")
    if model.pyramid == "full" and model.pyramid_dim % min(8, max(1, model.pyramid_dim // 4)):
        problems.append("'model.pyramid_dim' should be a multiple of 8 from 32 on")
    if model.hidden_dim % model.num_heads:
        problems.append("'model.hidden_dim' should be a multiple of 'model.num_heads'")
    if len(model.score_fusion) not in (4, 5):  # four: without tags
        problems.append("'model.score_fusion' should have 5 values")
    if len(model.codebook_warmup) != 2:
        problems.append("'model.codebook_warmup' should have 2 values")
    warmup = model.codebook_warmup
    if len(warmup) == 2 and any(warmup) and not 0 <= warmup[0] < warmup[1]:
        problems.append("'model.codebook_warmup' should be two steps, the earlier first, or 0, 0")
    if min(data.repeats, default=0) < 1:
        problems.append("'data.repeats' should be numbers of at least 1")
    if data.workers < -1:
        problems.append("'data.workers' should be at least 0, or -1")
    for key in ("scene", "flip", "color_jitter", "noise"):
        if not 0 <= getattr(data, key) <= 1:
            problems.append(f"'data.{key}' should be between 0 and 1")
    for key in ("scale_jitter", "noise_snr_db"):
        pair = getattr(data, key)
        if len(pair) != 2 or not -math.inf < pair[0] <= pair[1] < math.inf:
            problems.append(f"'data.{key}' should be two numbers, the lesser first")
    if data.scale_jitter[0] <= 0:
        problems.append("'data.scale_jitter' should be above 0")
    if data.convention == "stored" and (data.gain_db or data.noise):
        problems.append("'data.gain_db' and 'data.noise' cannot change log-mel files that are read")
    if not 0 < sum(data.num_sounding) < math.inf or min(data.num_sounding) < 0:
        problems.append("'data.num_sounding' should be shares, not all of them 0")
    ranges = {  # value, the least one, whether that is allowed itself, what it must stay below
        "model.dropout": (model.dropout, 0, True, 1),
        "model.encoder_layers": (model.encoder_layers, 0, True, math.inf),
        "data.gain_db": (data.gain_db, 0, True, math.inf),
        "data.size": (data.size, 2, True, math.inf),  # sides of composed frames are even
        "model.class_threshold": (model.class_threshold, 0, False, 1),
        "optim.lr": (optim.lr, 0, False, math.inf),
        "optim.backbone_lr_factor": (optim.backbone_lr_factor, 0, True, math.inf),
        "optim.audio_lr_factor": (optim.audio_lr_factor, 0, True, math.inf),
        "optim.weight_decay": (optim.weight_decay, 0, True, math.inf),
        "optim.clip_norm": (optim.clip_norm, 0, False, math.inf),
        "optim.ema_decay": (optim.ema_decay, 0, True, 1),
        "optim.warmup_steps": (optim.warmup_steps, 0, True, math.inf),
        "model.codebook_revival": (model.codebook_revival, 0, True, math.inf),
        "optim.frozen_stages": (optim.frozen_stages, 0, True, math.inf),
        "optim.seed": (optim.seed, 0, True, 2**63),
    }
    for key, weight in vars(config.loss).items():
        ranges[f"loss.{key}"] = (weight, 0, True, math.inf)
    for key, (number, least, itself, below) in ranges.items():
        if not (number > least or (itself and number == least)) or number >= below:
            bound = f"at least {least}" if itself else f"above {least}"
            upper = f" and below {below}" if below < math.inf else ""
            problems.append(f"'{key}' should be {bound}{upper}")
    for key, value, known in (
        ("data.task", data.task, TASKS),
        ("data.convention", data.convention, CONVENTIONS),
        ("optim.precision", optim.precision, PRECISIONS),
        ("optim.schedule", optim.schedule, SCHEDULES),
    ):
        if value not in known:
            problems.append(f"'{key}' should be one of {', '.join(known)}, not '{value}'")
    return problems


def _build(kind: Any, values: dict[str, Any], prefix: str, problems: list[str]) -> Any:
    known = {f.name: f for f in fields(kind)}
    arguments = {}
    for key, value in values.items():
        if key not in known:
            close = difflib.get_close_matches(key, known, n=1)
            meant = [f"{prefix}{name}" for name in close] or _find_in_tables(kind, key)
            suggestion = f", did you mean {' or '.join(map(repr, meant))}?" if meant else ""
            problems.append(f"unknown key '{prefix}{key}'{suggestion}")
            continue
        default = getattr(kind(), key)
        if is_dataclass(default):
            if isinstance(value, dict):
                arguments[key] = _build(type(default), value, f"{prefix}{key}.", problems)
            else:
                problems.append(f"'{prefix}{key}' is a table of settings, not {value!r}")
        elif default == ():
            if isinstance(value, list | tuple) and all(isinstance(x, str) for x in value):
                arguments[key] = tuple(value)
            else:
                problems.append(f"'{prefix}{key}' should be a list of names, not {value!r}")
        elif isinstance(default, tuple):
            numbers = int | float if isinstance(default[0], float) else int
            if isinstance(value, list | tuple) and all(isinstance(x, numbers) for x in value):
                arguments[key] = tuple(map(type(default[0]), value))
            else:
                problems.append(f"'{prefix}{key}' should be a list of numbers, not {value!r}")
        elif isinstance(default, float) and isinstance(value, int) and not isinstance(value, bool):
            arguments[key] = float(value)
        elif type(value) is not type(default):
            expected = type(default).__name__
            problems.append(f"'{prefix}{key}' should be of type {expected}, not {value!r}")
        else:
            arguments[key] = value
    return kind(**arguments)


def _find_in_tables(kind: Any, key: str) -> list[str]:
    """Name the settings called `key` in the tables of a config, each with its table."""
    return [
        f"{table.name}.{key}"
        for table in fields(kind)
        if is_dataclass(default := getattr(kind(), table.name)) and hasattr(default, key)
    ]


def load_config(
    preset: str = "lite",
    file: Path | None = None,
    overrides: list[str] | None = None,
    dataset: str | None = None,
    *,
    base: dict[str, Any] | None = None,
) -> Config:
    """Read a preset, then a file of settings, then single settings; the later wins.

    Args:
        preset: a name of `PRESETS`.
        file: TOML with the tables model, loss, data, optim, or the config.json of a run.
        overrides: like ``optim.lr=5e-5``; values in TOML's notation, bare words are strings.
        dataset: what is trained on; where it is a name of `DATASETS`, or several joined by +, the
            tables of preset and file that begin with it, like ``[avss.optim]``, win over the others
            there.
        base: nested settings to begin from instead of a preset, such as those of a run.

    Raises:
        ConfigError: an unknown preset, key or value, or a file that cannot be read.

    Example:
        >>> load_config("lite", overrides=["optim.lr=5e-5"]).optim.lr
        5e-05
        >>> load_config("r50").optim.epochs, load_config("r50", dataset="avss").optim.epochs
        (13, 16)
    """
    values = _read_preset(preset) if base is None else settings_of_run(base)
    values = current_names(_choose_tables(values, dataset))
    if file is not None:
        _merge(values, current_names(_choose_tables(_read_file(file), dataset)))
    for override in overrides or []:
        _merge(values, current_names(_parse_override(override)))
    return config_from_dict(values)


def settings_of_run(saved: dict[str, Any]) -> dict[str, Any]:
    """Return the settings in the contents of a run's config.json, without what else it says."""
    return {key: value for key, value in saved.items() if key not in NOT_SETTINGS}


def _read_preset(name: str) -> dict[str, Any]:
    if name not in PRESETS:
        raise ConfigError(f"unknown preset '{name}'", f"known presets: {', '.join(PRESETS)}")
    text = (resources.files("avsegcli.presets") / f"{name}.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)


def _read_file(file: Path) -> dict[str, Any]:
    try:
        text = file.read_text(encoding="utf-8")
        if file.suffix.lower() != ".json":
            return tomllib.loads(text)
        saved = json.loads(text)
    except (OSError, ValueError) as error:
        raise ConfigError(f"cannot read the configuration {file}: {error}") from error
    if not isinstance(saved, dict):
        raise ConfigError(f"{file} is not the config.json of a run")
    return settings_of_run(saved)


def current_names(values: dict[str, Any]) -> dict[str, Any]:
    """Rename settings that had other names in earlier versions; the current name wins.

    Example:
        >>> current_names({"loss": {"heard": 0.5}})
        {'loss': {'audio': 0.5}}
    """
    renamed = dict(values)
    for (table, old), new in FORMER_NAMES.items():
        settings = renamed.get(table)
        if isinstance(settings, dict) and old in settings:
            renamed[table] = settings = dict(settings)
            settings.setdefault(new, settings.pop(old))
    model = renamed.get("model")
    if isinstance(model, dict) and "separable_pyramid" in model:
        renamed["model"] = model = dict(model)
        light = model.pop("separable_pyramid")
        model.setdefault("pyramid", "light" if light else "full")
    return renamed


def _choose_tables(values: dict[str, Any], dataset: str | None) -> dict[str, Any]:
    """Merge the tables of one data set into the others, and drop those of the rest."""
    common = {key: value for key, value in values.items() if key not in DATASETS}
    for key in DATASETS:
        if not isinstance(values.get(key, {}), dict):
            raise ConfigError(f"'{key}' holds tables of settings, not {values[key]!r}")
    for name in (dataset or "").split("+"):
        if name in DATASETS:
            _merge(common, values.get(name, {}))
    return common


def _parse_override(override: str) -> dict[str, Any]:
    key, equals, value = override.partition("=")
    if not equals or not key.strip():
        raise ConfigError(f"'{override}' is no setting", "write it as optim.lr=5e-5")
    try:
        return tomllib.loads(f"{key} = {value}")
    except tomllib.TOMLDecodeError:
        pass
    try:
        return tomllib.loads(f"{key} = {_quote(value)}")
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"'{override}' is no setting", "write it as optim.lr=5e-5") from error


def _to_toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return _quote(value)
    if isinstance(value, tuple):
        return f"[{', '.join(map(_to_toml, value))}]"
    return repr(value)


def _quote(value: str) -> str:
    escaped = value.strip().replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _merge(into: dict[str, Any], values: dict[str, Any]) -> None:
    for key, value in values.items():
        if isinstance(value, dict) and isinstance(into.get(key), dict):
            _merge(into[key], value)
        else:
            into[key] = value
