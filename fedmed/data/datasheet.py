"""Datasheets: what each built-in data set is, where it comes from, and its traps, as Markdown."""

from importlib import resources

from fedmed.system import errors


def datasheets() -> list[str]:
    """Returns the names of the data sets that have a datasheet, sorted."""
    folder = resources.files("fedmed.data").joinpath("datasheets")
    return sorted(entry.name.removesuffix(".md") for entry in folder.iterdir() if entry.name.endswith(".md"))


def datasheet(name: str) -> str:
    """Returns the datasheet of the built-in data set `name` as Markdown.

    Raises:
        DataError: there is no datasheet of that name; the message lists those there are.
    """
    names = datasheets()
    if name not in names:
        raise errors.DataError(errors.unknown("datasheet", "data set", name, names))
    return resources.files("fedmed.data").joinpath("datasheets", f"{name}.md").read_text(encoding="utf-8")
