"""DKIM: signatures in the header, by which a domain answers for a message (RFC 6376)."""
