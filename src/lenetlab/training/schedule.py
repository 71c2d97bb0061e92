"""Trainings of a variant's seeds: decided by data, settings and seed alone, going on where they were stopped."""

import math

from lenetlab.settings import schema

WARM_UP = 0.3  # share of the steps in which one-cycle rises, from 1/25 of the highest rate, as Smith & Topin 2018


def learning_rate(settings: schema.Training, step: int, steps: int) -> float:
    """The rate of a step, counted from 0, out of all steps of a training."""
    if settings.schedule == "cosine":
        return settings.learning_rate * (1 + math.cos(math.pi * step / steps)) / 2
    if settings.schedule == "one-cycle":
        low, high, end = settings.learning_rate / 25, settings.learning_rate, settings.learning_rate / 25e4
        top = WARM_UP * steps - 1
        if step <= top:
            return high + (low - high) * (1 + math.cos(math.pi * step / top)) / 2
        return end + (high - end) * (1 + math.cos(math.pi * (step - top) / (steps - 1 - top))) / 2
    return settings.learning_rate
