"""The managed Python worker of sae-lens-ts."""

__version__ = "0.1.0"
