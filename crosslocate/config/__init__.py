"""Configuration: schemas, validation, and building objects from it."""
