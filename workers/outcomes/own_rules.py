"""Rules of the settings: ``[[rules]]`` in ``mailer.toml``."""

import re
from collections.abc import Sequence

from mailer.errors import InvalidSetting
from mailer.sections import RuleSettings
from mailer.settings import Settings
from workers.outcomes.rules import MESSAGE, RULES, Action, Rule

_CODE = re.compile(r"[45]\d{0,2}")
_ENHANCED = re.compile(r"[45x]\.(?:\d|x){1,3}\.(?:\d|x){1,3}")


def rules(settings: Settings) -> Sequence[Rule]:
    """Put the rules of the settings before ours.

    Raises:
        InvalidSetting: naming the rule and the key that is wrong.
    """
    own = [_rule(table, f"rules[{i}]") for i, table in enumerate(settings.rules)]
    return (*own, *RULES)


def _rule(table: RuleSettings, place: str) -> Rule:
    if not (table.codes or table.enhanced or table.phrase):
        raise InvalidSetting(f"{place}: would fit any reply; give codes, enhanced or a phrase")
    _check(table.codes, _CODE, f"{place}.codes", "4, 45 or 452")
    _check(table.enhanced, _ENHANCED, f"{place}.enhanced", "4.7.1 or x.7.1")
    if unknown := set(table.phases) - set(MESSAGE):
        known = ", ".join(MESSAGE)
        raise InvalidSetting(f"{place}.phases: {min(unknown)!r} is none of {known}")
    try:
        return Rule(
            name=table.name,
            action=Action(table.action),
            meaning="A rule of the settings.",
            phases=table.phases,
            codes=table.codes or ("4", "5"),
            enhanced=table.enhanced,
            phrase=table.phrase,
            wait=table.wait,
        )
    except re.error as error:
        raise InvalidSetting(f"{place}.phrase: is no regular expression: {error}") from None


def _check(values: Sequence[str], form: re.Pattern[str], place: str, example: str) -> None:
    for value in values:
        if not form.fullmatch(value):
            raise InvalidSetting(f"{place}: {value!r} should look like {example}")
