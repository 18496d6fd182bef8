"""Network architectures, one module each; the training scripts pick from them."""
