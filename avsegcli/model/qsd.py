"""The whole network (QSD in the paper's title, QDFormer in its camera-ready)."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from avsegcli.config import ModelConfig
from avsegcli.errors import ConfigError
from avsegcli.model.audio_encoder import AudioEncoder, build_audio_encoder
from avsegcli.model.backbone import Backbone, build_backbone
from avsegcli.model.codebook import Codebook, Quantized
from avsegcli.model.decomposition import SemanticDecoder
from avsegcli.model.deformable import DeformableEncoder
from avsegcli.model.fpn import FeaturePyramid, LightPyramid, build_pyramid
from avsegcli.model.fusion import Fusion
from avsegcli.model.mask_decoder import MaskDecoder, Predictions
from avsegcli.model.recombination import Recombination
from avsegcli.model.visible_head import VisibleHead
from avsegcli.model.visual_encoder import Level, PlainEncoder
from avsegcli.model.yamnet import TagPrior, YAMNet


class QSDOutput(NamedTuple):
    """Output of the network for B clips of T frames; Q = N queries a frame, L classes."""

    mask_logits: Tensor  # (B, T, Q, H / 4, W / 4)
    class_logits: Tensor  # (B, T, Q, L), a sigmoid for each class without background
    boxes: Tensor  # (B, T, Q, 4): cx, cy, w, h in 0..1 of the padded frame
    # For the losses and for whoever wants to look inside:
    auxiliary: list[Predictions]  # after each earlier decoder layer, (B * T, Q, ...)
    audio_logits: Tensor  # (B, T, L), from the sound alone
    tag_probs: Tensor | None  # (B, T, L), what AudioSet's tags say of the sound, if there are any
    token_logits: list[Tensor]  # of the clip (B, 1, N, L), of its frames (B, T, N, L)
    visible_logits: Tensor  # (B, T, L + 1, h, w), from the picture alone, stride 8
    loss_commit: Tensor  # (), Eq. 9
    global_indices: Tensor | None  # (B, N), codes of the clip
    local_indices: Tensor | None  # (B, T, N), codes of each frame


class QSD(nn.Module):
    """Quantization-based semantic decomposition for audio-visual segmentation.

    Paper: Fig. 3. Switching parts off gives the rows of its Table 2. Without local calibration the
    queries are the global tokens plus the fused audio feature of their frame, without which nothing
    would say when a source sounds; without decomposition they are that feature alone.
    """

    def __init__(
        self,
        backbone: Backbone,
        visual_encoder: PlainEncoder | DeformableEncoder,
        audio_encoder: AudioEncoder,
        mask_decoder: MaskDecoder,
        pyramid: FeaturePyramid | LightPyramid,
        *,
        num_classes: int,
        hidden_dim: int,
        num_heads: int,
        ffn_dim: int,
        dropout: float,
        num_tokens: int,
        decomposition_layers: int,
        codebook: Codebook | None,
        decomposition: bool,
        recombination: bool,
        calibration: bool,
    ) -> None:
        super().__init__()
        if not decomposition and (codebook is not None or recombination or calibration):
            raise ConfigError("quantization, recombination and calibration need decomposition")
        self.num_tokens = num_tokens
        self.backbone = backbone
        self.visual_encoder = visual_encoder
        self.audio_encoder = audio_encoder
        num_tags = getattr(audio_encoder, "num_tags", 0)
        audio_dim = audio_encoder.dim + num_tags
        self.audio_project = nn.Sequential(
            nn.Linear(audio_dim, hidden_dim), nn.LayerNorm(hidden_dim)
        )
        self.tag_prior = TagPrior(num_classes) if num_tags else None
        self.heard = nn.Linear(audio_dim, num_classes)
        self.token_classes = nn.Linear(hidden_dim, num_classes) if decomposition else None
        self.visible = VisibleHead(backbone.channels, hidden_dim, num_classes + 1)
        for head in (self.heard, self.token_classes):
            if head is not None:
                nn.init.constant_(head.bias, -3.0)  # a class is rarely heard
        self.fusion = Fusion(hidden_dim, num_heads, ffn_dim, dropout)

        def decoder() -> SemanticDecoder:
            return SemanticDecoder(
                hidden_dim, num_tokens, decomposition_layers, num_heads, ffn_dim, dropout
            )

        self.global_decomposition = decoder() if decomposition else None
        self.local_decomposition = decoder() if calibration else None
        self.codebook = codebook
        self.recombination = (
            Recombination(hidden_dim, num_tokens, len(visual_encoder.strides))
            if recombination
            else None
        )
        self.pyramid = pyramid
        self.mask_decoder = mask_decoder

    def forward(
        self,
        frames: Tensor | list[Tensor],
        log_mel: Tensor,
        valid: Tensor | None = None,
        present: Tensor | None = None,
        imagined: Tensor | None = None,
    ) -> QSDOutput:
        """Segment what sounds.

        Args:
            frames: ``(B, T, 3, H, W)``, ImageNet-normalised, H and W multiples of 32; or the
                backbone's C2..C5 of such frames, ``(B * T, C, h, w)`` each.
            log_mel: VGGish examples, one for each frame, ``(B, T, 1, 96, 64)``.
            valid: bool ``(B, H, W)``, True = real, False = padding at the right or below; None:
                all is real.
            present: bool ``(B, T)``, False = a frame that only fills a shorter clip up to T; what
                is said of it means nothing, and it changes nothing that is said of the others.
                None: all are.
            imagined: bool ``(B, T, L)``, classes that are to be heard although they are not in
                `log_mel`, see `TagPrior.imagine`; None: none are.

        Raises:
            ValueError: if H or W is no multiple of 32, or there are not as many examples as
                frames.
        """
        batch, num_frames = log_mel.shape[:2]
        features = self._encode_frames(frames, (batch, num_frames))  # C2..C5
        frame_valid = None
        if valid is not None:
            frame_valid = valid[:, None].expand(-1, num_frames, -1, -1).flatten(0, 1)

        # Encoders
        visual: list[Level] = self.visual_encoder(features, frame_valid)  # F_v
        sound, tag_probs = self._encode_sound(log_mel, imagined)  # (B, T, A)
        audio = self.audio_project(sound)  # F_a, (B, T, D)
        fused = self._fuse(audio, visual, present)  # F'_a, (B, T, D)

        # Global decomposition
        token_logits: list[Tensor] = []
        tokens, global_indices, loss_commit = None, None, audio.new_zeros(())
        if self.global_decomposition is not None and self.token_classes is not None:
            tokens = self.global_decomposition(fused, present)  # g, (B, N, D)
            tokens, global_indices, loss = self._quantize(tokens, update=True)
            loss_commit = loss.mean()
            token_logits.append(self.token_classes(tokens)[:, None])
        recombined = visual
        if self.recombination is not None:
            recombined = self.recombination(visual, tokens, present)

        # Local calibration
        local_indices = None
        if self.local_decomposition is not None and self.token_classes is not None:
            local = self.local_decomposition(fused.flatten(0, 1)[:, None])  # l, (B * T, N, D)
            queries, local_indices, loss = self._quantize(local, update=False)
            loss = _by_clip(loss, num_frames)  # (B, T, N)
            if present is not None:
                loss = loss * present[..., None]
            loss_commit = loss_commit + loss.sum(1).mean()
            token_logits.append(_by_clip(self.token_classes(queries), num_frames))
        else:
            queries = fused[:, :, None].expand(-1, -1, self.num_tokens, -1)
            if tokens is not None:
                queries = queries + tokens[:, None]
            queries = queries.flatten(0, 1)

        # Semantic-guided mask decoding
        finer = features[: _count_finer(self.visual_encoder)]
        # As in R2-VOS, the pyramid starts at stride 32; what is coarser only serves attention.
        encoded = [
            level.features
            for level, stride in zip(recombined, self.visual_encoder.strides, strict=True)
            if stride <= 32
        ]
        mask_features = self.pyramid(encoded, finer)
        extent = None if frame_valid is None else _extent(frame_valid).to(mask_features.dtype)
        predictions: list[Predictions] = self.mask_decoder(
            queries, recombined, mask_features, extent
        )
        masks, classes, boxes = (_by_clip(x, num_frames) for x in predictions[-1])
        return QSDOutput(
            mask_logits=masks,
            class_logits=classes,
            boxes=boxes,
            auxiliary=predictions[:-1],
            audio_logits=self.heard(sound),
            tag_probs=tag_probs,
            token_logits=token_logits,
            visible_logits=_by_clip(self.visible(features, visual[0].features), num_frames),
            loss_commit=loss_commit,
            global_indices=global_indices,
            local_indices=None if local_indices is None else _by_clip(local_indices, num_frames),
        )

    def segment_visible(self, frames: Tensor | list[Tensor], valid: Tensor | None = None) -> Tensor:
        """Classify what is visible without looking at the sound.

        Args:
            frames: as of `forward`.
            valid: as of `forward`.

        Returns:
            Logits ``(B, T, L + 1, H / 8, W / 8)``; for features ``(B * T, 1, ...)``.
        """
        clips = frames.shape[:2] if isinstance(frames, Tensor) else (len(frames[0]), 1)
        features = self._encode_frames(frames, clips)
        frame_valid = None
        if valid is not None:
            each = len(features[0]) // len(valid)
            frame_valid = valid.repeat_interleave(each, 0)
        visual = self.visual_encoder(features, frame_valid)
        logits = self.visible(features, visual[0].features)
        return logits.reshape(*clips, *logits.shape[1:])

    def _encode_frames(self, frames: Tensor | list[Tensor], clips: tuple[int, ...]) -> list[Tensor]:
        if not isinstance(frames, Tensor):
            return frames
        height, width = frames.shape[-2:]
        if height % 32 or width % 32:
            raise ValueError(f"frames of {height} x {width}; both must be multiples of 32")
        if tuple(frames.shape[:2]) != tuple(clips):
            counts = tuple(clips), tuple(frames.shape[:2])
            raise ValueError("log-mel examples {} for frames {}".format(*counts))
        pictures = frames.flatten(0, 1).contiguous(memory_format=torch.channels_last)
        features: list[Tensor] = self.backbone(pictures)
        return features

    def _encode_sound(
        self, log_mel: Tensor, imagined: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        """Encode the sound ``(B, T, A)``, and say what its tags mean, ``(B, T, L)``."""
        batch, num_frames = log_mel.shape[:2]
        encoded = self.audio_encoder(log_mel.flatten(0, 1))
        if self.tag_prior is None or not isinstance(self.audio_encoder, YAMNet):
            return encoded.reshape(batch, num_frames, -1), None
        embedding, tags = encoded
        if imagined is not None and imagined.any():
            tags = self.tag_prior.imagine(tags, imagined.flatten(0, 1))
        # Softened, since a weak tag says something too.
        sound = torch.cat([embedding, (tags / 2).sigmoid()], dim=1)
        return _by_clip(sound, num_frames), _by_clip(self.tag_prior(tags), num_frames)

    def _fuse(self, audio: Tensor, visual: list[Level], present: Tensor | None) -> Tensor:
        """Let the sound of each frame look at level C5 of all frames of its clip."""
        level = next(v for v, s in zip(visual, self.visual_encoder.strides, strict=True) if s == 32)
        num_frames = audio.shape[1]
        tokens = level.features.flatten(2).transpose(1, 2)  # (B * T, S, D)
        position = level.position.flatten(2).transpose(1, 2).expand_as(tokens)
        valid = level.valid
        if valid is not None:
            valid = _by_clip(valid.flatten(1), num_frames).flatten(1, 2)
        if present is not None:
            there = present.repeat_interleave(tokens.shape[1], 1)
            valid = there if valid is None else valid & there
        seen, position = (_by_clip(x, num_frames).flatten(1, 2) for x in (tokens, position))
        return self.fusion(audio, seen, position, valid)

    def _quantize(self, tokens: Tensor, *, update: bool) -> tuple[Tensor, Tensor | None, Tensor]:
        if self.codebook is None:
            return tokens, None, tokens.new_zeros(tokens.shape[:-1])
        quantized: Quantized = self.codebook(tokens, update=update)
        return quantized


def _by_clip(x: Tensor, num_frames: int) -> Tensor:
    """Give ``(B * T, ...)`` an axis for the frames, ``(B, T, ...)``.

    By reshape with the sizes of other tensors, as elsewhere in the network: `unflatten` would make
    them constants of an exported graph.
    """
    return x.reshape(-1, num_frames, *x.shape[1:])


def _count_finer(encoder: PlainEncoder | DeformableEncoder) -> int:
    """Count the backbone levels, from stride 4 on, that are finer than the encoder's finest."""
    return sum(stride < encoder.strides[0] for stride in (4, 8, 16, 32))


