"""Optimisation of settings over whole trainings, with Optuna."""
