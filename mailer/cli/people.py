"""A list of people as a CSV file: a line with the names of the columns, then a line for each."""

import csv
import hashlib
from array import array
from collections.abc import Callable, Iterator
from pathlib import Path

from mailer.errors import InvalidArgument

_ADDRESS = ("to", "email", "e-mail")
_DELIMITERS = ",;\t"


class People:
    """Reads such a file as rows for `Mailer.enqueue_batch`, as often as is asked for.

    Args:
        column: with the addresses; without it, ``to``, ``email`` or ``e-mail``.

    Raises:
        InvalidArgument: the first line has no such column, or names one twice.
    """

    def __init__(self, file: Path, column: str | None = None) -> None:
        self.file = file
        self._lines, self._uneven = array("Q"), dict[int, int]()
        with file.open("rb") as binary:
            first = binary.readline().decode("utf-8-sig", "replace")
        self._delimiter = max(_DELIMITERS, key=first.count)
        self._names = next(csv.reader([first], delimiter=self._delimiter), [])
        self._names = [name.strip() for name in self._names]
        self._address = self._found(column)

    def rows(self, progress: Callable[[int], None]) -> Iterator[dict[str, str]]:
        """Read the rows anew.

        Args:
            progress: told how many bytes of the file have been read.

        Raises:
            InvalidArgument: naming the line that is no UTF-8, or no CSV.
        """
        self._lines, self._uneven = array("Q"), {}
        with self.file.open("rb") as binary:
            lines = (_decoded(line, number) for number, line in enumerate(binary, 1))
            reader = csv.reader(lines, delimiter=self._delimiter, strict=True)
            next(reader, None)
            number = reader.line_num + 1
            try:
                for values in reader:
                    if values:  # else the line is empty
                        self._lines.append(number)
                        yield self._row(values)
                    number = reader.line_num + 1
                    if len(self._lines) % 100 == 0:
                        progress(binary.tell())
            except csv.Error as error:
                raise InvalidArgument(f"line {number}", f"is no CSV: {error}") from None

    def line_of(self, row: int) -> int:
        """Tell where a row begins that was read."""
        return self._lines[row]

    def fault_of(self, row: int) -> str | None:
        """Say what is wrong with a row that was read, whatever is done with it."""
        if (number := self._uneven.get(row)) is None:
            return None
        values = "a value" if number == 1 else f"{number} values"
        return f"has {values}; line 1 names {len(self._names)} columns"

    def digest(self) -> str:
        """Identify what is in the file."""
        with self.file.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    def _row(self, values: list[str]) -> dict[str, str]:
        """Name the values; a row with too many or too few has none, so that it is refused."""
        if len(values) != len(self._names):
            self._uneven[len(self._lines) - 1] = len(values)
            return {}
        row = dict(zip(self._names, values, strict=True))
        row["to"] = row[self._address].strip()
        return row

    def _found(self, column: str | None) -> str:
        for name in self._names:
            if self._names.count(name) > 1:
                raise InvalidArgument(f"line 1 of {self.file.name}", f"names {name!r} twice")
        known = {name.lower(): name for name in self._names}
        for name in (column.lower(),) if column else _ADDRESS:
            if name in known:
                return known[name]
        wanted = column or "to or email"
        raise InvalidArgument(
            f"line 1 of {self.file.name}",
            f"names no column {wanted}; it has {', '.join(self._names) or 'none'}. "
            "--column names another one",
        )


def _decoded(line: bytes, number: int) -> str:
    try:
        return line.decode("utf-8-sig" if number == 1 else "utf-8")
    except UnicodeDecodeError:
        raise InvalidArgument(f"line {number}", "is not UTF-8; save the file as UTF-8") from None
