"""Prompts are files: Markdown with Jinja placeholders, in the package `prompts`."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from rag.errors import SettingsError

if TYPE_CHECKING:
    from jinja2 import Template


@dataclass(frozen=True)
class Prompt:
    """A prompt and the names that it must be given."""

    name: str
    variables: frozenset[str]
    template: Template

    def render(self, **values: Any) -> str:
        """The prompt with its placeholders filled; raises SettingsError where the names do not fit."""
        if set(values) != self.variables:
            raise SettingsError(f"Prompt `{self.name}` takes {sorted(self.variables)}, not {sorted(values)}.")
        return self.template.render(**values).strip()


@cache
def load(name: str, *variables: str) -> Prompt:
    """The prompt `prompts/NAME.md`, which must use exactly these variables.

    Raises:
        SettingsError: there is no such prompt, or it uses other variables.
    """
    from jinja2 import Environment, StrictUndefined, meta

    file = files("prompts") / f"{name}.md"
    if not file.is_file():
        raise SettingsError(f"There is no prompt `{name}`.")
    text = file.read_text(encoding="utf-8")
    environment = Environment(undefined=StrictUndefined, autoescape=False, trim_blocks=True, lstrip_blocks=True)
    used = meta.find_undeclared_variables(environment.parse(text))
    if used != set(variables):
        raise SettingsError(f"Prompt `{name}` uses {sorted(used)}, not {sorted(variables)}.")
    return Prompt(name, frozenset(variables), environment.from_string(text))
