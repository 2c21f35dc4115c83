"""docs/delivery.md says what the code does."""

import tomllib

import pytest
from pages import snippets, table

from mailer import Settings
from workers.outcomes.own_rules import rules
from workers.outcomes.rules import BROKEN_OFF, KEPT_BACK, NO_SESSION, NOT_READY, RULES, UNKNOWN
from workers.relays.relay import relays
from workers.relays.routes import Routes

# RFC 5321, section 4.5.3.2, by setting
_RFC = {
    "smtp_connect_seconds": "5 minutes for the greeting",
    "smtp_command_seconds": "5 minutes each",
    "smtp_data_seconds": "2 minutes",
    "smtp_block_seconds": "3 minutes",
    "smtp_final_seconds": "10 minutes",
    "smtp_idle_seconds": "—",
}


def timeouts_table() -> str:
    lines = ["| Setting | Seconds | RFC 5321, 4.5.3.2 | |", "|---|---|---|---|"]
    for name, words in _RFC.items():
        field = Settings.model_fields[name]
        setting = f"`MAILER_{name.upper()}`"
        lines.append(f"| {setting} | {field.default:g} | {words} | {field.description} |")
    return "\n".join(lines)


def test_the_table_of_timeouts_says_what_the_code_says():
    right = timeouts_table()
    assert table("docs/delivery.md", "timeouts") == right, f"paste this:\n\n{right}\n"


def rules_table() -> str:
    lines = ["| Rule | Reply | To | Leads to | Meaning |", "|---|---|---|---|---|"]
    for rule in (*RULES, NO_SESSION, BROKEN_OFF, UNKNOWN, NOT_READY, KEPT_BACK):
        criteria = [*(f"{code}yz"[:3] for code in rule.codes), *rule.enhanced]
        if rule.phrase:
            phrase = rule.phrase.replace("|", "&#124;")
            criteria.append(f"<code>{phrase}</code>")
        wait = f", {rule.wait:g} s at least" if rule.wait else ""
        to = ", ".join(rule.phases) or "any"
        reply = "; ".join(criteria) or ("any other" if rule in RULES else "none")
        cells = [rule.name, reply, to, f"{rule.action}{wait}", rule.meaning]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def test_the_table_of_rules_says_what_the_code_says():
    right = rules_table()
    assert table("docs/delivery.md", "rules") == right, f"paste this:\n\n{right}\n"


@pytest.mark.parametrize("snippet", [*snippets("toml")], ids=str)
def test_settings_that_are_shown_are_understood(snippet):
    shown = tomllib.loads(snippet.text)
    settings = Settings(**shown)
    if "relays" in shown:
        named = relays(settings)
        assert len(named) == len(shown["relays"])
        assert len(Routes.read(settings, named).routes) == max(1, len(shown.get("routes", [])))
    assert len(rules(settings)) == len(RULES) + len(shown.get("rules", []))
    for name in shown.get("retry_policies", []):
        assert settings.named_policy(name).delays
