"""The units that hospitals mix up: factors and offsets between two ways to write the same quantity.

Factors of analytes are by molar mass (Young and Huth 1998, SI Units for Clinical Measurement); HbA1c is the master
equation of IFCC and NGSP (Hoelzel et al. 2004, Clinical Chemistry 50:166-174).
"""

import dataclasses
import math
import re


@dataclasses.dataclass(frozen=True)
class Conversion:
    """`larger` = times * `smaller` + plus, for columns in whose name a word matches `hints`."""

    quantity: str
    smaller: str
    larger: str
    times: float
    hints: str
    plus: float = 0.0

    def way(self, *, up: bool) -> tuple[float, float]:
        """Returns times and plus from the smaller unit to the larger one, or back."""
        return (self.times, self.plus) if up else (1 / self.times, -self.plus / self.times)

    def is_hinted(self, column: str) -> bool:
        """Returns whether the column's name speaks of the quantity."""
        return any(re.fullmatch(self.hints, word) for word in words_of(column))


def words_of(column: str) -> list[str]:
    """Returns the words of a column's name in small letters: "fastingGlucose_mg.dl" is fasting, glucose, mg, dl."""
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", column)
    return [word for word in re.split(r"[^a-z0-9]+", spaced.lower()) if word]


CONVERSIONS = (
    Conversion("cholesterol", "mmol/L", "mg/dL", 38.67, r"(t|total)?chol.*|hdl.?c?|ldl.?c?|tc"),
    Conversion("glucose", "mmol/L", "mg/dL", 18.02, r".*gluc.*|glyc|bg|fbg|fpg|sugar"),
    Conversion("triglycerides", "mmol/L", "mg/dL", 88.57, r"trig.*|tg|tgl"),
    Conversion("creatinine", "mg/dL", "µmol/L", 88.42, r".*crea.*|cr|scr"),
    Conversion("bilirubin", "mg/dL", "µmol/L", 17.1, r".*bili.*"),
    Conversion("urea nitrogen", "mmol/L", "mg/dL", 2.8, r"bun|urea"),
    Conversion("urea", "mmol/L", "mg/dL", 6.006, r"urea"),
    Conversion("uric acid", "mg/dL", "µmol/L", 59.48, r"uric|urate|ua"),
    Conversion("calcium", "mmol/L", "mg/dL", 4.008, r"calcium|ca"),
    Conversion("magnesium", "mmol/L", "mg/dL", 2.43, r"magnesium|mg"),
    Conversion("phosphate", "mmol/L", "mg/dL", 3.097, r"phos.*"),
    Conversion("lactate", "mmol/L", "mg/dL", 9.01, r"lact.*"),
    Conversion("haemoglobin", "g/dL", "g/L", 10.0, r"hb|hgb|ha?emoglobin"),
    Conversion("haemoglobin", "mmol/L", "g/dL", 1.611, r"hb|hgb|ha?emoglobin"),
    Conversion("protein", "g/dL", "g/L", 10.0, r"alb.*|protein|globulin"),
    Conversion("CRP", "mg/dL", "mg/L", 10.0, r".*crp"),
    Conversion("HbA1c", "%", "mmol/mol", 10.93, r"hb?a1c?|a1c", plus=-23.5),
    Conversion("vitamin D", "ng/mL", "nmol/L", 2.496, r"vit.*|25oh.*"),
    Conversion("insulin", "µU/mL", "pmol/L", 6.945, r"insulin"),
    Conversion("troponin or D-dimer", "µg/L", "ng/L", 1000.0, r"trop.*|hs?tn.*|tn[it]|ddimer|dimer"),
    Conversion("temperature", "°C", "°F", 1.8, r"temp.*|bt", plus=32.0),
    Conversion("weight", "kg", "lb", 2.2046, r".*weight.*|wt|mass|kg|bw"),
    Conversion("weight", "kg", "g", 1000.0, r".*weight.*|wt|mass|bw"),
    Conversion("length", "in", "cm", 2.54, r".*height.*|ht|hgt|stature|waist.*|hip|length|.*circum.*|cm|girth"),
    Conversion("length", "m", "cm", 100.0, r".*height.*|ht|hgt|stature|waist.*|hip|length|.*circum.*|cm"),
    Conversion("length", "cm", "mm", 10.0, r".*diam.*|size|thickness|length|mm|lv.*|depth"),
    Conversion(
        "pressure", "kPa", "mmHg", 7.5006, r".*bps?|trestbps|.*pressure.*|map|systolic|diastolic|mmhg|p[ac]?[oc]o?2"
    ),
    Conversion("pressure", "cmHg", "mmHg", 10.0, r".*bps?|trestbps|.*pressure.*|map|systolic|diastolic|mmhg"),
    Conversion("time", "s", "ms", 1000.0, r"qt.?c?|qrs|pr|rr|.*time|interval|duration|latency|ms|sec.*"),
    Conversion("time", "h", "min", 60.0, r".*time|duration|hours?|minutes?|los|stay"),
    Conversion("time", "days", "h", 24.0, r".*time|duration|hours?|days?|los|stay"),
    Conversion("time", "years", "months", 12.0, r"age|duration|months?|years?|follow.*"),
    Conversion("time", "years", "days", 365.25, r"age|duration|days?|years?|follow.*"),
    Conversion("share", "a share of 1", "%", 100.0, r".*sat.*|s[pa]o2|fio2|l?v?ef|ha?ematocrit|hct|percent|pct|share"),
    Conversion("count of cells", "10^9/L", "10^6/L", 1000.0, r"wbc|rbc|plt|platelets?|.*cytes|.*phils?|leu[ck]o.*"),
)

_POWERS = tuple(Conversion("", "", "", float(factor), "(?!)") for factor in (10, 100, 1000, 10**6))


def nearest_factor(ratio: float) -> Conversion | None:
    """Returns the conversion without offset whose factor is within 4 % of a ratio > 1, else None."""
    near = [c for c in (*_POWERS, *CONVERSIONS) if not c.plus and abs(math.log(c.times / ratio)) < 0.04]
    return min(near, key=lambda c: abs(math.log(c.times / ratio)), default=None)


def hinted(column: str) -> list[Conversion]:
    """Returns the conversions that a column's name suggests."""
    return [conversion for conversion in CONVERSIONS if conversion.is_hinted(column)]
