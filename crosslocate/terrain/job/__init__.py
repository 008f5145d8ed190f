"""Rendering data sets: what is asked for, how it is done, what is left on disk."""
