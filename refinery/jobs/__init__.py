"""The four jobs as plain functions: the Python API, and what the command line calls.

    from refinery.jobs.train import train
    from refinery.jobs.refine import refine
    from refinery.jobs.export import export
    from refinery.jobs.inspect import inspect

Each takes its frozen config and an observer and returns the dictionary that `--json` prints. Only this folder sees both
halves of the house; refining and inspecting never import torch.
"""
