"""Statements for tests, as claims.yaml has them."""


def entry(**keys: object) -> dict:
    return {"id": "X1", "statement": "Said somewhere"} | keys


def accuracy(variant: str = "lenet5", **keys: object) -> dict:
    return entry(kind="accuracy", variant=variant, **keys)


def relation(**keys: object) -> dict:
    return entry(kind="relation", candidate="lenet5", baseline="mlp") | keys
