"""CSS that is moved to the elements that it is for, once an email is rendered."""

import http.server
import threading

import pytest

from mailer import TemplateError
from mailer.templates import Template


def inlined(html: str, *, inline_css: bool = True, **context) -> str:
    html = Template.of(html=html, inline_css=inline_css).render(context).html
    assert html is not None
    return html


def test_rules_become_styles_of_their_elements():
    html = inlined("<style>p { color: red }</style><p>{{ name }}</p>", name="<Ann>")
    assert html == ('<html><head></head><body><p style="color: red;">&lt;Ann&gt;</p></body></html>')


def test_elements_that_a_loop_brings_have_their_styles_too():
    html = inlined(
        "<style>tr:nth-child(even) { color: red }</style><table>"
        "{% for n in range(3) %}<tr><td>{{ n }}</td></tr>{% endfor %}</table>"
    )
    assert html.count('<tr style="color: red;">') == 1
    assert '<tr style="color: red;"><td>1</td></tr>' in html


@pytest.mark.parametrize(
    "rule",
    [
        "@media (max-width:600px){p{color:green}}",
        "a:hover { color: green; }",
        "@font-face{font-family:x;src:url(https://example.com/x)}",
    ],
)
def test_a_rule_that_no_element_can_have_stays(rule):
    html = inlined(f"<style>p {{ color: red }} {rule}</style><p><a href='x'>Hi</a></p>")
    assert f"<style>{rule}</style>" in html
    assert '<p style="color: red;">' in html


def test_rules_for_a_printer_are_not_for_every_reader():
    style = "p{color:black}"
    html = inlined(f'<style>p{{color:red}}</style><STYLE type="x" media="print">{style}</STYLE><p>')
    assert '<p style="color: red;">' in html
    assert style in html
    assert 'media="print"' in html


@pytest.mark.parametrize("html", ["<p class=a>Hi\n<br/>", "<!doctype html>\n<p>stylesheet</p>\n"])
def test_html_without_a_style_stays_as_it_is_written(html):
    assert inlined(html) == html


def test_inlining_can_be_left_out():
    html = "<style>p{color:red}</style><p>Hi"
    assert inlined(html, inline_css=False) == html


def test_conditional_comments_for_outlook_stay():
    comment = "<!--[if mso]><table><tr><td><![endif]-->"
    assert comment in inlined(f"<style>p{{color:red}}</style>{comment}<p>Hi</p>")


def test_broken_css_does_no_harm():
    html = inlined("<style>}}p{color:red} b{color</style><p><b>{{ name }}</b></p>", name="Ann")
    assert "Ann" in html


def test_a_style_attribute_that_is_none_is_told_and_not_sent():
    reason = r"^template/body\.html: its CSS can't be inlined: End of input$"
    with pytest.raises(TemplateError, match=reason):
        inlined('<style>p{color:red}</style><p style="color">')


def test_no_stylesheet_is_ever_fetched_or_read(tmp_path):
    (tmp_path / "a.css").write_text("p { color: green }")
    asked = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_error(404)

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        url = f"http://127.0.0.1:{server.server_port}"
        html = inlined(
            f'<link rel="stylesheet" href="{url}/a.css">'
            f'<link rel="stylesheet" href="{tmp_path}/a.css">'
            f'<link rel="stylesheet" href="file://{tmp_path}/a.css">'
            f"<style>@import url({url}/b.css); b {{ color: red }}</style><p><b>Hi</b></p>"
        )
        server.shutdown()
        thread.join()
    assert asked == []
    assert "green" not in html
    assert html.count("<link") == 3, "they stay for those who show them"
    assert '<b style="color: red;">' in html
