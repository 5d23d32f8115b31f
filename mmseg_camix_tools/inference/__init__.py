"""Predictions on files: `inputs` finds them, `predictor` labels images, `pictures` draws, `videos` reads and writes."""
