"""Batches: many images with one set of options, as one thing to watch, to fetch and to cancel."""
