"""A folder of templates: names, locales, and files that can't be used."""

import os

import pytest

from mailer import InvalidArgument, InvalidEmail, TemplateError
from mailer.templates import Templates

WELCOME = {
    "layout.html": "<h1>{{ shop }}</h1>{% block content %}{% endblock %}{% include 'footer.txt' %}",
    "footer.txt": "The shop\n",
    "de/footer.txt": "Der Laden\n",
    "welcome/subject.txt": "Welcome, {{ name }}\n",
    "welcome/body.txt": "Hello\n\n{% include 'footer.txt' %}",
    "welcome/body.html": "{% extends 'layout.html' %}{% block content %}Hello{% endblock %}",
    "de/welcome/subject.txt": "Willkommen, {{ name }}\n",
    "de/welcome/body.html": "{% extends 'layout.html' %}{% block content %}Hallo{% endblock %}",
    "de_AT/welcome/subject.txt": "Servus, {{ name }}\n",
}
CONTEXT = {"shop": "S&Co", "name": "Ann"}
ENVELOPE = {"from_email": "shop@example.com", "to": "ann@example.org"}


@pytest.fixture
def write(tmp_path):
    def write(files: dict[str, str | bytes]) -> None:
        for path, content in files.items():
            file = tmp_path / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content if isinstance(content, bytes) else content.encode())

    return write


@pytest.fixture
def templates(write, tmp_path) -> Templates:
    write(WELCOME)
    return Templates(tmp_path)


def refused(templates: Templates, name: str, **more) -> str:
    with pytest.raises(TemplateError) as caught:
        templates.load(name, **more)
    return str(caught.value)


def test_a_folder_is_an_email(templates):
    email = templates.email("welcome", CONTEXT, **ENVELOPE, tags=["welcome"])
    assert email.subject == "Welcome, Ann"
    assert email.text == "Hello\n\nThe shop\n"
    assert email.html == "<h1>S&amp;Co</h1>HelloThe shop\n"
    assert email.tags == ("welcome",)
    assert email.to[0].email == "ann@example.org"


@pytest.mark.parametrize(
    ("locale", "subject", "html"),
    [
        (None, "Welcome, Ann", "<h1>S&amp;Co</h1>HelloThe shop\n"),
        ("de", "Willkommen, Ann", "<h1>S&amp;Co</h1>HalloDer Laden\n"),
        ("de-DE", "Willkommen, Ann", "<h1>S&amp;Co</h1>HalloDer Laden\n"),
        ("de-AT", "Servus, Ann", "<h1>S&amp;Co</h1>HalloDer Laden\n"),
        ("DE_at", "Servus, Ann", "<h1>S&amp;Co</h1>HalloDer Laden\n"),
        ("fr-CA", "Welcome, Ann", "<h1>S&amp;Co</h1>HelloThe shop\n"),
        ("zh-Hant-TW", "Welcome, Ann", "<h1>S&amp;Co</h1>HelloThe shop\n"),
    ],
)
def test_a_locale_falls_back_to_its_language_and_then_to_no_locale(
    templates, locale, subject, html
):
    rendered = templates.load("welcome", locale).render(CONTEXT)
    assert (rendered.subject, rendered.html) == (subject, html)


def test_an_email_is_never_in_two_languages(templates):
    """The German one has no text, and does not take the English one."""
    assert templates.load("welcome", "de").render(CONTEXT).text is None


def test_plain_text_is_derived_from_html_where_there_is_none(templates):
    assert templates.email("welcome", CONTEXT, locale="de", **ENVELOPE).text_from_html
    assert not templates.email("welcome", CONTEXT, **ENVELOPE).text_from_html
    own = templates.email("welcome", CONTEXT, locale="de", text="Hallo\n", **ENVELOPE)
    assert (own.text, own.text_from_html) == ("Hallo\n", False)
    none = templates.email("welcome", CONTEXT, locale="de", text_from_html=False, **ENVELOPE)
    assert (none.text, none.text_from_html) == (None, False)


def test_a_default_locale_is_taken_before_the_templates_of_none(write, tmp_path):
    write(WELCOME | {"en/welcome/subject.txt": "In English"})
    templates = Templates(tmp_path, default_locale="en-GB")
    subjects = {
        locale: templates.load("welcome", locale).render(CONTEXT).subject
        for locale in (None, "fr", "de")
    }
    assert subjects == {None: "In English", "fr": "In English", "de": "Willkommen, Ann"}


def test_templates_may_be_in_locales_only(write, tmp_path):
    write({"en/hi/body.txt": "Hi", "de/hi/body.txt": "Hallo"})
    templates = Templates(tmp_path, default_locale="en")
    assert templates.names() == ["hi"]
    assert templates.locales("hi") == ["de", "en"]
    assert templates.load("hi", "fr").render({}).text == "Hi\n"


def test_templates_are_listed_by_name_and_locale(templates, write):
    write({"orders/shipped/body.txt": "", "otp/body.txt": "", "notes/readme.md": ""})
    assert templates.names() == ["orders/shipped", "otp", "welcome"]
    assert templates.locales("welcome") == ["de", "de_AT"]
    assert templates.locales("otp") == []


