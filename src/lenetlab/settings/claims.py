"""Read claims.yaml: published statements, which the report answers."""

from pathlib import Path
from typing import Any

from pydantic import ValidationError

from lenetlab.errors import UserError
from lenetlab.settings import messages, schema_errors, study_schema, yaml_file
from lenetlab.settings.claim_schema import FORMS, Catalogue, Claim
from lenetlab.settings.messages import Problem, quoted


def load(path: Path, study: study_schema.Study) -> list[Claim]:
    """The statements in a claims.yaml. UserError lists every invalid key with its value and what is allowed."""
    content = yaml_file.read_yaml(path)
    if not isinstance(content, dict):
        raise UserError(f"{path}: empty or not a mapping; allowed: the key claims, with a list ([] for no statement)")
    problems = [Problem((key,), "unknown key; allowed: claims") for key in content if key != "claims"]
    entries = content.get("claims")
    if not isinstance(entries, list):
        what = f"{quoted(entries)} is not allowed" if "claims" in content else "missing"
        problem = Problem(("claims",), f"{what}; allowed: a list, [] for no statement")
        raise messages.file_error(path, [*problems, problem])
    claims, first_index = [], dict[str, int]()
    for index, entry in enumerate(entries):
        result = _validate(entry, study.variants)
        if isinstance(result, list):
            problems += [Problem(("claims", index, *place), text) for place, text in result]
        else:
            claims.append(result)
        identity = entry.get("id") if isinstance(entry, dict) else None
        if isinstance(identity, str) and first_index.setdefault(identity, index) != index:
            text = f"{quoted(identity)} is already used by claims[{first_index[identity]}]; allowed: each id once"
            problems.append(Problem(("claims", index, "id"), text))
    if problems:
        raise messages.file_error(path, problems)
    return claims


def _validate(entry: Any, catalogue: Catalogue) -> Claim | list[Problem]:
    """A statement, or the problems of the form that fits it best."""
    if not isinstance(entry, dict):
        text = f"{quoted(entry)} is not allowed; allowed: a block with the keys id, kind, statement and more"
        return [Problem((), text)]
    kind = entry.get("kind")
    if not isinstance(kind, str) or kind not in FORMS:
        what = f"{quoted(kind)} is not allowed" if "kind" in entry else "missing"
        return [Problem(("kind",), f"{what}; allowed: {', '.join(FORMS)}")]
    attempts = []
    for form in FORMS[kind]:
        try:
            return form.model_validate(entry, context=catalogue)
        except ValidationError as error:
            attempts.append(schema_errors.list_problems(error, form, entry, _keys_of(kind)))
    # If several forms fit equally well, prefer the one whose measure is right.
    return min(attempts, key=lambda problems: (len(problems), any(place[:1] == ("measure",) for place, _ in problems)))


def _keys_of(kind: str) -> str:
    common = ("id", "kind", "statement")
    forms = [", ".join(name for name in form.model_fields if name not in common) for form in FORMS[kind]]
    return f"{', '.join(common)} and {'; or '.join(forms)}"
