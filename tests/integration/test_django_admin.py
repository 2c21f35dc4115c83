"""The pages of Django's admin on emails: what they show of Redis, and who may do what."""

import re
from datetime import UTC, datetime, timedelta
from html import unescape

import pytest
from django.apps import apps
from django.core.management import call_command
from django.test import Client, override_settings
from django_project import DEPRECATED

from mailer import Email, JobState, listing
from mailer.contrib.django import get_mailer
from mailer.contrib.django.admin import EmailJobAdmin
from mailer.testing.ports import free_port

LIST = "/admin/mailer/emailjob/"
pytestmark = [pytest.mark.filterwarnings(each) for each in DEPRECATED]


@pytest.fixture(autouse=True)
def mailer(redis_server, key_prefix):
    with override_settings(MAILER={"REDIS_URL": redis_server.url, "KEY_PREFIX": key_prefix}):
        yield get_mailer()


@pytest.fixture(scope="module")
def users():
    call_command("migrate", verbosity=0)
    made, permissions = (
        apps.get_model("auth.User").objects,
        apps.get_model("auth.Permission").objects,
    )
    names = ("looks", "acts", "none")
    users = {name: made.create_user(name, is_staff=True) for name in names}
    users["root"] = made.create_superuser("root")
    may = {p.codename: p for p in permissions.filter(content_type__app_label="mailer")}
    assert may.keys() == {"view_emailjob", "change_emailjob"}
    users["looks"].user_permissions.add(may["view_emailjob"])
    users["acts"].user_permissions.add(may["change_emailjob"])
    return users


def logged_in(user) -> Client:
    client = Client(enforce_csrf_checks=False)
    client.force_login(user)
    return client


@pytest.fixture
def client(users):
    return logged_in(users["root"])


def enqueue(mailer, to="ann@example.org", **fields):
    return mailer.enqueue(Email(from_email="shop@example.com", to=to, **fields)).id


def detail(job_id):
    return f"{LIST}{job_id}/change/"


def shown(client, url=LIST, **query) -> str:
    response = client.get(url, query)
    assert response.status_code == 200
    return response.content.decode()


def listed(page) -> list[str]:
    return re.findall(r'name="_selected_action" value="([^"]+)"', page)


def link(page, name) -> str:
    return unescape(re.search(rf'<a href="([^"]+)">{name}</a>', page)[1])


class TestList:
    def test_it_shows_emails_the_newest_first(self, client, mailer):
        first = enqueue(mailer, subject="Your order ✓", tags=["order", "eu"])
        second = enqueue(mailer, to=["ann@example.org", "bob@example.org"])
        page = shown(client)
        assert set(listed(page)) == {first, second}
        assert "Your order ✓" in page
        assert "order, eu" in page
        assert "ann@example.org +1" in page
        assert "(no subject)" in page
        assert "queued (2)" in page
        assert "all (2)" in page

    def test_by_state_recipient_and_tag(self, client, mailer):
        gone = enqueue(mailer, tags=["order"])
        waits = enqueue(mailer, to="bob@example.net", tags=["news"])
        mailer.cancel(gone)
        assert listed(shown(client, state="canceled")) == [gone]
        assert listed(shown(client, recipient="bob@example.net")) == [waits]
        assert listed(shown(client, recipient="@example.org")) == [gone]
        assert listed(shown(client, tag="news")) == [waits]
        page = shown(client, state="queued", tag="order")
        assert listed(page) == []
        assert "No emails." in page
        canceled = link(page, r"canceled \(1\)")
        assert listed(shown(client, LIST + canceled)) == [gone], "the tag stays asked for"

    def test_older_emails_are_on_further_pages(self, client, mailer, monkeypatch):
        monkeypatch.setattr(EmailJobAdmin, "list_per_page", 3)
        ids = [enqueue(mailer) for _ in range(7)]
        found, url = [], LIST
        for _ in range(3):
            page = shown(client, url)
            found += listed(page)
            url = LIST + link(page, "Older") if ">Older<" in page else None
        assert url is None
        assert sorted(found) == sorted(ids)
        assert len(found) == 7
        assert len(listed(shown(client, LIST + link(page, "Newest")))) == 3

    def test_a_search_that_stops_early_says_so(self, client, mailer, monkeypatch):
        monkeypatch.setattr(listing, "MOST_LOOKED_AT", 5)
        rare = enqueue(mailer, to="rare@example.org")
        for _ in range(7):
            enqueue(mailer)
        page = shown(client, recipient="rare@example.org")
        assert listed(page) == []
        assert "0 found among 5 emails, the newest; there are older ones" in page
        page = shown(client, LIST + link(page, "Older"))
        assert listed(page) == [rare]
        assert "1 found among 3 emails, further down<" in page

    @pytest.mark.parametrize(
        ("query", "error"),
        [
            ({"recipient": "ann"}, "recipient: is an address such as"),
            ({"state": "lost"}, "state: is one of"),
            ({"older": "x"}, "older_than: is what the page before has"),
        ],
    )
    def test_what_can_t_be_searched_for_is_said(self, client, mailer, query, error):
        enqueue(mailer)
        page = shown(client, **query)
        assert error in page
        assert listed(page) == []

    def test_nothing_that_others_wrote_becomes_html(self, client, mailer):
        job_id = enqueue(mailer, subject="<script>x</script>", tags=["<b>"], metadata={"<i>": 1})
        for page in (shown(client), shown(client, detail(job_id)), shown(client, tag='"><u>')):
            assert not re.search(r"<script>x|<b>|<i>|<u>", page)


