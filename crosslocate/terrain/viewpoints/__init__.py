"""Where cameras stand and where they look."""
