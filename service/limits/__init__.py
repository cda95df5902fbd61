"""The quotas of callers, as the HTTP service applies them."""
