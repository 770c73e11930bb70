"""Pure maths: affine maps, warps, heatmaps, the search, curves and metrics. No files, no state."""