class TestDetail:
    def test_it_shows_what_is_recorded(self, client, mailer):
        later = datetime.now(UTC) + timedelta(hours=1)
        job_id = enqueue(
            mailer,
            to=["ann@example.org", "bob@example.org"],
            subject="Your order",
            text="the body",
            tags=["order"],
            metadata={"order": 42},
            scheduled_at=later,
        )
        page = unescape(shown(client, detail(job_id)))
        for words in ("Your order", "bob@example.org", '{"order":42}', "It is scheduled for"):
            assert words in page
        assert "the body" not in page

    def test_it_shows_attempts_and_why_it_waits(self, client, mailer, redis_server, key_prefix):
        from mailer.job import Attempt, Decision, Recipient, RecipientState
        from mailer.store.agenda import Agenda, Result
        from mailer.store.keys import Keys
        from mailer.store.records import at
        from mailer.store.runners import SyncRunner

        job_id = enqueue(mailer)
        runner = SyncRunner.connect(redis_server.url, 5)
        agenda = Agenda(Keys(key_prefix))
        (begun,) = runner.run(agenda.begin([job_id], "w1", 60))
        due_ms = begun.begun_ms + 300_000
        attempt = Attempt(
            n=1,
            started_at=at(begun.begun_ms),
            decision=Decision.RETRY,
            worker="w1",
            relay="main",
            phase="rcpt",
            reply="450 4.7.1 Greylisted",
            next_attempt_at=at(due_ms),
            because="the retry policy",
        )
        greylisted = Recipient("ann@example.org", RecipientState.DEFERRED, attempt.reply)
        result = Result(begun.lease, JobState.DEFERRED, due_ms, 1, (greylisted,), attempt)
        assert runner.run(agenda.finish([result])) == [True]
        runner.close()
        page = unescape(shown(client, detail(job_id)))
        assert page.count("450 4.7.1 Greylisted") == 2
        assert "The next attempt is at" in page
        assert "the retry policy" in page

    def test_an_unknown_id_is_not_found(self, client):
        assert client.get(detail("nosuch")).status_code == 404


