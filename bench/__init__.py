"""Measurements of speed and memory; nothing is tuned here."""
