"""The rule language: one syntax tree, two back ends, one meaning.

``syntax`` reads text, ``names`` says what each word means and who may say it,
``values`` holds the one table of operators, ``conditions`` turns both into SQL
and into checks of a record in memory, ``language`` is what others call.
"""

from collections_app.rules.language import (
    Mention,
    Rule,
    RuleEnv,
    SortPath,
    compile_filter,
    compile_path,
    compile_rule,
    rename,
)
from collections_app.rules.syntax import RuleError

__all__ = [
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
