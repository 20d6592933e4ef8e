//! Logarithm and power without `std`: enough for tempering likelihoods and for ranking tests, to about 1e-9.
//!
//! It must not know what the numbers mean.

use core::f64::consts::LN_2;

/// Natural logarithm. Zero and below, and whatever is not a normal number, count as the smallest normal number.
pub(crate) fn ln(value: f64) -> f64 {
    let value = if value.is_normal() && value > 0.0 {
        value
    } else {
        f64::MIN_POSITIVE
    };
    // value = mantissa * 2^exponent with mantissa in [1, 2).
    let bits = value.to_bits();
    let exponent = ((bits >> 52) & 0x7ff) as i32 - 1023;
    let mantissa = f64::from_bits((bits & 0x000f_ffff_ffff_ffff) | (1023 << 52));
    // ln m = 2 artanh((m - 1) / (m + 1)), whose series converges at least ninefold a term for m in [1, 2).
    let ratio = (mantissa - 1.0) / (mantissa + 1.0);
    let square = ratio * ratio;
    let mut term = ratio;
    let mut sum = 0.0;
    for n in 0..14_u8 {
        sum += term / f64::from(2 * n + 1);
        term *= square;
    }
    f64::from(exponent) * LN_2 + 2.0 * sum
}

/// e to the power of a value, held to the range of normal numbers.
fn exp(value: f64) -> f64 {
    let value = value.clamp(-700.0, 700.0);
    #[expect(clippy::cast_possible_truncation, reason = "at most ±1011")]
    let whole = (value / LN_2) as i32;
    let rest = value - f64::from(whole) * LN_2;
    let mut term = 1.0;
    let mut sum = 1.0;
    for n in 1..20_u8 {
        term *= rest / f64::from(n);
        sum += term;
    }
    let scale = f64::from_bits((i64::from(whole) + 1023).unsigned_abs() << 52);
    sum * scale
}

/// A probability to a power between 0 and 1.
pub(crate) fn tempered(value: f64, exponent: f64) -> f64 {
    // The usual exponent must not cost a rounding.
    if exponent >= 1.0 {
        value
    } else {
        exp(exponent.max(0.0) * ln(value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_the_real_functions() {
        for n in 1..2_000_u32 {
            let value = f64::from(n) / 700.0;
            assert!((ln(value) - value.ln()).abs() < 1e-9, "{value}");
            assert!((tempered(value, 0.37) - value.powf(0.37)).abs() < 1e-9);
            let power = f64::from(n) - 1_000.0;
            assert!((exp(power / 3.0) / (power / 3.0).exp() - 1.0).abs() < 1e-9);
        }
        assert!(ln(0.0) < -700.0 && ln(f64::NAN) < -700.0);
        assert_eq!(tempered(0.3, 1.0), 0.3);
    }
}
