"""Training: metrics of what a model has learnt."""