class TestActions:
    def test_selected_emails_are_canceled_and_retried(self, client, mailer, users):
        ids = [enqueue(mailer) for _ in range(3)]
        query = f"{LIST}?state=queued"
        done = client.post(query, {"action": "cancel", "_selected_action": ids[:2]}, follow=True)
        assert done.redirect_chain == [(query, 302)]
        assert "2 emails: canceled." in done.content.decode()
        assert [mailer.get(each).state for each in ids] == ["canceled", "canceled", "queued"]
        done = client.post(LIST, {"action": "retry", "_selected_action": ids[0]}, follow=True)
        assert "1 email: due now." in done.content.decode()
        assert mailer.get(ids[0]).state is JobState.QUEUED
        last = apps.get_model("admin.LogEntry").objects.first()
        assert (last.user, last.object_id, str(last.change_message)) == (
            users["root"],
            ids[0],
            "retry by hand",
        )

    def test_what_can_t_be_changed_is_named_and_the_others_are(self, client, mailer):
        gone, waits = enqueue(mailer), enqueue(mailer)
        mailer.cancel(gone)
        chosen = [gone, "nosuch", waits]
        done = client.post(LIST, {"action": "cancel", "_selected_action": chosen}, follow=True)
        page = unescape(done.content.decode())
        assert "2 emails: canceled." in page, "canceled twice is canceled"
        assert "no job is recorded under the id 'nosuch'" in page.lower()
        assert mailer.get(waits).state is JobState.CANCELED

    def test_one_email_is_changed_on_its_own_page(self, client, mailer):
        job_id = enqueue(mailer)
        done = client.post(detail(job_id), {"action": "cancel"}, follow=True)
        assert "1 email: canceled." in done.content.decode()
        assert "a person canceled it" in done.content.decode()

    @pytest.mark.parametrize("action", ["", "delete_selected", "__class__"])
    def test_another_action_does_nothing(self, client, mailer, action):
        job_id = enqueue(mailer)
        done = client.post(LIST, {"action": action, "_selected_action": job_id}, follow=True)
        assert "No action selected." in done.content.decode()
        assert mailer.get(job_id).state is JobState.QUEUED

    def test_a_form_of_another_site_changes_nothing(self, users, mailer):
        job_id = enqueue(mailer)
        client = Client(enforce_csrf_checks=True)
        client.force_login(users["root"])
        refused = client.post(LIST, {"action": "cancel", "_selected_action": job_id})
        assert refused.status_code == 403
        assert mailer.get(job_id).state is JobState.QUEUED


class TestPermissions:
    @pytest.mark.parametrize(("name", "sees", "acts"), [
        ("looks", 200, 403), ("acts", 200, 302), ("none", 403, 403),
    ])  # fmt: skip
    def test_who_may_look_and_who_may_act(self, users, mailer, name, sees, acts):
        job_id = enqueue(mailer)
        client = logged_in(users[name])
        assert client.get(LIST).status_code == sees
        assert client.get(detail(job_id)).status_code == sees
        for url in (LIST, detail(job_id)):
            posted = client.post(url, {"action": "cancel", "_selected_action": job_id})
            assert posted.status_code == acts
        assert mailer.get(job_id).state == ("canceled" if acts == 302 else "queued")

    def test_who_may_only_look_is_offered_no_action(self, users, mailer):
        job_id = enqueue(mailer)
        client = logged_in(users["looks"])
        for url in (LIST, detail(job_id)):
            assert not re.search(r'name="action"|_selected_action', shown(client, url))

    def test_who_is_not_logged_in_is_asked_to(self):
        for url in (LIST, detail("x")):
            assert Client().get(url).url.startswith("/admin/login/")

    @pytest.mark.parametrize("page", ["add/", "x/delete/", "x/history/"])
    def test_there_are_no_other_pages(self, client, page):
        assert client.get(LIST + page).status_code == 404

    def test_the_index_of_the_admin_leads_there(self, client):
        assert f'href="{LIST}"' in shown(client, "/admin/")
        assert f'href="{LIST}"' in shown(client, "/admin/mailer/")


def test_while_redis_is_away_the_pages_say_so(client, mailer):
    with override_settings(MAILER={"REDIS_URL": f"redis://127.0.0.1:{free_port()}"}):
        for url in (LIST, detail("x")):
            assert "Redis can&#x27;t be reached" in shown(client, url)
        done = client.post(LIST, {"action": "retry", "_selected_action": "x"}, follow=True)
        assert "Redis can&#x27;t be reached" in done.content.decode()


def test_a_list_takes_three_round_trips_however_many_emails_there_are(client, mailer, redis_server):
    import redis

    for _ in range(40):
        enqueue(mailer)
    shown(client)  # the script is known now
    with redis.Redis.from_url(redis_server.url) as raw:
        before = raw.info("commandstats")
        shown(client)
        after = raw.info("commandstats")

    def calls(name):
        return after[f"cmdstat_{name}"]["calls"] - before[f"cmdstat_{name}"]["calls"]

    states = len(JobState)
    assert (calls("zcard"), calls("zrange"), calls("evalsha")) == (states, states, 1)
