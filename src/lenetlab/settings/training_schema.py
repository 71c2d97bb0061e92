"""The keys of params.yaml for optimizers, schedules and augmentation: a name, or a block with arguments."""

from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, model_serializer, model_validator

from lenetlab.settings.layer_schema import MAX_SIDE, StrictModel

Probability = Annotated[float, Field(ge=0, lt=1)]


class ChosenModel(StrictModel):
    """A name, or a block with a name and some of the arguments that belong to it; the others have their defaults."""

    ARGUMENTS: ClassVar[dict[str, dict[str, Any]]]  # by name: its arguments with their defaults
    name: str

    @property
    def arguments(self) -> dict[str, Any]:
        """Every argument that belongs to the name."""
        return self.ARGUMENTS[self.name] | {key: value for key, value in self if key != "name" and value is not None}

    @model_validator(mode="before")
    @classmethod
    def _name_is_a_block(cls, value: Any) -> Any:
        return {"name": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _arguments_belong_to_the_name(self) -> Self:
        known = self.ARGUMENTS[self.name]
        if unknown := [key for key, value in self if value is not None and key not in ("name", *known)]:
            raise ValueError(
                f"{', '.join(unknown)}: not an argument of {self.name}; allowed: {', '.join(known) or 'none'}"
            )
        return self

    @model_serializer
    def _chosen(self) -> Any:
        chosen = {key: value for key, value in self if value is not None}
        return chosen if len(chosen) > 1 else self.name


class OptimizerSettings(ChosenModel):
    """An optimizer of torch.optim with its arguments, under torch's names. `momentum` is a setting of its own."""

    ARGUMENTS: ClassVar[dict[str, dict[str, Any]]] = {
        "sgd": {"dampening": 0.0, "nesterov": False},
        "adam": {"beta2": 0.999, "eps": 1e-8, "amsgrad": False},
        "adamw": {"beta2": 0.999, "eps": 1e-8, "amsgrad": False},
        "rmsprop": {"alpha": 0.99, "eps": 1e-8, "centered": False},
        "adagrad": {"lr_decay": 0.0, "eps": 1e-10},
    }
    name: Literal["sgd", "adam", "adamw", "rmsprop", "adagrad"] = Field(
        description="sgd, adam, adamw, rmsprop or adagrad"
    )
    dampening: Probability | None = Field(default=None, description="a number from 0 to below 1")
    nesterov: bool | None = Field(default=None, description="true or false")
    beta2: Probability | None = Field(default=None, description="a number from 0 to below 1")
    alpha: Probability | None = Field(default=None, description="a number from 0 to below 1")
    eps: float | None = Field(default=None, gt=0, le=1, description="a number more than 0, at most 1")
    lr_decay: float | None = Field(default=None, ge=0, le=1, description="a number from 0 to 1")
    amsgrad: bool | None = Field(default=None, description="true or false")
    centered: bool | None = Field(default=None, description="true or false")


class ScheduleSettings(ChosenModel):
    """A schedule of torch.optim.lr_scheduler; `step_size` and `milestones` are epochs."""

    ARGUMENTS: ClassVar[dict[str, dict[str, Any]]] = {
        "constant": {},
        "cosine": {},
        "one-cycle": {},
        "step": {"step_size": 1, "gamma": 0.1},
        "multi-step": {"milestones": (), "gamma": 0.1},
        "exponential": {"gamma": 0.9},
        "polynomial": {"power": 1.0},
    }
    name: Literal["constant", "cosine", "one-cycle", "step", "multi-step", "exponential", "polynomial"] = Field(
        description="constant, cosine, one-cycle, step, multi-step, exponential or polynomial"
    )
    step_size: int | None = Field(default=None, ge=1, le=1000, description="a whole number from 1 to 1000 (epochs)")
    milestones: tuple[Annotated[int, Field(ge=1, le=1000)], ...] | None = Field(
        default=None, strict=False, max_length=100, description="up to 100 whole numbers from 1 to 1000 (epochs)"
    )
    gamma: float | None = Field(default=None, gt=0, le=1, description="a number more than 0, at most 1")
    power: float | None = Field(default=None, gt=0, le=10, description="a number more than 0, at most 10")


class AugmentationRanges(StrictModel):
    """Random changes of training images: each is drawn from minus to plus its range. What is missing is not changed.

    Elastic distortions are those of Simard et al. 2003, with sigma 4 pixels.
    """

    rotation: float = Field(default=0.0, ge=0, le=180, description="a number from 0 to 180 (degrees)")
    translation: float = Field(default=0.0, ge=0, le=MAX_SIDE, description=f"a number from 0 to {MAX_SIDE} (pixels)")
    scale: float = Field(default=0.0, ge=0, lt=1, description="a number from 0 to below 1 (part of the size)")
    shear: float = Field(default=0.0, ge=0, le=20, description="a number from 0 to 20 (degrees)")
    elasticity: float = Field(
        default=0.0, ge=0, le=1000, description="a number from 0 to 1000 (alpha of elastic distortions, in pixels)"
    )
    flip: Literal["none", "horizontal", "vertical", "both"] = Field(
        default="none", description="none, horizontal, vertical or both (of half of the images)"
    )
    crop: int = Field(
        default=0, ge=0, le=MAX_SIDE, description=f"a whole number from 0 to {MAX_SIDE} (pixels of border to crop from)"
    )

    @model_serializer
    def _changed(self) -> dict[str, Any]:
        """Without what is not changed, so that it makes no difference whether a range of 0 is written down."""
        return {key: value for key, value in self if value != type(self).model_fields[key].default}

    def __str__(self) -> str:
        return ", ".join(f"{key} {value}" for key, value in self._changed().items()) or "none"


AFFINE = AugmentationRanges(rotation=10.0, translation=2.0, scale=0.1, shear=5.0)
AUGMENTATIONS = {  # by name
    "none": AugmentationRanges(),
    "affine": AFFINE,
    "elastic": AFFINE.model_copy(update={"elasticity": 34.0}),  # alpha of Simard et al. 2003
}
