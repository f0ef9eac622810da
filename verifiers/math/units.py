"""Units of measure that answers come in: which of them can be converted, and by how much."""

import re
from fractions import Fraction

INVERSE = re.compile(r"([A-Za-z]+)[ ./]([A-Za-z]+)\^\{?-1\}?")

# One line a dimension: names of a unit, then how many of the first unit it is.
UNIT_TABLE = """
length: m meter meters metre metres 1 | km kilometer kilometers kilometre kilometres 1000
  | mm millimeter millimeters 1/1000 | cm centimeter centimeters centimetre centimetres 1/100
imperial length: in inch inches 1 | ft foot feet 12 | yd yard yards 36 | mi mile miles 63360
time: s sec secs second seconds 1 | min mins minute minutes 60 | h hr hrs hour hours 3600
  | day days 86400 | week weeks 604800
imperial length per time: mph 88/5
length per time: kph kmh 5/18
force: N newton newtons 1
energy: J joule joules 1 | kJ kilojoule kilojoules 1000
power: W watt watts 1 | kW kilowatt kilowatts 1000
voltage: V volt volts 1
current: A amp amps ampere amperes 1
temperature: K kelvin kelvins 1
years: month months 1 | yr yrs year years 12
mass: g gram grams 1 | kg kilogram kilograms 1000 | mg milligram milligrams 1/1000 | ton tons tonne tonnes 1000000
weight: oz ounce ounces 1 | lb lbs pound pounds 16
volume: l L liter liters litre litres 1 | ml mL milliliter milliliters 1/1000
us volume: cup cups 1 | pint pints 2 | quart quarts 4 | gallon gallons 16
money: $ usd dollar dollars 1 | ¢ cent cents 1/100
euro: € eur euro euros 1
sterling: £ gbp 1
yen: ¥ yen 1
rupee: ₹ inr rs rupee rupees 1
angle: ° degree degrees deg 1
radian: rad radian radians 1
"""


def read_units(table: str) -> dict[str, tuple[str, Fraction]]:
    """Unit name -> (dimension, factor)."""
    units: dict[str, tuple[str, Fraction]] = {}
    for line in table.replace("\n  |", " |").strip().splitlines():
        dimension, _, rest = line.partition(": ")
        for unit in rest.split(" | "):
            *names, factor = unit.split()
            units |= {name: (dimension, Fraction(factor)) for name in names}
    return units


UNITS = read_units(UNIT_TABLE)


def factors(gold: str, answer: str) -> tuple[Fraction, Fraction] | None:
    """What to multiply each value with, or None if the units contradict each other."""
    one = Fraction(1)
    if not gold or not answer or gold == answer:
        return one, one
    left, right = unit_of(gold), unit_of(answer)
    if left is None or right is None:
        return one, one
    return (left[1], right[1]) if left[0] == right[0] else None


def unit_of(name: str) -> tuple[str, Fraction] | None:
    """A known unit, spelt "square cm" or "cm^2" for areas; None for apples."""
    lower = name if name in UNITS else name.lower()
    if lower in UNITS:
        return UNITS[lower]
    top, sign, bottom = lower.replace(" per ", "/").partition("/")
    if sign:
        return _ratio(unit_of(top.strip()), unit_of(bottom.strip()))
    if match := INVERSE.fullmatch(lower):
        return _ratio(unit_of(match[1]), unit_of(match[2]))
    for power, mark in ((2, "square"), (3, "cubic")):
        base = lower.removeprefix(mark + " ").removeprefix(f"{mark[:2]} ")
        for ending in (f"^{power}", f"^{{{power}}}", str(power), " squared" if power == 2 else " cubed"):
            base = base.removesuffix(ending)
        if base != lower and base in UNITS:
            dimension, factor = UNITS[base]
            return f"{dimension} {power}", factor**power
    return None


def _ratio(top: tuple[str, Fraction] | None, bottom: tuple[str, Fraction] | None) -> tuple[str, Fraction] | None:
    """The unit of metres per second."""
    return (f"{top[0]} per {bottom[0]}", top[1] / bottom[1]) if top and bottom else None


def is_known_unit(name: str) -> bool:
    return bool(name) and unit_of(name) is not None
