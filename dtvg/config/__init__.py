"""Configurations: what an experiment is made of, how it is read, judged and varied.

The same frozen object is form, YAML, command line, stored copy and fingerprint. Start reading
with `sections` (the settings), then `experiment` (how they make runs) and `reading` (values →
configuration or problems). `settings_path` finds settings by dotted name, `presets` are starts,
`grid` varies settings. May import `errors`, `names`, `paths` and `methods.specs`: tasks, store,
jobs and pages build on it.
"""

from dtvg.config.experiment import (
    AVERAGE,
    ExperimentConfig,
    RunConfig,
    Seed,
    fingerprint,
    run_name,
)
from dtvg.config.reading import (
    Checked,
    Problem,
    build,
    build_config,
    check,
    load_config,
    with_overrides,
)
from dtvg.config.sections import (
    BackboneConfig,
    DataConfig,
    DeviceConfig,
    EvaluationConfig,
    HypothesisConfig,
    LoggingConfig,
    Name,
    OptimConfig,
    PromptConfig,
    ScaleConfig,
    Section,
)

__all__ = [
    "AVERAGE",
    "BackboneConfig",
    "Checked",
    "DataConfig",
    "DeviceConfig",
    "EvaluationConfig",
    "ExperimentConfig",
    "HypothesisConfig",
    "LoggingConfig",
    "Name",
    "OptimConfig",
    "Problem",
    "PromptConfig",
    "RunConfig",
    "ScaleConfig",
    "Section",
    "Seed",
    "build",
    "build_config",
    "check",
    "fingerprint",
    "load_config",
    "run_name",
    "with_overrides",
]
