//! The limiter against its own promise: no window sees more than the rate, a burst and one record; and no less than is there.

use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::{BURST_CELLS, CLIMB_S, Limiter, PPM, PipelineClock, SHARE_PPM_MIN, THROTTLE_PAUSE, Window};

struct Bench {
    start: Instant,
    clock: PipelineClock,
    limiter: Limiter,
}

impl Bench {
    fn new(rate_limit_percent: u32) -> Self {
        let clock = PipelineClock::default();
        Bench { start: Instant::now(), limiter: Limiter::new(clock.clone(), rate_limit_percent), clock }
    }

    /// Sends records of `bytes` for `length`, asking again `late` after each moment that the limiter named. Returns when
    /// each went.
    fn saturate(&mut self, bytes: usize, from: Duration, length: Duration, late: Duration) -> Vec<Duration> {
        let mut at = from;
        let mut sent = Vec::new();
        while at < from + length {
            self.clock.set(at);
            match self.limiter.wait() {
                None => {
                    self.limiter.charge(bytes, self.start + at);
                    sent.push(at);
                }
                Some(wait) => at += wait.max(Duration::from_nanos(1)) + late,
            }
        }
        sent
    }
}

const MINUTE: Duration = Duration::from_secs(60);

#[test]
fn a_saturated_limiter_uses_all_of_the_limit_and_no_more() {
    let check = |bytes: usize, percent: u32, expect: usize| {
        for late_ms in [0, 1, 4] {
            let mut bench = Bench::new(percent);
            let sent = bench.saturate(bytes, Duration::ZERO, MINUTE, Duration::from_millis(late_ms)).len();
            let range = expect * 995 / 1000..=expect * 1005 / 1000 + 11;
            assert!(range.contains(&sent), "{bytes} B at {percent} %, {late_ms} ms late: {sent} records");
        }
    };
    check(51_200, 100, 60_000_000 / 51_200);
    check(1_000, 100, 60_000);
    // Bound by count: 1,000 records a second, however small.
    check(1, 100, 60_000);
    check(100, 50, 30_000);
    check(51_200, 10, 6_000_000 / 51_200);
}

#[test]
fn a_record_of_any_size_passes_and_is_paid_for_afterwards() {
    let mut bench = Bench::new(100);
    let sent = bench.saturate(10 << 20, Duration::ZERO, MINUTE, Duration::ZERO);
    let seconds: Vec<u64> = sent.iter().map(Duration::as_secs).collect();
    assert_eq!(seconds, [0, 10, 20, 31, 41, 52]);
}

#[test]
fn a_throttled_record_takes_off_its_part_and_time_restores_it() {
    let start = Instant::now();
    for (records, throttled, expect_ppm) in [(0, 1, 857_143), (20, 1, 950_000), (1000, 1, 999_000), (1000, 25, 975_297)]
    {
        let mut limiter = Bench::new(100).limiter;
        for _ in 0..records {
            limiter.charge(1, start);
        }
        for _ in 0..throttled {
            limiter.throttle(start);
        }
        let share_ppm = limiter.share_ppm(start);
        assert!(share_ppm.abs_diff(expect_ppm) < 50, "{throttled} of {records}: {share_ppm}");
    }
    let mut limiter = Bench::new(100).limiter;
    for turn in 0..200 {
        limiter.throttle(start + THROTTLE_PAUSE / 10 * turn);
    }
    let paused_ppm = limiter.share_ppm(start + THROTTLE_PAUSE * 20);
    // Twenty pauses of 25 ms times ten: each takes off a seventh, not more.
    assert!((40_000..60_000).contains(&paused_ppm), "{paused_ppm}");
    for turn in 20..200 {
        limiter.throttle(start + THROTTLE_PAUSE * turn);
    }
    let lowest_at = start + THROTTLE_PAUSE * 199;
    assert!((SHARE_PPM_MIN..SHARE_PPM_MIN + 300).contains(&limiter.share_ppm(lowest_at)));
    let share_after = |seconds| limiter.share_ppm(lowest_at + Duration::from_secs(seconds));
    assert!(share_after(20) < SHARE_PPM_MIN + PPM * 3 / 100, "slow at first");
    assert_eq!(share_after(CLIMB_S), PPM, "whole at the latest when the climb is over");
}

#[test]
fn a_lowered_share_lowers_both_rates() {
    for bytes in [1, 51_200] {
        let mut bench = Bench::new(100);
        let full = bench.saturate(bytes, Duration::ZERO, MINUTE, Duration::ZERO).len();
        for turn in 1..=4 {
            // Long enough apart that none has company.
            bench.limiter.window = Window::default();
            bench.limiter.throttle(bench.start + MINUTE - THROTTLE_PAUSE * (4 - turn));
        }
        let ten_seconds = bench.saturate(bytes, MINUTE, MINUTE / 6, Duration::ZERO).len();
        let percent = ten_seconds * 600 / full;
        assert!((53..=58).contains(&percent), "{bytes} B: {percent} % of 54 %");
    }
}

proptest! {
    #[test]
    fn no_window_sees_more_than_the_rate_a_burst_and_one_record(
        asks in proptest::collection::vec((0..60_u64, prop_oneof![1..3_000_usize, 1..60_000_usize]), 1..300),
    ) {
        let mut bench = Bench::new(100);
        let mut at = Duration::ZERO;
        let mut sent: Vec<(Duration, u64)> = Vec::new();
        for (pause_ms, bytes) in asks {
            at += Duration::from_millis(pause_ms);
            bench.clock.set(at);
            if bench.limiter.wait().is_none() {
                bench.limiter.charge(bytes, bench.start + at);
                sent.push((at, u64::try_from(bytes).unwrap()));
            }
        }
        for (first, (from, _)) in sent.iter().enumerate() {
            let mut window_bytes = 0;
            for (records, (to, bytes)) in (1_u128..).zip(&sent[first..]) {
                window_bytes += bytes;
                // The last record passes on credit: it is not counted against the window.
                let length = *to - *from;
                let allowed_bytes = length.as_micros() + u128::from(BURST_CELLS);
                prop_assert!(u128::from(window_bytes - bytes) <= allowed_bytes, "{window_bytes} B in {length:?}");
                prop_assert!(records - 1 <= length.as_millis() + u128::from(BURST_CELLS) / 1_000);
            }
        }
    }
}
