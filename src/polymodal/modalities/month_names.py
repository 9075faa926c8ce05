"""Names of months in the languages of many tables."""

from __future__ import annotations

import unicodedata
from functools import cache

LANGUAGES = (
    "january february march april may june july august september october november december",
    "januar februar marz april mai juni juli august september oktober november dezember",
    "janvier fevrier mars avril mai juin juillet aout septembre octobre novembre decembre",
    "enero febrero marzo abril mayo junio julio agosto septiembre octubre noviembre diciembre",
    "gennaio febbraio marzo aprile maggio giugno luglio agosto settembre ottobre novembre dicembre",
    "janeiro fevereiro marco abril maio junho julho agosto setembro outubro novembro dezembro",
    "januari februari maart april mei juni juli augustus september oktober november december",
    "januari februari marts april maj juni juli augusti september oktober november desember",
    "jan feb mrt apr mei jun jul aug sept okt nov dec",
    "januari februari maret april mei juni juli agustus september oktober november desember",
    "stycznia lutego marca kwietnia maja czerwca lipca sierpnia wrzesnia pazdziernika listopada grudnia",
    "styczen luty marzec kwiecien maj czerwiec lipiec sierpien wrzesien pazdziernik listopad grudzien",
    "ledna unora brezna dubna kvetna cervna cervence srpna zari rijna listopadu prosince",
    "января февраля марта апреля мая июня июля августа сентября октября ноября декабря",
    "январь февраль март апрель маи июнь июль август сентябрь октябрь ноябрь декабрь",
    "січня лютого березня квітня травня червня липня серпня вересня жовтня листопада грудня",
    "ocak subat mart nisan mayıs haziran temmuz agustos eylul ekim kasım aralık",
    "ianuarie februarie martie aprilie mai iunie iulie august septembrie octombrie noiembrie decembrie",
    "januar februar marcius aprilis majus junius julius augusztus szeptember oktober november december",
    "tammikuuta helmikuuta maaliskuuta huhtikuuta toukokuuta kesakuuta heinakuuta elokuuta syyskuuta lokakuuta "
    "marraskuuta joulukuuta",
    "ιανουαριου φεβρουαριου μαρτιου απριλιου μαιου ιουνιου ιουλιου αυγουστου σεπτεμβριου οκτωβριου νοεμβριου "  # noqa: RUF001
    "δεκεμβριου",
    "يناير فبراير مارس ابريل مايو يونيو يوليو اغسطس سبتمبر اكتوبر نوفمبر ديسمبر",
)
"""Twelve names each, in small letters without accents; of a name that two have, the first language decides."""
FEWEST_LETTERS = 3


def month_of(name: str) -> int:
    """Find a month by its name.

    Args:
        name: A name, or three or more of its first letters, in any case, as in ``Sept``, ``févr``, ``Mär``.

    Returns:
        1 to 12.

    Raises:
        ValueError: If it is no month of a known language.
    """
    month = _months().get(_plain(name))
    if month is None:
        raise ValueError(f"{name} is no month")
    return month


@cache
def _months() -> dict[str, int]:
    """Return every name and every unambiguous beginning of one."""
    months: dict[str, int] = {}
    for language in LANGUAGES:
        begins: dict[str, set[int]] = {}
        for number, name in enumerate(language.split(), start=1):
            for length in range(FEWEST_LETTERS, len(name) + 1):
                begins.setdefault(name[:length], set()).add(number)
        for begin, numbers in begins.items():
            if len(numbers) == 1:
                months.setdefault(begin, next(iter(numbers)))
    return months


def _plain(name: str) -> str:
    letters = unicodedata.normalize("NFKD", name.lower())
    return "".join(letter for letter in letters if not unicodedata.combining(letter)).replace("ł", "l")
