"""One template: what it renders to, what it refuses, and that it is the same everywhere."""

import pickle

import pytest

from mailer import InvalidArgument, InvalidEmail, TemplateError
from mailer.templates import Template
from mailer.templates.references import reachable


def mistake(context=None, **parts) -> str:
    """Say why a template can't be made or rendered."""
    with pytest.raises(TemplateError) as caught:
        Template.of(**parts).render(context or {})
    return str(caught.value)


def test_values_are_escaped_in_html_and_nowhere_else():
    template = Template.of(subject="{{ v }}", text="{{ v }}", html='<b title="{{ v }}">{{ v }}</b>')
    rendered = template.render({"v": '<i> & "co"'})
    assert rendered.subject == '<i> & "co"'
    assert rendered.text == '<i> & "co"\n'
    escaped = "&lt;i&gt; &amp; &#34;co&#34;"
    assert rendered.html == f'<b title="{escaped}">{escaped}</b>'


def test_a_partial_is_escaped_by_the_part_that_includes_it_whatever_it_is_called():
    sources = {
        "a/body.html": "{% include 'name.txt' %}",
        "a/body.txt": "{% include 'name.txt' %}",
        "name.txt": "{{ name }}",
    }
    template = Template(name="a", sources=sources, text="a/body.txt", html="a/body.html")
    rendered = template.render({"name": "<i>"})
    assert (rendered.text, rendered.html) == ("<i>\n", "&lt;i&gt;")


@pytest.mark.parametrize(
    ("source", "subject"),
    [
        ("Hi {{ name }}\n", "Hi Ann"),
        ("\n  Hi\n  {% if name %}\n  dear\n  {% endif %}\n  {{ name }}  \n\n", "Hi dear Ann"),
        ("Two  spaces\u00a0€", "Two  spaces\u00a0€"),
        ("", ""),
    ],
)
def test_the_lines_of_a_layout_become_one_subject(source, subject):
    assert Template.of(subject=source).render({"name": "Ann"}).subject == subject


@pytest.mark.parametrize(
    "value",
    ["a\nBcc: all@example.org", "a\r\n", "a\u2028", "a\x00", "\ud800", "=?utf-8?q?a=0Ab?="],
)
def test_a_value_that_would_end_the_subject_is_refused(value):
    reason = mistake({"name": value}, subject="\nHi\n{{ name }}")
    assert reason.startswith("template/subject.txt:3: a value has the control character ")


def test_two_values_can_not_be_joined_to_a_line_break_in_the_subject():
    values = {"a": "=?utf-8?q?x=0A", "b": "y?="}
    assert "control character" in mistake(values, subject="{{ a }}{{ b }}")


def test_lines_keep_to_what_is_written():
    text = "\n\nHi\n\n{% for item in items %}\n  * {{ item }}\n{% endfor %}\n\nBye\n\n"
    rendered = Template.of(text=text).render({"items": [1, 2]})
    assert rendered.text == "Hi\n\n  * 1\n  * 2\n\nBye\n"


def test_a_text_that_renders_to_nothing_is_empty():
    assert Template.of(text="{% if no %}Hi{% endif %}\n").render({"no": False}).text == ""


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("\n\n{{ nme }}", ":3: 'nme' is undefined"),
        ("\n{{ user.nme }}", ":2: 'dict object' has no attribute 'nme'"),
        ("{% if nme %}{% endif %}", ":1: 'nme' is undefined"),
        ("a\n{{ x", ":2: unexpected end of template, expected 'end of print statement'."),
        ("a\n{% if x %}", ":2: Unexpected end of template."),
        ("a\n{% raw %}\nb", ":2: Missing end of raw directive"),
        ("{{ x | shout }}", ":1: No filter named 'shout'."),
        ("\n{{ secret + 1 }}", ":2: TypeError in an expression"),
        ("{{ secret.__class__ }}", ":1: access to attribute '__class__' of 'str' object is unsafe"),
        ("{{ items.append(1) }}", ":1: access to attribute 'append' of 'list' object is unsafe"),
        ("{{ range(10**9) }}", ":1: OverflowError in an expression"),
        ("{% include 'template/body.txt' %}", ":1: it includes or extends itself without an end"),
        ("{% extends 'template/body.txt' %}", ":1: it includes or extends itself without an end"),
        ("\n{% include 'x' %}", ":2: there is no template 'x'"),
        ("{% include ['x', 'y'] %}", ":1: there is no template 'x' or 'y'"),
        ("{% include secret %}", ":1: the name of a template is computed"),
        ("\n{% extends '../x' %}", ":2: '../x' is no name of a template"),
        ("\ud800", ": can't be encoded: a lone surrogate at character 0"),
        ("{{ surrogate }}", ": can't be encoded: a lone surrogate at character 0"),
    ],
)
def test_a_mistake_is_told_with_its_file_and_line(source, reason):
    context = {"user": {}, "secret": "hunter2", "items": [], "surrogate": "\udfff"}
    told = mistake(context, text=source)
    assert told.startswith(f"template/body.txt{reason}")
    assert "hunter2" not in told


