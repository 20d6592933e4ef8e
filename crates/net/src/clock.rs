//! The one clock of a check: a monotonic zero, and the wall clock's reading at that moment.
//!
//! Everything recorded is time since the zero; the wall clock is only for dates and certificates. The
//! pure crates have no clock at all: they are handed these durations.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// A clock that was started once.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    zero: Instant,
    wall: i64,
}

impl Clock {
    /// Starts now.
    #[must_use]
    pub fn start() -> Self {
        let wall = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_secs());
        Self {
            zero: Instant::now(),
            wall: i64::try_from(wall).unwrap_or(i64::MAX),
        }
    }

    /// Time since the zero, in whole microseconds: the archive keeps no more, and a record must be the same
    /// before and after it was written.
    #[must_use]
    pub fn now(&self) -> Duration {
        Duration::from_micros(
            self.zero
                .elapsed()
                .as_micros()
                .try_into()
                .unwrap_or(u64::MAX),
        )
    }

    /// The wall clock at the zero, seconds since 1970.
    #[must_use]
    pub const fn wall(&self) -> i64 {
        self.wall
    }

    /// The wall clock now, seconds since 1970.
    #[must_use]
    pub fn wall_now(&self) -> i64 {
        self.wall
            .saturating_add(i64::try_from(self.now().as_secs()).unwrap_or(i64::MAX))
    }

    /// The moment at which so much time since the zero will have passed.
    #[must_use]
    pub fn instant(&self, since_zero: Duration) -> Instant {
        // A time that no Instant can hold is as good as never; a century is never here.
        self.zero
            .checked_add(since_zero)
            .unwrap_or(self.zero + Duration::from_secs(3_155_760_000))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_and_durations_agree() {
        let clock = Clock::start();
        assert!(clock.wall() > 1_500_000_000 && clock.wall_now() >= clock.wall());
        let moment = clock.instant(Duration::from_millis(5));
        assert_eq!(
            moment - clock.instant(Duration::ZERO),
            Duration::from_millis(5)
        );
        assert!(clock.instant(Duration::MAX) > moment);
        assert_eq!(clock.now().subsec_nanos() % 1000, 0);
    }
}
