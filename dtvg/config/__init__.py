"""Configurations: what an experiment is made of, how it is read, judged and varied.

The same frozen object is form, YAML, command line, stored copy and fingerprint. Start with
`sections` (the settings), then `experiment` (how they make runs). `presets` are starts, `grid`
varies settings. May import `errors`, `names`, `paths` and `methods.specs` only: tasks, store,
jobs and pages build on it.
"""

from dtvg.config.experiment import (
    ExperimentConfig,
    Problem,
    RunConfig,
    Seed,
    apply_override,
    build_config,
    explain,
    fingerprint,
    load_config,
    problems,
    run_name,
)
from dtvg.config.sections import (
    BackboneConfig,
    DataConfig,
    DeviceConfig,
    EvaluationConfig,
    LoggingConfig,
    Name,
    OptimConfig,
    PromptConfig,
    Section,
)
from dtvg.names import NAME_PATTERN

__all__ = [
    "NAME_PATTERN",
    "BackboneConfig",
    "DataConfig",
    "DeviceConfig",
    "EvaluationConfig",
    "ExperimentConfig",
    "LoggingConfig",
    "Name",
    "OptimConfig",
    "Problem",
    "PromptConfig",
    "RunConfig",
    "Section",
    "Seed",
    "apply_override",
    "build_config",
    "explain",
    "fingerprint",
    "load_config",
    "problems",
    "run_name",
]
