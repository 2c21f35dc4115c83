"""How ``MAILER_HOOKS`` is read, and what its ``pre_enqueue`` functions may do."""

import attrs
import pytest

from mailer import Email, InvalidEmail, InvalidSetting, Outgoing, Vetoed, load_settings
from mailer.hooks import before_enqueue, find_hooks, passed_through

EMAIL = Email(from_email="shop@example.com", to="ann@example.org", subject="Hi")


@pytest.fixture
def module(tmp_path, monkeypatch):
    """Writes a module that can be imported; gives its name."""
    monkeypatch.syspath_prepend(tmp_path)

    def write(name: str, text: str) -> str:
        (tmp_path / f"{name}.py").write_text(text)
        monkeypatch.delitem(__import__("sys").modules, name, raising=False)
        return name

    return write


def subjects(module, *bodies: str) -> str:
    """Pass an email through hooks that add a word each; gives its subject."""
    places = [
        module(f"hooks_{i}", f"import attrs\ndef pre_enqueue(email):\n    {body}\n")
        for i, body in enumerate(bodies)
    ]
    return passed_through(before_enqueue(places), EMAIL).subject


def test_each_hook_gets_what_the_one_before_has_made(module):
    add = "return attrs.evolve(email, subject=email.subject + '{}')"
    assert subjects(module, add.format(1), "return None", "pass", add.format(2)) == "Hi12"


def test_a_setting_may_name_several_places_and_objects_in_modules(module):
    module("several", "class Hooks:\n    @staticmethod\n    def pre_enqueue(email): pass\n")
    settings = load_settings(hooks="several:Hooks , several:Hooks")
    names = [hook.name for hook in before_enqueue(settings.hooks)]
    assert names == ["several:Hooks.pre_enqueue"] * 2
    assert find_hooks("pre_send", settings.hooks) == ()


@pytest.mark.parametrize(
    ("place", "text", "sentence"),
    [
        ("nosuchmodule", "", "can't import nosuchmodule: ModuleNotFoundError: No module named"),
        ("wrong", "1/0", "can't import wrong: ZeroDivisionError: division by zero"),
        ("wrong", "def pre_enqeue(email): pass", "wrong has no functions pre_enqueue or pre_send"),
        ("wrong", "pre_enqueue = 1", "wrong has no functions pre_enqueue or pre_send"),
        ("wrong", "async def pre_enqueue(email): pass", "wrong.pre_enqueue is async"),
        ("not a name", "", "can't import not a name: ValueError"),
    ],
)
def test_what_is_no_hook_is_a_wrong_setting(module, place, text, sentence):
    module("wrong", text)
    with pytest.raises(InvalidSetting, match=f"^MAILER_HOOKS: {sentence}"):
        before_enqueue([place])


def test_a_hook_that_returns_something_else_is_named(module):
    with pytest.raises(InvalidSetting, match=r"hooks_0\.pre_enqueue returned a dict, and no Email"):
        subjects(module, "return {}")


def test_a_veto_and_a_mistake_come_to_the_caller_as_they_are(module):
    with pytest.raises(Vetoed, match=r"^vetoed: no more$"):
        subjects(module, "from mailer import Vetoed; raise Vetoed('no more')")
    with pytest.raises(InvalidEmail, match=r"^subject: "):
        subjects(module, r"return attrs.evolve(email, subject='a\nb')")
    with pytest.raises(KeyError):
        subjects(module, "raise KeyError(1)")


def test_an_email_of_any_kind_can_be_changed():
    made = Email.from_message(b"From: shop@example.com\nTo: ann@example.org\nSubject: Hi\n\nHi\n")
    for email in (EMAIL, made):
        other = attrs.evolve(email, tags=["a"], to="bob@example.org")
        assert (other.tags, other.subject, other.prepared) == (("a",), "Hi", email.prepared)


def test_an_outgoing_email_is_checked_as_an_email_is_and_shows_nothing():
    outgoing = Outgoing(
        job_id="1",
        message_id="<1@example.com>",
        from_email=EMAIL.from_email,
        recipients=("canary@example.org",),
        tries=0,
        tags=(),
        metadata={"a": "canary"},
        subject="canary",
        text="canary",
        html="canary",
        headers={"X-Canary": "canary"},
        envelope_sender="bounces@example.com",
    )
    assert "canary" not in repr(outgoing).lower()
    for wrong in (
        {"subject": "a\r\nBcc: b@example.com"},
        {"headers": {"X-A": "a\nb"}},
        {"headers": {"Message-ID": "<2@example.com>"}},
        {"envelope_sender": "nobody"},
        {"text": b"bytes"},
    ):
        with pytest.raises(InvalidEmail):
            attrs.evolve(outgoing, **wrong)
