"""Read claims.yaml: published statements, which the report answers."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from lenetlab.errors import UserError
from lenetlab.settings import messages, schema_errors, study_schema, yaml_file
from lenetlab.settings.claim_schema import FORMS, ID_PATTERN, MAX_ID, REPORT_PATTERN, Catalogue, Claim, ClaimFile
from lenetlab.settings.messages import Problem, quoted


@dataclass(frozen=True)
class Statements:
    """Statements, and what the file says about all of them."""

    claims: Sequence[Claim]
    resolution: float  # the widest half-width, as a fraction of accuracy, with which a study says anything of a value
    reports: Mapping[str, str]  # by name of a report: what kind it is and how it trained

    def report_of(self, claim: Claim) -> str | None:
        """The report that a statement is from: S0 for S0.1, if `reports` has it."""
        name = report_name(claim.id)
        return name if name in self.reports else None


def load(path: Path, study: study_schema.Study) -> Statements:
    """The statements in a claims.yaml. UserError lists every invalid key with its value and what is allowed."""
    content = yaml_file.read_yaml(path)
    if not isinstance(content, dict):
        raise UserError(f"{path}: empty or not a mapping; allowed: the key claims, with a list ([] for no statement)")
    head, problems = None, []
    try:
        head = ClaimFile.model_validate(content)
    except ValidationError as error:
        problems = schema_errors.list_problems(error, ClaimFile, content)
    entries = content.get("claims")
    claims = []
    for index, entry in enumerate(entries if isinstance(entries, list) else []):
        result = _validate(entry, study.variants)
        if isinstance(result, list):
            problems += [Problem((label(index, entry), *place), text) for place, text in result]
        else:
            claims.append(result)
    if isinstance(entries, list):
        problems += [*_repeated_ids(entries), *_unused_reports(content.get("reports"), entries)]
    if problems or head is None:
        raise messages.file_error(path, problems)
    return Statements(claims, head.resolution, head.reports)


def label(index: int, entry: Any) -> str:
    """A statement in a message: its place, and its id if it has a valid one."""
    identity = _identity(entry)
    valid = identity is not None and len(identity) <= MAX_ID and re.fullmatch(ID_PATTERN, identity)
    return f"claims[{index}] ({identity})" if valid else f"claims[{index}]"


def report_name(identity: str) -> str | None:
    """S0 for S0.1; None for an id without a dot."""
    name, dot, _ = identity.partition(".")
    return name if dot else None


def _identity(entry: Any) -> str | None:
    identity = entry.get("id") if isinstance(entry, dict) else None
    return identity if isinstance(identity, str) else None


def _repeated_ids(entries: Sequence[Any]) -> Iterator[Problem]:
    first_index = dict[str, int]()
    for index, entry in enumerate(entries):
        identity = _identity(entry)
        if identity is not None and (first := first_index.setdefault(identity, index)) != index:
            text = f"{quoted(identity)} is already used by claims[{first}]; allowed: each id once"
            yield Problem((label(index, entry), "id"), text)


def _unused_reports(reports: Any, entries: Sequence[Any]) -> Iterator[Problem]:
    """A report that no statement is from would be shown nowhere."""
    used = {report_name(identity) for entry in entries if (identity := _identity(entry)) is not None}
    for name in reports if isinstance(reports, dict) else ():
        if re.fullmatch(REPORT_PATTERN, name) and name not in used:
            text = f"no statement is from it; allowed: what an id has before its first dot, such as {name}.1"
            yield Problem(("reports", name), text)


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
    common = ("id", "kind", "statement", "data")
    forms = [", ".join(name for name in form.model_fields if name not in common) for form in FORMS[kind]]
    return f"{', '.join(common)} and {'; or '.join(forms)}"
