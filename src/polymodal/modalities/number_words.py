"""Words beside numbers: of absent ones, currencies, units and multipliers."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping

MISSING_WORDS = frozenset(
    {"nan", "na", "n/a", "<na>", "null", "none", "-", "?", "#n/a", "#na", "n.a.", "n.a", "nat", "nil", "(null)", "."}
    | {"--", "---", "----", "–", "—", "..", "...", "…", "*", "**", "??", "???", "missing", "unknown", "unk", "undef"}
    | {"undefined", "not available", "not applicable", "not recorded", "not reported", "not specified", "not stated"}
    | {"unspecified", "no data", "no value", "tbd", "tba", "void", "empty", "blank", "(blank)", "[blank]", "<null>"}
    | {"[null]", "<nan>", "\\n", "n\\a", "nd", "n/d", "n.d.", "s/d", "k.a.", "keine angabe", "n.v.t.", "sin dato"}
    | {"sin datos", "non renseigné", "нет данных", "не указано", "неизвестно", "#value!", "#div/0!", "#ref!", "#num!"}
    | {
        "#name?",
        "#null!",
        "#error!",
        "#spill!",
        "#calc!",
        "未知",
        "无",
        "無",
        "缺失",
        "暂无",
        "暂无数据",
        "不详",
        "不明",
    }
    | {"なし", "없음"}
)
"""Text, in any case, that stands for an absent number or date."""
CODES = (
    "AED|AFN|AMD|ANG|AOA|ARS|AUD|AWG|AZN|BAM|BBD|BDT|BGN|BHD|BIF|BMD|BND|BOB|BRL|BSD|BTN|BWP|BYN|BZD|CAD|CDF|CHF|CLP|"
    "CNY|COP|CRC|CVE|CZK|DJF|DKK|DOP|DZD|EGP|ERN|ETB|EUR|FJD|FKP|GBP|GEL|GHS|GIP|GMD|GNF|GTQ|GYD|HKD|HNL|HTG|HUF|IDR|"
    "ILS|INR|IQD|IRR|ISK|JMD|JOD|JPY|KES|KGS|KHR|KMF|KPW|KRW|KWD|KYD|KZT|LAK|LBP|LKR|LRD|LSL|LYD|MAD|MDL|MGA|MKD|MMK|MNT|"
    "MOP|MRU|MUR|MVR|MWK|MXN|MYR|MZN|NAD|NGN|NIO|NOK|NPR|NZD|OMR|PAB|PEN|PGK|PHP|PKR|PLN|PYG|QAR|RMB|RON|RSD|RUB|RWF|SAR|"
    "SBD|SCR|SDG|SEK|SGD|SHP|SLE|SOS|SRD|SSP|STN|SYP|SZL|THB|TJS|TMT|TND|TRY|TTD|TWD|TZS|UAH|UGX|USD|UYU|UZS|VES|VND|"
    "VUV|WST|XAF|XCD|XOF|XPF|YER|ZAR|ZMW|ZWL"
)
"""Currencies of ISO 4217, but those that are English words."""
SYMBOLS = "".join(chr(code) for code in range(0x24, 0x20C1) if unicodedata.category(chr(code)) == "Sc")
LOCAL_NAMES = r"Rs\.?|Rp\.?|RM|kr\.?|Kč|zł|Ft|Fr\.|SFr\.|lei|лв\.?|руб\.?|грн\.?|元|円|원"  # noqa: RUF001
SYMBOL = rf"(?:[A-Z]{{1,3}}\s?\$|[{SYMBOLS}])"
MONEY = rf"(?:{SYMBOL}\s?(?:{CODES})(?![^\W\d_])|(?:{CODES})\s?[{SYMBOLS}]|{SYMBOL}|{CODES}|{LOCAL_NAMES})"
"""How currencies are written: ``$``, ``US$``, ``USD``, ``USD $``, ``kr``."""

FAMILIES: tuple[Mapping[str, float], ...] = (
    {"mg": 1e-6, "g": 1e-3, "gr": 1e-3, "gram": 1e-3, "grams": 1e-3, "kg": 1.0, "kgs": 1.0, "t": 1e3}
    | {"oz": 0.028349523125, "ounces": 0.028349523125, "lb": 0.45359237, "lbs": 0.45359237, "pounds": 0.45359237},
    {"nm": 1e-9, "µm": 1e-6, "μm": 1e-6, "mm": 1e-3, "cm": 1e-2, "m": 1.0, "km": 1e3}
    | {"in": 0.0254, "inch": 0.0254, "inches": 0.0254, '"': 0.0254, "ft": 0.3048, "feet": 0.3048, "mi": 1609.344},
    {"ml": 1e-3, "mL": 1e-3, "cl": 1e-2, "dl": 0.1, "l": 1.0, "L": 1.0, "litre": 1.0, "liter": 1.0},
    {"ms": 1e-3, "s": 1.0, "sec": 1.0, "secs": 1.0, "seconds": 1.0, "min": 60.0, "mins": 60.0, "minutes": 60.0}
    | {"h": 3600.0, "hr": 3600.0, "hrs": 3600.0, "hours": 3600.0, "d": 86400.0, "day": 86400.0, "days": 86400.0},
    {"B": 1.0, "KB": 1e3, "kB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12},
    {"W": 1.0, "kW": 1e3, "MW": 1e6},
    {"Hz": 1.0, "kHz": 1e3, "MHz": 1e6, "GHz": 1e9},
    {"": 1.0, "DR": 1.0, "CR": -1.0},
)
"""Units that can be converted, each family in a unit of its own; credits are the negative of debits, as in ledgers."""
THOUSANDS = ("k", "K", "thousand", "Tsd", "Tsd.", "тыс", "тыс.", "千", "천")
MILLIONS = ("M", "MM", "mn", "million", "millions", "millones", "Mio", "Mio.", "mio", "млн", "млн.", "百万")
BILLIONS = ("bn", "B", "billion", "billions", "Mrd", "Mrd.", "Milliarden", "млрд", "млрд.")
MULTIPLIERS = dict.fromkeys(THOUSANDS, 1e3) | dict.fromkeys(MILLIONS, 1e6) | dict.fromkeys(BILLIONS, 1e9)
MULTIPLIERS |= dict.fromkeys(("trillion", "trillions", "tn"), 1e12) | {"lakh": 1e5, "Lakh": 1e5, "Lac": 1e5}
MULTIPLIERS |= {"crore": 1e7, "Crore": 1e7, "Cr": 1e7} | dict.fromkeys("万萬만", 1e4) | dict.fromkeys("亿億억", 1e8)
MONEY_MULTIPLIERS = {"m": 1e6, "b": 1e9, "T": 1e12}
"""Letters that multiply money only: elsewhere they are metres, bytes and tonnes."""
