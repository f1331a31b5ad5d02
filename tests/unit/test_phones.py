"""What people type for a phone number. B015, X27"""

import pytest

from manager.phones import InvalidPhone, PhoneRequired, full_number


@pytest.mark.parametrize(
    ("written", "country", "digits"),
    [
        ("5511999887766", None, "5511999887766"),
        ("+55 11 99988-7766", None, "5511999887766"),
        ("+55 (11) 99988-7766", "55", "5511999887766"),
        ("5511999887766:12@s.whatsapp.net", None, "5511999887766"),
        ("553188887777", None, "553188887777"),
        ("11999887766", "55", "5511999887766"),
        ("011999887766", "55", "5511999887766"),
        ("(51) 99876-5432", "55", "5551998765432"),
        ("(34) 98876-5432", "55", "5534988765432"),
        ("(81) 99876-5432", "55", "5581998765432"),
        ("5551998765432", "55", "5551998765432"),
        ("+1 415 555 2671", "55", "14155552671"),
        ("+351 912 345 678", None, "351912345678"),
    ],
)
def test_a_number_is_read_with_its_country(written, country, digits):
    assert full_number(written, country) == digits


@pytest.mark.parametrize(
    "written",
    ["11999887766", "999", "5" * 30, "5511999887766x", "x", "  ", 5511999887766, ["55"], "5511999887766@lid",
     "5511999887766@g.us", "5511999887766@x", "0000000000000"],
)  # fmt: skip
def test_what_is_no_full_number_is_refused(written):
    with pytest.raises(InvalidPhone):
        full_number(written)


@pytest.mark.parametrize("written", [None, ""])
def test_no_number_is_said_so(written):
    with pytest.raises(PhoneRequired):
        full_number(written, "55")