def _extent(valid: Tensor) -> Tensor:
    """Compute the share of width and height ``(M, 2)`` that is real, from ``(M, H, W)``."""
    return torch.stack([valid.any(1).float().mean(1), valid.any(2).float().mean(1)], dim=1)


def build_qsd(config: ModelConfig, num_classes: int) -> QSD:
    """Build the network; the only place where settings become modules.

    Args:
        config: the settings.
        num_classes: L, the classes without background.

    Raises:
        ConfigError: if a setting names what does not exist.
        AvsegError: if it needs a package that is missing.
    """
    encoders: dict[str, type[PlainEncoder] | type[DeformableEncoder]]
    encoders = {"plain": PlainEncoder, "deformable": DeformableEncoder}
    if config.attention not in encoders:
        known = ", ".join(encoders)
        raise ConfigError(f"unknown attention '{config.attention}'", f"known: {known}")
    backbone = build_backbone(config.backbone)
    encoder = encoders[config.attention](
        backbone.channels,
        config.hidden_dim,
        config.encoder_layers,
        config.num_heads,
        config.ffn_dim,
        config.dropout,
    )
    decoder = MaskDecoder(
        config.hidden_dim,
        config.num_tokens,
        config.decoder_layers,
        config.num_heads,
        config.ffn_dim,
        config.mask_dim,
        config.dynamic_dim,
        num_classes,
        config.dropout,
        num_levels=len(encoder.strides),
        deformable=config.attention == "deformable",
    )
    pyramid = build_pyramid(
        config.pyramid,
        backbone.channels[: _count_finer(encoder)],
        sum(stride <= 32 for stride in encoder.strides),
        config.hidden_dim,
        config.pyramid_dim,
        config.mask_dim,
    )
    codebook = None
    if config.quantization:
        codebook = Codebook(
            config.codebook_size,
            config.hidden_dim,
            ema=config.codebook_ema,
            norm=config.codebook_norm,
            fill=config.codebook_fill,
            revival=config.codebook_revival,
            warmup=(config.codebook_warmup[0], config.codebook_warmup[1]),
        )
    return QSD(
        backbone,
        encoder,
        build_audio_encoder(config.audio_encoder),
        decoder,
        pyramid,
        num_classes=num_classes,
        hidden_dim=config.hidden_dim,
        num_heads=config.num_heads,
        ffn_dim=config.ffn_dim,
        dropout=config.dropout,
        num_tokens=config.num_tokens,
        decomposition_layers=config.decomposition_layers,
        codebook=codebook,
        decomposition=config.decomposition,
        recombination=config.recombination,
        calibration=config.calibration,
    )
