"""Broken copies of the monitor's pure modules, made from their source by one small replacement each.

Nothing of ours is patched: a copy is compiled into fresh modules that import one another.
"""

import builtins
import importlib
import inspect
from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import Any


def mutated(modules: Sequence[str], where: str, old: str, new: str) -> Mapping[str, ModuleType]:
    """Fresh copies of these modules, in the order in which they import one another; in `where` the text `old`, found
    exactly once, is `new`."""
    fresh: dict[str, ModuleType] = {}

    def take(name: str, *rest: Any) -> Any:
        return fresh.get(name) or builtins.__import__(name, *rest)

    for name in modules:
        source = inspect.getsource(importlib.import_module(name))
        if name == where:
            assert source.count(old) == 1, f"{old!r} is found {source.count(old)} times in {name}"
            source = source.replace(old, new)
        module = ModuleType(name)
        module.__dict__["__builtins__"] = {**vars(builtins), "__import__": take}
        exec(compile(source, f"{name} (a copy)", "exec"), module.__dict__)
        fresh[name] = module
    return fresh
