"""The store: the only part that speaks to Redis.

``keys`` names what is kept and ``records`` how, ``lua/`` has one file for each atomic step,
``jobs`` and ``agenda`` turn each step into an `Operation` for producers and for workers, and
``runners`` run operations, synchronously or not.
"""
