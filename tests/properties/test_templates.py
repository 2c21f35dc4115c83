"""Whatever a value in a template's context is, it stays a value."""

import re
from email import message_from_bytes
from email.policy import default
from html.parser import HTMLParser

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mailer import Email, TemplateError, load_settings
from mailer.address import forbidden_in_headers
from mailer.preview import preview
from mailer.templates import Template

SETTINGS = load_settings(redis_url="redis://nowhere.invalid")
HTML = """\
<!doctype html>
<html><head><title>{{ v }}</title>{% if css %}<style>
p { color: red } p > b { color: blue } a:hover { color: green } [title] { margin: 0 }
</style>{% endif %}</head>
<body><p title="{{ v }}" class='{{ v }}'>{{ v }}</p>
{% for item in [v, v] %}<b>{{ item }}</b>{% endfor %}
{% filter trim %}<i>{{ v }}</i>{% endfilter %}
{% set w %}<u>{{ v }}</u>{% endset %}{{ w }}
</body></html>
"""
TEMPLATE = Template.of(subject="Hi\n<{{ named }}>\n", text="Hi {{ v }}!\n", html=HTML)
PIECES = (
    *("{{ v }}", "{{ v.x }}", "{{ items[0] }}", "{{ items | join }}", "{{ v | upper }}"),
    *("{% for i in items %}", "{{ i }}", "{% endfor %}", "{% if v %}", "{% else %}", "{% endif %}"),
    *("{% set n = 1 %}", "{% raw %}", "{% endraw %}", "{#", "#}", "{{", "}}", "{%", "%}", "\n"),
    *("<style>p{color:red}</style>", "<p>", "{% include 'a/body.txt' %}", "{{ v + 1 }}", "é"),
)
TIMES = 2 + 5  # attributes, texts
untimed = settings(deadline=None)

HOSTILE = (
    *("<script>", "</title>", "</style>", "<!--", "-->", "{{ v }}", "{% raw %}", "&lt;", "&#60;"),
    *("]]>", '"', "'>", "<b>", "</p>", "\nBcc: a@example.org", "=?utf-8?q?=0A?="),
)
values = st.one_of(
    st.text(st.characters(exclude_categories=("Cs",)), max_size=100),
    st.text("<>&\"'=/-! {}%#;\n\t\0é=?a", max_size=60),
    st.lists(st.sampled_from(HOSTILE), max_size=8).map("".join),
)


class Structure(HTMLParser):
    """The tags of a page in their order, and all its texts and attributes' values."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.texts: list[str] = [""]
        self.attributes: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(f"<{tag} {' '.join(name for name, _ in attrs)}>")
        self.attributes += [value for _, value in attrs]
        self.texts.append("")

    def handle_endtag(self, tag):
        self.tags.append(f"</{tag}>")
        self.texts.append("")

    def handle_data(self, data):
        self.texts[-1] += data

    def handle_comment(self, data):
        self.tags.append("<!---->")

    def count(self, value: str) -> int:
        return sum(text == value for text in self.texts + self.attributes)


def sent(subject: str, text: str, html: str):
    email = Email(
        from_email="shop@example.com", to="ann@example.org", subject=subject, text=text, html=html
    )
    return message_from_bytes(preview(email, SETTINGS), policy=default)


def content(message, kind: str) -> str:
    return message.get_body([kind]).get_content().replace("\r\n", "\n")


@untimed
@given(values, st.booleans())
@example("</title><script>alert(1)</script>", True)
@example('"><img src=x onerror=alert(1)>', True)
@example("'><b>&amp;lt;</b><!--", False)
@example("\nBcc: all@example.org\n\n.\n", True)
def test_a_value_never_changes_the_structure_of_an_email(value, css):
    """HTML can't hold NUL, and does not tell CR from LF, whoever writes it."""
    value = value.replace("\0", "").replace("\r", "\n")
    named = "Ann" if forbidden_in_headers(value) else value
    rendered = TEMPLATE.render({"named": named, "v": value, "css": css})
    message = sent(rendered.subject, rendered.text, rendered.html)
    assert len(message.get_all("Subject")) == 1
    assert rendered.subject == f"Hi <{named}>"
    assert message["To"] == "ann@example.org"
    assert message["Bcc"] is None
    page = Structure(content(message, "html"))
    assert page.tags == Structure(TEMPLATE.render({"named": "x", "v": "x", "css": css}).html).tags
    assert page.count(value) >= TIMES
    assert content(message, "plain") == f"Hi {value}!\n"


@untimed
@given(values)
def test_a_value_with_a_control_character_is_refused_in_a_subject_and_no_other_is(value):
    subject = Template.of(subject="{{ v }}")
    if forbidden_in_headers(value):
        with pytest.raises(TemplateError, match=r"^template/subject\.txt:1: a value has the contr"):
            subject.render({"v": value})
    else:
        assert subject.render({"v": value}).subject == value.strip(" \t")


@untimed
@given(st.lists(st.sampled_from(PIECES), max_size=12).map("".join), values)
def test_a_template_is_rendered_the_same_elsewhere_or_refused_with_its_line(source, value):
    context = {"v": value, "items": [value, 1]}
    try:
        template = Template.of(text=source, html=source, name="a")
        rendered = template.render(context)
    except TemplateError as error:
        refused = error
    else:
        again = Template.from_json(template.to_json())
        assert again == template
        assert again.render(context) == rendered
        return
    assert re.match(r"a/body\.(txt|html)(:\d+)?$", refused.field)