def test_a_mistake_in_a_macro_is_told_where_it_is():
    sources = {
        "a/body.txt": "{% from 'm.txt' import greet %}\n{{ greet(name) }}",
        "m.txt": "{% macro greet(who) %}\n\n{{ who.first }}\n{% endmacro %}",
    }
    with pytest.raises(TemplateError, match=r"^m\.txt:3: 'str object' has no attribute 'first'$"):
        Template(name="a", sources=sources, text="a/body.txt").render({"name": "Ann"})


def test_an_error_is_that_of_an_email_and_survives_pickling():
    error = pickle.loads(pickle.dumps(TemplateError("welcome/body.txt:3", "'x' is undefined")))
    assert isinstance(error, InvalidEmail)
    assert (error.field, error.reason) == ("welcome/body.txt:3", "'x' is undefined")


def test_the_exception_of_a_value_is_the_cause():
    class Broken:
        def __str__(self):
            raise LookupError("gone")

    with pytest.raises(TemplateError, match="LookupError in an expression") as caught:
        Template.of(text="{{ v }}").render({"v": Broken()})
    assert isinstance(caught.value.__cause__, LookupError)


def test_a_context_is_a_mapping():
    with pytest.raises(InvalidArgument, match="context: maps names to values; not list"):
        Template.of(text="Hi").render(["name"])


@pytest.mark.parametrize("source", ["{{ [1, 2] | random }}", "{{ lipsum() }}"])
def test_chance_has_no_say_in_what_is_sent(source):
    assert "random" in mistake(text=source) or "'lipsum' is undefined" in mistake(text=source)


def test_a_template_can_not_change_what_others_get():
    context = {"items": [1]}
    assert "unsafe" in mistake(context, text="{{ items.clear() }}")
    assert context == {"items": [1]}


def test_a_template_that_was_written_down_and_read_again_is_the_same():
    template = Template.of(subject="Hi", text="{{ a }}", html="<p>{{ a }}</p>", name="welcome")
    again = Template.from_json(template.to_json())
    assert again == template
    assert hash(again) == hash(template)
    assert again.to_json() == template.to_json()
    before = template.to_json()
    template.render({"a": "1"})
    assert template.to_json() == before, "what was worked out meanwhile is no part of it"
    assert again.render({"a": "é"}) == template.render({"a": "é"})


def test_the_same_sources_are_the_same_bytes_in_whatever_order_they_were_read():
    files = {"a/body.txt": "{% include 'b' %}{% include 'c' %}", "b": "1", "c": "2"}
    first = Template(name="a", sources=files, text="a/body.txt")
    second = Template(name="a", sources=dict(reversed(files.items())), text="a/body.txt")
    assert first.to_json() == second.to_json()
    assert first.sha256 == second.sha256
    assert first != Template(name="a", sources=files | {"c": "3"}, text="a/body.txt")


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b'{"name": 1, "sources": {}}', b"\xff"])
def test_what_is_no_template_is_refused(content):
    with pytest.raises(InvalidArgument, match="template: is not what to_json makes"):
        Template.from_json(content)


def test_a_template_that_was_tampered_with_is_a_clear_error():
    template = Template.from_json(b'{"name": "a", "sources": {}, "text": "a/body.txt"}')
    with pytest.raises(TemplateError, match=r"a/body\.txt: there is no template 'a/body\.txt'"):
        template.render({})


def test_only_what_a_part_refers_to_is_taken_along():
    files = {"a": "{% import 'b' as b %}{% include ['x', 'c'] ignore missing %}", "b": "", "c": ""}
    files |= {"other": "{{ secret }}"}

    def find(name):
        return (name, files[name]) if name in files else None

    assert reachable([("a", files["a"])], find).keys() == {"a", "b", "c"}


def test_a_repr_has_nothing_of_the_content():
    template = Template.of(subject="canary", text="canary", html="canary")
    assert "canary" not in repr(template)
    rendered = template.render({})
    assert "canary" not in repr(rendered).replace("subject='canary'", "")
