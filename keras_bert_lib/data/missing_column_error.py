"""The error of a column that is asked for and not there."""


class MissingColumnError(ValueError):
    """A table has not a column that is asked for.

    Args:
        where: str, the table, or its row.
        column: str, what is asked for.
        present: list of str, the columns that are there.
        remedy: str, a sentence.
    """

    def __init__(self, where, column, present, remedy):
        names = ", ".join(f'"{name}"' for name in present)
        super().__init__(f'{where} has no column "{column}". {remedy} Received columns: {names}')
        self.where = where
        self.column = column
        self.present = present
