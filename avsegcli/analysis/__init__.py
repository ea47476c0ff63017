"""Studies of a trained model: t-SNE, codebook, ablation, qualitative examples."""
