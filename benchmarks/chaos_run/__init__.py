"""The parts of `benchmarks/chaos.py`: real processes under faults, and a check that nothing was lost."""
