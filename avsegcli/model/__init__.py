"""The network of the paper, one file for each box of its Fig. 3.

    frames ── backbone ── visual_encoder ──┬───────────── recombination ── fpn ─────┐
                                           │                    ▲                    │ mask features
                                           ▼                    │ filters            ▼
    log_mel ── audio_encoder ────────── fusion ──┬─ decomposition (global) ─ codebook   mask_decoder
                                                 │                              ║       ▲   │
                                                 └─ decomposition (local) ── codebook ──┘   ▼
                                                                        masks, classes, boxes

`qsd.py` puts them together.
"""
