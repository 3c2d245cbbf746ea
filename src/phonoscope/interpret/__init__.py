"""What the features of a sparse autoencoder stand for: windows, selectivity, group means and effect sizes."""
