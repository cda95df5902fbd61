"""`Idempotency-Key`: a request that makes something and is sent again makes nothing twice."""
