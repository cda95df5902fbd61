"""From the authors' checkpoints to bundles: a table of rules, sizes read from the tensors, one tensor in memory."""
