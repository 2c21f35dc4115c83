"""Every Python process with this folder on its path has a clock that is wrong."""

import os
from datetime import UTC, datetime, timedelta

import time_machine

_OFFSET = timedelta(seconds=float(os.environ["CHAOS_CLOCK_OFFSET"]))
time_machine.travel(datetime.now(UTC) + _OFFSET, tick=True).start()
