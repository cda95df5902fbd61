"""The routes.  Each parses its request, calls the desk, and shapes the response."""
