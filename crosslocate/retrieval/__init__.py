"""Descriptor store, extraction, search, and recall counting."""
