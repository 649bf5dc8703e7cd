//! What to do with a batch that failed: again, and when; or not.

use std::time::{Duration, Instant};

use rand::{Rng, rngs::StdRng};

use crate::error::{Failure, FailureClass};

/// The first retry comes after 25 to 50 ms: about two round trips.
const BACKOFF_FIRST: Duration = Duration::from_millis(50);

/// Later ones come after at most a second: full speed must be back within a few seconds of the end of an outage.
const BACKOFF_MAX: Duration = Duration::from_secs(1);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The same bytes again, from this moment on.
    Retry(Instant),
    /// The stream will not take it; tell the senders.
    Refuse,
    /// The earliest record inside has no time left for another attempt, which would be made at this moment.
    Expire(Instant),
}

pub(crate) fn verdict(
    failure: &Failure,
    attempts: u32,
    now: Instant,
    deadline: Option<Instant>,
    random: &mut StdRng,
) -> Verdict {
    match failure.class() {
        FailureClass::Refused => Verdict::Refuse,
        FailureClass::Throttled | FailureClass::Temporary => {
            let at = now + backoff(attempts, random);
            let has_time = deadline.is_none_or(|deadline| at < deadline);
            if has_time { Verdict::Retry(at) } else { Verdict::Expire(at) }
        }
    }
}

/// Doubles with each attempt; half of it is random, so that producers which failed together do not come back together.
pub(crate) fn backoff(attempts: u32, random: &mut StdRng) -> Duration {
    let doublings = attempts.saturating_sub(1).min(16);
    let ceiling = BACKOFF_FIRST.saturating_mul(1 << doublings).min(BACKOFF_MAX);
    random.random_range(ceiling / 2..=ceiling)
}

/// Whether a refusal may be due to one record of the request, so that the others deserve a request of their own.
pub(crate) fn blames_a_record(failure: &Failure) -> bool {
    matches!(
        failure.code(),
        Some("InvalidArgumentException" | "ValidationException" | "SerializationException" | "RequestEntityTooLarge")
    )
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use rand::{SeedableRng, rngs::StdRng};

    use super::{BACKOFF_MAX, Verdict, backoff, verdict};
    use crate::error::{Failure, FailureClass};

    #[test]
    fn backoff_doubles_up_to_a_second() {
        let mut random = StdRng::seed_from_u64(1);
        for (attempts, from_ms, to_ms) in
            [(1, 25, 50), (2, 50, 100), (3, 100, 200), (6, 500, 1000), (u32::MAX, 500, 1000)]
        {
            for _ in 0..100 {
                let pause = backoff(attempts, &mut random);
                let bounds = Duration::from_millis(from_ms)..=Duration::from_millis(to_ms);
                assert!(bounds.contains(&pause) && pause <= BACKOFF_MAX, "{attempts} {pause:?}");
            }
        }
    }

    #[test]
    fn each_class_has_its_verdict() {
        let now = Instant::now();
        let failure = |class| Failure::service("Code", "words", class);
        let mut random = StdRng::seed_from_u64(1);
        let mut check = |class, left_ms: u64, expect: fn(Verdict) -> bool| {
            let deadline = Some(now + Duration::from_millis(left_ms));
            assert!(expect(verdict(&failure(class), 1, now, deadline, &mut random)), "{class:?} {left_ms}");
        };
        check(FailureClass::Refused, 10_000, |verdict| verdict == Verdict::Refuse);
        check(FailureClass::Temporary, 10_000, |verdict| matches!(verdict, Verdict::Retry(_)));
        check(FailureClass::Throttled, 51, |verdict| matches!(verdict, Verdict::Retry(_)));
        check(FailureClass::Throttled, 25, |verdict| matches!(verdict, Verdict::Expire(_)));
        check(FailureClass::Temporary, 0, |verdict| matches!(verdict, Verdict::Expire(_)));
    }
}
