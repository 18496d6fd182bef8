"""What `training.evaluate` measures: models from any file, their scores, and the tables."""
