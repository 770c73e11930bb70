"""The size in whose pixels the paper gives lengths."""

REFERENCE = 256  # side of a heatmap, pixels: regions, templates and σ are given for it and scaled with the heatmap
