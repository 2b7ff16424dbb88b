//! How long to wait before the next round. Pure.

use std::time::Duration;

/// The first wait, before jitter.
const FIRST: Duration = Duration::from_millis(10);
/// How often the wait doubles: 320 ms is the longest.
const DOUBLINGS_MAX: u32 = 5;

/// The wait before round `round`, the first being 1: doubled each time, and by `draw`
/// somewhere in the upper half, so that those who failed together do not return together.
pub(crate) fn backoff(round: u32, draw: u16) -> Duration {
    let longest = FIRST * 2u32.pow(round.saturating_sub(1).min(DOUBLINGS_MAX));
    let share = f64::from(draw) / f64::from(u16::MAX);
    longest.mul_f64(0.5 + share / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_doubles_up_to_a_bound_and_lies_in_the_upper_half() {
        let ms = Duration::from_millis;
        for (round, draw, wait) in [
            (1, 0, ms(5)),
            (1, u16::MAX, ms(10)),
            (2, u16::MAX, ms(20)),
            (6, 0, ms(160)),
            (6, u16::MAX, ms(320)),
            (u32::MAX, u16::MAX, ms(320)),
        ] {
            assert_eq!(backoff(round, draw), wait, "round {round}, draw {draw}");
        }
    }
}
