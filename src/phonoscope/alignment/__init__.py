"""Words and phones in time, and F0: from TextGrids, a synthesizer's events or forced alignment."""
