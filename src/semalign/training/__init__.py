"""Training: the engine, inference over a data set, alternation of label search and training."""
