"""The Python API: what the command line does, for notebooks and training scripts; `import refinery` offers all of it.

Refining never imports torch; `refinery.api.torch_data` does, for who trains with it anyway.
"""
