"""Datasets, tokens and activations: everything between a dataset and a training batch.

Nothing is imported here: what reads texts must not wait for torch, which only the reading of activations needs.
"""
