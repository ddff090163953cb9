"""Chat templates as transformers renders them: Python's jinja2 in transformers' own sandboxed environment."""

from datetime import datetime
from typing import Any

from transformers.utils.chat_template_utils import _compile_jinja_template

NOW = datetime(2025, 7, 4, 15, 16, 17)
ENVIRONMENT = _compile_jinja_template("").environment


def render(template: str, variables: dict[str, Any]) -> str:
    """The rendered text; strftime_now() answers with NOW. Raises what jinja2 or Python raises."""
    return ENVIRONMENT.from_string(template).render(strftime_now=NOW.strftime, **variables)
