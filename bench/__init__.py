"""Measurements of speed and memory; what is measured here is never tuned here."""
