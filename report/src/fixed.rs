//! Exact decimal numbers for reports: integers with a fixed number of decimals, which JSON writes as numbers.

use std::fmt;
use std::str::FromStr;

use serde::de::Error as _;
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

/// A number with at most `D` decimals, as an integer count of units of the last decimal: `Fixed::<2>(1250)` is 12.5.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fixed<const D: u32>(pub i64);

/// Euros, as cents.
pub type Euros = Fixed<2>;
/// Percent, as hundredths of a percent.
pub type Percent = Fixed<2>;

impl<const D: u32> Fixed<D> {
    /// The whole number `units`.
    pub const fn from_units(units: i64) -> Self {
        Self(units * 10_i64.pow(D))
    }

    /// `numerator / denominator`, rounded half up (towards positive infinity) to `D` decimals; `None` where the
    /// denominator is zero or beyond 10^37, or the result does not fit.
    ///
    /// It divides digit by digit, so that `numerator x 10^D` need not fit 128 bits.
    pub fn ratio(numerator: i128, denominator: i128) -> Option<Self> {
        let (numerator, denominator) = if denominator < 0 {
            (numerator.checked_neg()?, denominator.checked_neg()?)
        } else {
            (numerator, denominator)
        };
        let mut quotient = numerator.checked_div_euclid(denominator)?;
        let mut rest = numerator.checked_rem_euclid(denominator)?;
        for _ in 0..D {
            let tenfold = rest.checked_mul(10)?;
            quotient = quotient
                .checked_mul(10)?
                .checked_add(tenfold / denominator)?;
            rest = tenfold % denominator;
        }
        let round_up = rest >= denominator - rest;
        i64::try_from(quotient.checked_add(round_up.into())?)
            .ok()
            .map(Self)
    }
}

impl<const D: u32> fmt::Display for Fixed<D> {
    /// Writes no trailing zeros: `12`, `12.5`, `-0.05`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let one = 10_u64.pow(D);
        let (whole, rest) = (self.0.unsigned_abs() / one, self.0.unsigned_abs() % one);
        let sign = if self.0 < 0 { "-" } else { "" };
        if rest == 0 {
            return write!(f, "{sign}{whole}");
        }
        let decimals = format!("{rest:0width$}", width = D as usize);
        write!(f, "{sign}{whole}.{}", decimals.trim_end_matches('0'))
    }
}

/// Text that is no decimal number with at most `D` decimals.
#[derive(Debug, thiserror::Error)]
#[error("{found:?}: expected a number with at most {decimals} decimals, as in 12.5")]
pub struct InvalidFixed {
    found: String,
    decimals: u32,
}

impl<const D: u32> FromStr for Fixed<D> {
    type Err = InvalidFixed;

    fn from_str(text: &str) -> Result<Self, InvalidFixed> {
        let parse = || {
            let (negative, digits) = text
                .strip_prefix('-')
                .map_or((false, text), |digits| (true, digits));
            let (whole, rest) = digits.split_once('.').unwrap_or((digits, "0"));
            let all_digits =
                |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
            if !all_digits(whole) || !all_digits(rest) || rest.len() > D.max(1) as usize {
                return None;
            }
            let units: i64 = whole.parse().ok()?;
            let decimals: i64 = format!("{rest:0<width$}", width = D as usize)
                .parse()
                .ok()?;
            let count = units
                .checked_mul(10_i64.checked_pow(D)?)?
                .checked_add(decimals)?;
            Some(Self(if negative { -count } else { count }))
        };
        parse().ok_or_else(|| InvalidFixed {
            found: text.chars().take(40).collect(),
            decimals: D,
        })
    }
}

impl<const D: u32> Serialize for Fixed<D> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        RawValue::from_string(self.to_string())
            .map_err(S::Error::custom)?
            .serialize(serializer)
    }
}

impl<'de, const D: u32> Deserialize<'de> for Fixed<D> {
    fn deserialize<De: Deserializer<'de>>(deserializer: De) -> Result<Self, De::Error> {
        let number = Box::<RawValue>::deserialize(deserializer)?;
        number.get().parse().map_err(De::Error::custom)
    }
}

#[cfg(feature = "schema")]
impl<const D: u32> utoipa::PartialSchema for Fixed<D> {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::Schema> {
        utoipa::schema!(f64).into()
    }
}

#[cfg(feature = "schema")]
impl<const D: u32> utoipa::ToSchema for Fixed<D> {
    fn name() -> std::borrow::Cow<'static, str> {
        format!("Decimal{D}").into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_exactly_and_read_back() {
        for (value, text) in [
            (0, "0"),
            (1250, "12.5"),
            (1205, "12.05"),
            (-5, "-0.05"),
            (900, "9"),
            (i64::MAX, "92233720368547758.07"),
        ] {
            let json = serde_json::to_string(&Fixed::<2>(value)).expect("written");
            assert_eq!(json, text);
            assert_eq!(
                serde_json::from_str::<Fixed<2>>(&json).expect("read"),
                Fixed(value)
            );
        }
    }

    #[test]
    fn ratios_are_rounded_half_up() {
        assert_eq!(Fixed::<2>::ratio(1, 3), Some(Fixed(33)));
        assert_eq!(Fixed::<2>::ratio(1, 200), Some(Fixed(1)));
        assert_eq!(Fixed::<2>::ratio(-1, 200), Some(Fixed(0)));
        assert_eq!(Fixed::<2>::ratio(-3, 200), Some(Fixed(-1)));
        assert_eq!(Fixed::<2>::ratio(3, -200), Some(Fixed(-1)));
        assert_eq!(Fixed::<2>::ratio(1, 0), None);
        assert_eq!(Fixed::<2>::ratio(i128::MAX, 1), None);
        assert_eq!(Fixed::<2>::ratio(1, i128::MIN), None);
    }

    #[test]
    fn a_ratio_of_huge_numbers_is_exact() {
        let huge = i128::MAX / 32;
        assert_eq!(Fixed::<4>::ratio(huge, huge), Some(Fixed(10_000)));
        assert_eq!(Fixed::<4>::ratio(huge - 1, huge), Some(Fixed(10_000)));
        assert_eq!(Fixed::<4>::ratio(huge / 2, huge), Some(Fixed(5_000)));
        assert_eq!(Fixed::<4>::ratio(-huge, 3 * huge), Some(Fixed(-3_333)));
    }

    #[test]
    fn text_that_is_no_such_number_is_refused() {
        for bad in [
            "",
            ".",
            "1.",
            ".5",
            "1.234",
            "+1",
            "1e3",
            "1,5",
            "--1",
            "NaN",
            "99999999999999999999",
        ] {
            assert!(bad.parse::<Fixed<2>>().is_err(), "{bad:?}");
        }
    }
}
