"""Child processes: how they are started, talked to and ended.  Every room may stand on this one; it imports none."""
