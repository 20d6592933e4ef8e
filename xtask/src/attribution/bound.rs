//! How sure a count is: exact one-sided bounds of a rate (Clopper and Pearson, 1934), without approximation.
//!
//! No error in n runs does not mean that there is none: with 95 % confidence the rate lies below 1 − 0.05^(1/n).

/// The doubt that is left.
const DOUBT: f64 = 0.05;

/// The rate that `errors` in `runs` still allow with 95 % confidence; 1 where nothing was run.
pub(crate) fn upper(errors: usize, runs: usize) -> f64 {
    if runs == 0 || errors >= runs {
        return 1.0;
    }
    if errors == 0 {
        return 1.0 - DOUBT.powf(1.0 / runs as f64);
    }
    // The chance of so few errors falls as the rate rises.
    let (mut low, mut high) = (0.0, 1.0);
    for _ in 0..60 {
        let middle = f64::midpoint(low, high);
        if at_most(errors, runs, middle) > DOUBT {
            low = middle;
        } else {
            high = middle;
        }
    }
    high
}

/// The chance of at most `errors` in `runs` at this rate.
fn at_most(errors: usize, runs: usize, rate: f64) -> f64 {
    if rate <= 0.0 {
        return 1.0;
    }
    if rate >= 1.0 {
        return 0.0;
    }
    let mut log_ways = 0.0;
    let mut sum = 0.0;
    for count in 0..=errors {
        if count > 0 {
            log_ways += ((runs - count + 1) as f64 / count as f64).ln();
        }
        let log = log_ways + count as f64 * rate.ln() + (runs - count) as f64 * (-rate).ln_1p();
        sum += log.exp();
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::{at_most, upper};

    fn near(left: f64, right: f64) {
        assert!((left - right).abs() < 5e-4, "{left} is not {right}");
    }

    #[test]
    fn published_values_come_out() {
        // "0 errors in 300: 95 % upper bound 1 %", and the rule of three.
        near(upper(0, 300), 0.0099);
        near(upper(0, 3), 0.6316);
        near(upper(0, 10), 0.2589);
        near(upper(0, 30), 0.0950);
        // One-sided Clopper-Pearson, as in the usual tables.
        near(upper(1, 10), 0.3942);
        near(upper(2, 50), 0.1206);
        near(upper(10, 100), 0.1637);
    }

    #[test]
    fn the_edges_are_honest() {
        assert_eq!(upper(0, 0), 1.0);
        assert_eq!(upper(5, 5), 1.0);
        near(at_most(3, 10, 0.0), 1.0);
        near(at_most(3, 10, 1.0), 0.0);
        near(at_most(9, 10, 0.5), 1.0 - 0.5_f64.powi(10));
    }

    #[test]
    fn more_errors_allow_more() {
        for errors in 0..20 {
            assert!(upper(errors, 20) <= upper(errors + 1, 20));
        }
    }
}
