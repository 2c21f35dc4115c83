"""SMTP: the only part that speaks it. ``replies`` ← ``session`` ← ``pool``."""
