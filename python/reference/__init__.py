"""A plain float32 PyTorch reference of the glm4v family, and the scripts that write goldens with transformers."""
