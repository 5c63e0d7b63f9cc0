"""Language models: loading, hook points, forward passes that stop at the hook.

Nothing is imported here: a tokenizer must not wait for torch.
"""
