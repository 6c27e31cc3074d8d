"""Difficulty-aware rejection sampling (DARS): sample, grade and keep correct responses until each quota is met."""
