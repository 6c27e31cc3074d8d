"""Packed supervised fine-tuning with an exact loss."""

import logging

# Imported by transformers, at every start on a CPU it asks for a package that training does not use.
logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)
