"""Experiments that use nothing but the commands of the product."""
