"""The store: the only part that speaks to Redis.

``keys`` names what is kept, ``lua/`` has one file for each atomic step, ``production`` and
``delivery`` turn each step into an `Operation` for producers and for workers, and ``runners`` run
operations, synchronously or not.
"""
