"""Attachments by reference: what an email may refer to, and how that is pinned at enqueue."""
