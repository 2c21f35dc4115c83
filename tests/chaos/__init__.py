"""A campaign of faults against real processes, and a ledger of what became of every email.

``python -m chaos --help`` (with ``tests`` on the path) runs it; ``make chaos`` does.
"""
