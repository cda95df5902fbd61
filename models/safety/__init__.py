"""The safety envelope: rules that hold for every repair, whatever the networks do."""
