"""From a photo to what is in it: thresholds, the pet's outline, its breed.

Plain functions and small frozen dataclasses over NumPy arrays. Nothing here knows the web page
or a training framework; networks run in ONNX Runtime.
"""
