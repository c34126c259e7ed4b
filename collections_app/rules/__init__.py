"""The rule language: one syntax tree, two back ends, one meaning.

``syntax`` reads text, ``names`` says what each word means and who may say it,
``values`` holds the one table of operators. ``paths`` (relations), ``operators``
(one comparison) and ``conditions`` (quantifiers, groups) each say the same thing
twice, as SQL and in memory; ``language`` is what others call.
"""

from collections_app.rules.env import RuleEnv
from collections_app.rules.language import (
    ALWAYS,
    NEVER,
    Rule,
    SortPath,
    compile_filter,
    compile_path,
    compile_rule,
    rename,
)
from collections_app.rules.names import Mention
from collections_app.rules.syntax import RuleError

__all__ = [
    "ALWAYS",
    "NEVER",
    "Mention",
    "Rule",
    "RuleEnv",
    "RuleError",
    "SortPath",
    "compile_filter",
    "compile_path",
    "compile_rule",
    "rename",
]
