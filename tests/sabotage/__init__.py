"""Steps that protect emails, each taken out of a copy of the project: some test must notice.

A test proves little as long as nobody has seen it fail. So for every step of fencing, leases and
journals there is an entry here: the text of the step, what to put in its place, and the tests that
must fail then. ``python -m sabotage`` (with ``tests`` on the path) tries them all, and so does
``make sabotage``; ``make test`` tries some.
"""
