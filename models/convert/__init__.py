"""Converts the authors' checkpoints to bundles and checks converted networks against recorded vectors.

The shared machinery is here, and each family has a folder: `rules` (sizes from tensor shapes, and the table of names),
`bundle` (the conversion) and `check` (the comparison).
"""
