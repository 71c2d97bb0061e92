"""Read the TOML file that declares mirrors, files with their digests, and a package as fallback (data/mnist.toml)."""

import tomllib
from pathlib import Path
from typing import Annotated

from pydantic import Field, ValidationError

from lenetlab.errors import UserError
from lenetlab.settings.layer_schema import StrictModel
from lenetlab.settings.messages import Problem, file_error, one_line, quoted
from lenetlab.settings.yaml_file import read_text

MAX_BYTES = 100_000

Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Mirror = Annotated[str, Field(pattern=r"^https?://[^/\s]+/(\S*/)?$")]


class IdxFile(StrictModel):
    """A gzipped IDX file; `bytes` and `sha256` are those of the uncompressed content."""

    file: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*\.gz$")
    bytes: int = Field(ge=1, le=2**30)
    sha256: Digest


class ImageSet(StrictModel):
    images: IdxFile
    labels: IdxFile


class Package(StrictModel):
    """A wheel with a gzipped pickle of three pairs (images, labels): training, validation, test; images in [0, 1)."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    version: str = Field(pattern=r"^[0-9][A-Za-z0-9.+!]*$")
    sha256: Digest  # of the wheel
    member: str  # path of the pickle in the wheel


class Declaration(StrictModel):
    mirrors: Annotated[tuple[Mirror, ...], Field(strict=False)]
    train: ImageSet
    test: ImageSet
    package: Package | None = None

    @property
    def files(self) -> list[IdxFile]:
        return [self.train.images, self.train.labels, self.test.images, self.test.labels]


def read_declaration(path: Path) -> Declaration:
    """UserError lists every key that is wrong, with its value and what is allowed."""
    try:
        return Declaration.model_validate(tomllib.loads(read_text(path, MAX_BYTES)))
    except ValidationError as error:
        problems = [Problem(at["loc"], f"{at['msg']}, found {quoted(at['input'])}") for at in error.errors()]
        raise file_error(path, problems) from None
    except RecursionError:
        raise UserError(f"{path}: not a TOML file: nested too deeply") from None
    except ValueError as error:
        raise UserError(f"{path}: not a TOML file: {one_line(error)}") from None
