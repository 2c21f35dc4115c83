"""A step that protects emails, and how to take it out."""

from pathlib import Path

import attrs

ROOT = Path(__file__).parents[2]
# Passes whatever step is missing: it is a fair-weather test. Where it fails too, the step was not
# taken out, but the program broken, and that other tests fail then proves nothing.
FAIR_WEATHER = "tests/integration/test_courier.py::test_an_email_goes_from_the_agenda_to_the_relay"


class Stale(Exception):
    """The table does not fit the code any more."""


@attrs.frozen
class Step:
    """One step.

    Attributes:
        name: what is removed, as a noun phrase.
        without: what would happen then.
        file: from the root of the project.
        text: what the step is written as; it occurs once in the file.
        instead: what to put in its place.
        tests: the node ids of tests that fail then, each of them.
    """

    name: str
    without: str
    file: str
    text: str
    instead: str
    tests: tuple[str, ...]

    def removed(self, root: Path = ROOT) -> str:
        """Give the file's text without the step.

        Raises:
            Stale: the step is not there, or not only once.
        """
        text = (root / self.file).read_text()
        if (found := text.count(self.text)) != 1:
            raise Stale(
                f"{self.name}: its text occurs {found} times in {self.file}, and should once; "
                f"mend its entry in tests/sabotage:\n{self.text}"
            )
        return text.replace(self.text, self.instead)
