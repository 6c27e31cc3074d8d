"""Packed supervised fine-tuning with an exact loss."""