def test_a_field_wins_over_the_template(templates):
    email = templates.email("welcome", CONTEXT, subject="Mine", **ENVELOPE)
    assert email.subject == "Mine"


def test_a_template_without_a_subject_needs_one_given(write, tmp_path):
    write({"hi/body.txt": "Hi"})
    templates = Templates(tmp_path)
    with pytest.raises(TemplateError, match=r"hi: has no subject\.txt"):
        templates.email("hi", **ENVELOPE)
    assert templates.email("hi", **ENVELOPE, subject="Hi").text == "Hi\n"


def test_fields_are_checked_as_those_of_any_email(templates):
    with pytest.raises(InvalidEmail, match="recipient: is no field of Email"):
        templates.email("welcome", CONTEXT, **ENVELOPE, recipient="x")


def test_files_are_read_once(templates, write, tmp_path):
    first = templates.load("welcome")
    write({"welcome/subject.txt": "Another"})
    assert templates.load("welcome") is first
    assert templates.load("welcome", "fr") is first, "a locale without templates is none of its own"
    assert Templates(tmp_path).load("welcome").render(CONTEXT).subject == "Another"


def test_files_are_read_again_where_asked(write, tmp_path):
    write(WELCOME)
    templates = Templates(tmp_path, reload=True)
    templates.load("welcome")
    write({"welcome/subject.txt": "Another", "layout.html": "New", "fr/welcome/body.txt": "Salut"})
    rendered = templates.load("welcome").render(CONTEXT)
    assert (rendered.subject, rendered.html) == ("Another", "New")
    assert templates.load("welcome", "fr").render({}).text == "Salut\n"


def test_a_byte_order_mark_is_not_sent(write, tmp_path):
    write({"hi/body.txt": b"\xef\xbb\xbfHi"})
    assert Templates(tmp_path).load("hi").render({}).text == "Hi\n"


def test_an_unknown_template_is_told_with_those_that_there_are(templates, tmp_path):
    assert refused(templates, "welcom") == (
        f"welcom: there is no such template in {tmp_path}; there are: welcome"
    )


@pytest.mark.parametrize(
    "name", ["../welcome", "/etc", "welcome/", "a//b", ".", "", "a\\b", "a\0", None, 3]
)
def test_a_name_that_leads_elsewhere_is_refused(templates, name):
    assert "is no name of a template" in refused(templates, name)


def test_a_name_may_be_long(templates):
    assert "can't be read: File name too long" in refused(templates, "a" * 300)


@pytest.mark.parametrize(
    "locale", ["../de", "d", "de/", "german!", "de-AT-", 4, "de\n", "de-x-x-x-x-x"]
)
def test_what_is_no_locale_is_refused(templates, locale):
    assert "is none; write de or de-AT" in refused(templates, "welcome", locale=locale)


def test_a_link_out_of_the_folder_is_refused(templates, write, tmp_path):
    write({"a/body.txt": "{% include 'hosts.txt' %}"})
    (tmp_path / "hosts.txt").symlink_to("/etc/hosts")
    (tmp_path / "b").symlink_to("/etc")
    assert refused(templates, "a") == f"hosts.txt: lies outside of {tmp_path}"
    assert "lies outside of" in refused(templates, "b")


def test_a_link_within_the_folder_is_followed(templates, tmp_path):
    (tmp_path / "hello").symlink_to(tmp_path / "welcome")
    assert templates.load("hello").render(CONTEXT).subject == "Welcome, Ann"


def test_a_file_that_is_no_text_is_refused_with_its_line(templates, write):
    write({"a/body.txt": b"Hi\n\n\xff"})
    assert refused(templates, "a") == "a/body.txt:3: is not UTF-8"


def test_a_pipe_is_no_template_and_holds_nothing_up(templates, tmp_path):
    (tmp_path / "a").mkdir()
    os.mkfifo(tmp_path / "a/body.txt")
    assert "there is no such template" in refused(templates, "a")


def test_a_mistake_is_told_when_a_template_is_loaded(templates, write):
    write({"a/body.html": "{% extends 'layout.html' %}", "layout.html": "\n{{ x | shout }}"})
    assert refused(templates, "a") == "layout.html:2: No filter named 'shout'."


def test_a_folder_must_be_there(tmp_path, monkeypatch):
    with pytest.raises(InvalidArgument, match=f"there is no folder {tmp_path}/x; .*MAILER_TEMPL"):
        Templates(tmp_path / "x")


def test_sample_data_lies_beside_a_template(templates, write):
    assert templates.sample("welcome") is None
    write({"welcome/sample.json": '{"name": "Ann"}', "de/welcome/sample.toml": 'name = "Änne"'})
    assert templates.sample("welcome") == {"name": "Ann"}
    assert templates.sample("welcome", "de-AT") == {"name": "Änne"}


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ('{"a":\n}', "welcome/sample.json:2: is not JSON: Expecting value"),
        ("[]", "welcome/sample.json: is not an object of names and values"),
        (b"\xff", "welcome/sample.json: is not UTF-8"),
    ],
)
def test_sample_data_that_can_not_be_read_is_told(templates, write, content, reason):
    write({"welcome/sample.json": content})
    with pytest.raises(TemplateError) as caught:
        templates.sample("welcome")
    assert str(caught.value) == reason
