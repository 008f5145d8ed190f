"""A photograph in, ranked places and headings out."""
