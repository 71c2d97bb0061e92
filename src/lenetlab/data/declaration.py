"""Where raw images come from: a folder of one's own, or what a TOML file declares of mirrors and a pinned package."""

import tomllib
from pathlib import Path
from typing import Annotated

from pydantic import Field, ValidationError

from lenetlab.errors import UserError
from lenetlab.settings.messages import key_path, one_line, quoted, with_path
from lenetlab.settings.schema import StrictModel
from lenetlab.settings.yaml_file import read_text

LARGEST_DECLARATION = 100_000  # bytes


Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]

Mirror = Annotated[str, Field(pattern=r"^https?://[^/\s]+/(\S*/)?$")]


class IdxFile(StrictModel):
    """A gzipped IDX file; size and SHA-256 are those of what is in it."""

    file: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*\.gz$")
    bytes: int = Field(ge=1, le=2**30)
    sha256: Digest


class ImageSet(StrictModel):
    images: IdxFile
    labels: IdxFile


class Package(StrictModel):
    """A wheel that holds the pickle of ((images, labels) of training, of validation, of test), images in [0, 1)."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    version: str = Field(pattern=r"^[0-9][A-Za-z0-9.+!]*$")
    sha256: Digest
    member: str


class Declaration(StrictModel):
    mirrors: Annotated[tuple[Mirror, ...], Field(strict=False)]
    train: ImageSet
    test: ImageSet
    package: Package | None = None

    @property
    def files(self) -> list[IdxFile]:
        return [self.train.images, self.train.labels, self.test.images, self.test.labels]


def read_declaration(path: Path) -> Declaration:
    try:
        return Declaration.model_validate(tomllib.loads(read_text(path, LARGEST_DECLARATION)))
    except ValidationError as error:
        found = [f"{key_path(at['loc'])}: {at['msg']}, found {quoted(at['input'])}" for at in error.errors()]
        raise UserError(*with_path(path, found)) from None
    except RecursionError:
        raise UserError(f"{path}: not a TOML file: nested too deeply") from None
    except ValueError as error:
        raise UserError(f"{path}: not a TOML file: {one_line(error)}") from None
