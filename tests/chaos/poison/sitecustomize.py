"""In every Python process with this folder on its path, some emails end it when they are built."""

import os
import signal

from workers import building

_build = building.Builder.build


async def _poisonous(self, job, message, *args, **kwargs):
    if message.subject == "kills":
        os.kill(os.getpid(), signal.SIGKILL)
    return await _build(self, job, message, *args, **kwargs)


building.Builder.build = _poisonous
