"""What Flower hears and shows: one task per email, and none of the carriers."""

import json
import urllib.request

import pytest

from mailer import JobState
from mailer.testing import eventually, greylist, refuse, say
from mailer.testing.processes import FlowerProcess


@pytest.fixture
def flower(system):
    settings = {**system.settings, "FLOWER_UNAUTHENTICATED_API": "true"}
    with FlowerProcess(settings, system.folder / "flower.log") as process:
        yield process


def tasks(flower: FlowerProcess) -> dict[str, dict]:
    with urllib.request.urlopen(f"{flower.url}/api/tasks?limit=100", timeout=5) as reply:
        return json.load(reply)


def test_to_revoke_an_email_in_flower_cancels_it(system, smtp, flower):
    smtp.faults += [greylist("grey@", times=None)]
    with system.worker(MAILER_RETRY_DELAYS="600"), system.worker("w2"):
        sent = system.enqueue("ann@example.org")
        system.ended(sent)
        deferred = system.enqueue("grey@example.org")
        eventually(lambda: tasks(flower).get(deferred, {}).get("state") == "RETRY")
        for job_id in (deferred, sent, "unknown"):
            request = urllib.request.Request(
                f"{flower.url}/api/task/revoke/{job_id}", method="POST", data=b""
            )
            urllib.request.urlopen(request, timeout=10).close()
        assert system.ended(deferred).state is JobState.CANCELED
        eventually(lambda: tasks(flower)[deferred]["state"] == "REVOKED")
    assert system.mailer.get(sent).state is JobState.SENT
    assert tasks(flower)[sent]["state"] == "SUCCESS"


def test_flower_has_a_row_for_each_email_with_its_retries(system, smtp, flower):
    smtp.faults += [say("450 4.2.0 Busy", "rcpt", "grey@"), refuse("nobody@")]
    with system.worker(MAILER_RETRY_DELAYS="0.2,600"):
        sent = system.enqueue("ann@example.org")
        refused = system.enqueue("nobody@example.org")
        deferred = system.enqueue("grey@example.org")
        system.ended(sent)
        system.ended(refused)

        def all_shown():
            shown = tasks(flower)
            states = {job_id: shown.get(job_id, {}).get("state") for job_id in (sent, refused)}
            retries = shown.get(deferred, {}).get("retries")
            return shown if [*states.values(), retries] == ["SUCCESS", "FAILURE", 2] else None

        shown = eventually(all_shown)
        next_attempt = system.mailer.get(deferred).next_attempt_at
    assert set(shown) == {sent, refused, deferred}, "carrier tasks don't show"
    assert {task["name"] for task in shown.values()} == {"mailer.email"}
    row = shown[deferred]
    assert row["state"] == "RETRY"
    assert "450 4.2.0 Busy" in row["exception"]
    assert row["eta"] == next_attempt.isoformat(timespec="seconds")
    assert "550 5.1.1" in shown[refused]["exception"]
