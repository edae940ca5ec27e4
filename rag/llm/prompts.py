"""Prompts, from files of the package `prompts`: Jinja templates in Markdown, one section for each message.

A file begins with ``{# variables: question, exhibit #}``. ``## system``, ``## user`` and ``## assistant`` on lines of
their own begin the messages. The file is split before values are filled in, so no value can begin a message.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jinja2 import Template

_VARIABLES = re.compile(r"\{# variables: ([\w, ]*) #\}\n")
_ROLE = re.compile(r"^## (system|user|assistant)\n", re.M)


@dataclass(frozen=True)
class Prompt:
    """A conversation with variables.

    Attributes:
        name: name of its file.
        variables: names of the values that it needs.
        sections: role and template of each message.
    """

    name: str
    variables: frozenset[str]
    sections: tuple[tuple[str, Template], ...]

    def messages(self, values: Mapping[str, object]) -> list[dict[str, str]]:
        """Return the conversation with its variables filled in.

        Raises:
            ValueError: a value is missing or unknown.
        """
        if self.variables != set(values):
            raise ValueError(f"prompt {self.name} takes {sorted(self.variables)}, and got {sorted(values)}")
        return [{"role": role, "content": template.render(values).strip()} for role, template in self.sections]


@cache
def load(name: str) -> Prompt:
    """Load the prompt in the file ``prompts/<name>.md``.

    Raises:
        ValueError: it declares other variables than it uses.
    """
    return parse(name, resources.files("prompts").joinpath(f"{name}.md").read_text("utf-8"))


def parse(name: str, text: str) -> Prompt:
    """Parse the text of a prompt file.

    Raises:
        ValueError: it does not declare its variables, has no messages, or declares other variables than it uses.
    """
    from jinja2 import Environment, StrictUndefined, meta

    declared = _VARIABLES.match(text)
    parts = _ROLE.split(text[declared.end() :]) if declared else []
    if declared is None or len(parts) < 3 or parts[0].strip():
        raise ValueError(f"prompt {name} must begin with its variables and the role of its first message")
    variables = frozenset(re.findall(r"\w+", declared[1]))
    environment = Environment(undefined=StrictUndefined, autoescape=False)
    used = meta.find_undeclared_variables(environment.parse("".join(parts[2::2])))
    if used != variables:
        raise ValueError(f"prompt {name} declares {sorted(variables)} and uses {sorted(used)}")
    sections = zip(parts[1::2], parts[2::2], strict=True)
    return Prompt(name, variables, tuple((role, environment.from_string(body)) for role, body in sections))
