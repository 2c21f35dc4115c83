import subprocess
import sys

import pytest
from pydantic import ValidationError

from mailer import InvalidSetting, RetryPolicy, Settings, load_settings

CANARY = "canary-pass"


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch, tmp_path):
    """No setting of the machine that runs the tests, and no mailer.toml but the test's."""
    import os

    for name in list(os.environ):
        if name.startswith("MAILER_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def refused(**settings):
    with pytest.raises(InvalidSetting) as caught:
        load_settings(**settings)
    return str(caught.value)


def test_without_any_setting_there_are_defaults():
    settings = load_settings()
    assert settings.redis_url.get_secret_value() == "redis://127.0.0.1:6379/0"
    assert settings.broker == settings.redis_url
    assert settings.store_timeout_seconds == 5
    assert settings.retry_policy == RetryPolicy()
    assert settings.attachment_roots == ()


def test_the_environment_is_read(monkeypatch):
    monkeypatch.setenv("MAILER_REDIS_URL", "redis://elsewhere/3")
    monkeypatch.setenv("MAILER_RETRY_DELAYS", "1, 2.5,3")
    monkeypatch.setenv("MAILER_ATTACHMENT_ROOTS", "/srv/a:/srv/b")
    settings = load_settings()
    assert settings.redis_url.get_secret_value() == "redis://elsewhere/3"
    assert settings.retry_policy.delays == (1, 2.5, 3)
    assert [str(root) for root in settings.attachment_roots] == ["/srv/a", "/srv/b"]


def test_the_file_is_read_and_the_environment_stands_above_it(monkeypatch, tmp_path):
    (tmp_path / "mailer.toml").write_text(
        'redis_url = "redis://file/1"\nbatch_size = 7\nretry_delays = [1, 2]\n'
    )
    monkeypatch.setenv("MAILER_BATCH_SIZE", "8")
    settings = load_settings()
    assert settings.redis_url.get_secret_value() == "redis://file/1"
    assert settings.batch_size == 8
    assert settings.retry_delays == (1, 2)
    assert load_settings(batch_size=9).batch_size == 9


def test_another_file_may_be_named(tmp_path):
    (tmp_path / "other.toml").write_text("batch_size = 7\n")
    code = "import mailer; print(mailer.load_settings().batch_size)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"MAILER_CONFIG": str(tmp_path / "other.toml")},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "7\n"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("BATCH_SIZE", v) for v in ["", "x", "0", "1001", "1.5"]),
        *(("STORE_TIMEOUT_SECONDS", v) for v in ["", "x", "0", "-1", "nan", "inf"]),
        *(("LEASE_SECONDS", v) for v in ["0", "inf", "nan"]),
        *(("RETRY_DELAYS", v) for v in ["", "x", "1,x", "-1", "nan", "inf", "1e300"]),
        *(("RETRY_JITTER", v) for v in ["-1", "2", "nan", "x"]),
        *(("RETRY_GIVE_UP_SECONDS", v) for v in ["0", "inf", "x"]),
        *(("KEY_PREFIX", v) for v in ["", "a b", "{a}", "a:b", "ä", "a\n"]),
        *(("LOG_LEVEL", v) for v in ["", "debug", "LOUD"]),
        *(("MAX_RECIPIENTS", v) for v in ["0", "x"]),
    ],
)
def test_a_bad_value_is_refused_with_the_name_of_its_variable(monkeypatch, name, value):
    monkeypatch.setenv(f"MAILER_{name}", value)
    sentence = refused()
    assert sentence.startswith(f"MAILER_{name}: ")
    assert len(sentence) < 200


def test_all_that_is_wrong_is_told_at_once():
    sentence = refused(batch_size=0, lease_seconds="x")
    assert "MAILER_BATCH_SIZE" in sentence
    assert "MAILER_LEASE_SECONDS" in sentence


def test_what_is_no_setting_is_named(tmp_path):
    assert "MAILER_REDIS_URI" in refused(redis_uri="x")
    (tmp_path / "mailer.toml").write_text('redis_uri = "x"\n')
    assert "redis_uri" in refused()


@pytest.mark.parametrize("content", [f'redis_url = "redis://:{CANARY}@h', "=", "\xff"])
def test_a_broken_file_is_told_without_its_content(tmp_path, content):
    (tmp_path / "mailer.toml").write_bytes(content.encode("latin-1"))
    sentence = refused()
    assert "mailer.toml" in sentence
    assert CANARY not in sentence


def test_a_secret_is_in_no_repr():
    settings = load_settings(
        redis_url=f"redis://u:{CANARY}@h",
        broker_url=f"amqp://u:{CANARY}@h",
        relay_url=f"smtp://u:{CANARY}@h",
    )
    assert CANARY not in f"{settings!r} {settings} {settings.broker!r} {settings.model_dump()}"


@pytest.mark.parametrize("name", ["redis_url", "broker_url", "relay_url"])
def test_a_secret_is_in_no_error(name):
    """Not even where a value is of the wrong type, and pydantic would like to show it."""
    value = [f"redis://u:{CANARY}@h"]
    assert CANARY not in refused(**{name: value})
    with pytest.raises(ValidationError) as caught:
        Settings(**{name: value})
    assert CANARY not in str(caught.value)


def test_settings_do_not_change():
    with pytest.raises(ValidationError):
        load_settings().batch_size = 5


POLICIES = """
retry_jitter = 0
[retry_policies.urgent]
delays = [5, 30]
max_attempts = 4
[retry_policies.lazy]
give_up_after = 3600
"""


def test_retry_policies_have_names_and_what_they_leave_out_is_as_for_all(tmp_path):
    (tmp_path / "mailer.toml").write_text(POLICIES)
    settings = load_settings()
    assert sorted(settings.retry_policies) == ["lazy", "urgent"]
    assert settings.named_policy("urgent") == RetryPolicy(delays=(5, 30), jitter=0, max_attempts=4)
    assert settings.named_policy("lazy") == RetryPolicy(jitter=0, give_up_after=3600)


@pytest.mark.parametrize(
    ("line", "key"),
    [
        ("dealys = [1]", "urgent.dealys"),
        ("delays = []", "urgent.delays"),
        ("delays = [1, -1]", "urgent.delays"),
        ('delays = [1, "x"]', "urgent.delays[1]"),
        ("delays = 5", "urgent.delays"),
        ("jitter = 2", "urgent.jitter"),
        ("jitter = nan", "urgent.jitter"),
        ("give_up_after = 0", "urgent.give_up_after"),
        ("give_up_after = inf", "urgent.give_up_after"),
        ("max_attempts = 0", "urgent.max_attempts"),
        ("max_attempts = 1.5", "urgent.max_attempts"),
    ],
)
def test_a_bad_retry_policy_is_refused_with_the_name_of_its_key(tmp_path, line, key):
    (tmp_path / "mailer.toml").write_text(f"[retry_policies.urgent]\n{line}\n")
    assert f"(in mailer.toml: retry_policies.{key}): " in refused()
