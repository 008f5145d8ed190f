"""Wires data, models, mining and retrieval into the loop of PyTorch Lightning."""
