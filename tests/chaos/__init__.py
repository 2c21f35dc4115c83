"""Whether emails survive what happens to machines: ``make chaos``.

A campaign plays rounds: a `world` of real processes is put under `load`, one of the `faults`
strikes, and once all has ended, a `ledger` compares what was acknowledged with what came and what
is recorded. To strike a process at a point of its work, nothing is changed in it: its `tap` sees
which step it asks Redis for, and its relay what it says.
"""
