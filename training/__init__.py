"""Learns the models: data sets, networks, one script a job, export, evaluation."""
