"""What noise in the cells and absent streams do to a model's scores."""

from polymodal.robustness.conditions import DEFAULT_ROWS, DEFAULT_SEVERITIES, StressOptions
from polymodal.robustness.stress import StressScores, measure_stress, stress_table
from polymodal.robustness.stress_report import Absence, Estimate, NoiseCurve, StressReport, TargetStress

__all__ = [
    "DEFAULT_ROWS",
    "DEFAULT_SEVERITIES",
    "Absence",
    "Estimate",
    "NoiseCurve",
    "StressOptions",
    "StressReport",
    "StressScores",
    "TargetStress",
    "measure_stress",
    "stress_table",
]
