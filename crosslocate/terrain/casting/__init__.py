"""Cameras and rays: where every pixel of a view meets the terrain."""
