"""How runs of each framework become one ONNX file."""
