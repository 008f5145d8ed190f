"""Elevation models: what is read, how it is kept, where its posts are."""
