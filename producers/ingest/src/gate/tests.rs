//! A stream of a known speed behind the gate, with made-up time.

use std::collections::VecDeque;

use super::*;

const WAIT_MAX: Duration = Duration::from_secs(1);

/// A queue that is served in order, a fixed number of events a millisecond.
struct Stream {
    gate: State,
    now: Instant,
    queue: VecDeque<Instant>,
    admitted: u32,
    shed: u32,
    longest: Duration,
}

impl Stream {
    fn new() -> Self {
        let now = Instant::now();
        Self {
            gate: State::new(WAIT_MAX, now),
            now,
            queue: VecDeque::new(),
            admitted: 0,
            shed: 0,
            longest: Duration::ZERO,
        }
    }

    /// Lets `offered` events come and serves `served` of them, each millisecond.
    fn run(&mut self, millis: u64, offered: usize, served: usize) {
        for _ in 0..millis {
            for _ in 0..offered {
                if self.gate.admits(self.now) {
                    self.gate.enter(self.now);
                    self.queue.push_back(self.now);
                    self.admitted += 1;
                } else {
                    self.shed += 1;
                }
            }
            self.now += Duration::from_millis(1);
            for _ in 0..served.min(self.queue.len()) {
                let entered = self.queue.pop_front().unwrap();
                let waited = self.now - entered;
                self.longest = self.longest.max(waited);
                self.gate.leave(self.now, waited);
            }
        }
    }

    fn begin_to_count(&mut self) {
        (self.admitted, self.shed, self.longest) = (0, 0, Duration::ZERO);
    }
}

#[test]
fn a_stream_that_keeps_up_sheds_nothing() {
    let mut stream = Stream::new();
    stream.run(5_000, 10, 10);
    // A busy moment of 0.9 s, worked off again.
    stream.run(900, 20, 10);
    stream.run(5_000, 5, 10);
    assert_eq!(stream.shed, 0);
    assert!(stream.longest < WAIT_MAX, "{:?}", stream.longest);
}

#[test]
fn under_twice_the_load_waits_stay_bounded_and_the_stream_stays_busy() {
    let mut stream = Stream::new();
    stream.run(20_000, 20, 10);
    stream.begin_to_count();
    stream.run(60_000, 20, 10);
    assert!(stream.longest <= WAIT_MAX * 2, "{:?}", stream.longest);
    // Ten a millisecond are served: what was admitted is within a twentieth of that.
    assert!((570_000..=630_000).contains(&stream.admitted), "{}", stream.admitted);
    // Once the load is gone nothing is shed any more.
    stream.run(5_000, 5, 10);
    stream.begin_to_count();
    stream.run(5_000, 9, 10);
    assert_eq!(stream.shed, 0);
}

#[test]
fn a_stream_that_stands_still_lets_nobody_in_after_the_longest_wait() {
    let mut stream = Stream::new();
    stream.run(1_000, 10, 10);
    stream.begin_to_count();
    stream.run(5_000, 10, 0);
    assert!((9_990..=10_030).contains(&stream.admitted), "a second's worth: {}", stream.admitted);
    // It moves again: the queue is worked off, and everybody is let in.
    stream.run(4_000, 10, 20);
    stream.begin_to_count();
    stream.run(2_000, 10, 20);
    assert_eq!(stream.shed, 0);
}

#[test]
fn an_idle_gate_is_open_however_long_ago_something_moved() {
    let start = Instant::now();
    let gate = Gate::new(WAIT_MAX, start);
    assert!(gate.admits(start + WAIT_MAX * 100));
    gate.enter(start + WAIT_MAX * 100);
    assert!(gate.admits(start + WAIT_MAX * 101));
    assert!(!gate.admits(start + WAIT_MAX * 102), "the only one stands still");
    gate.leave(start + WAIT_MAX * 102, WAIT_MAX * 2);
    assert!(gate.admits(start + WAIT_MAX * 102));
    assert_eq!(gate.waiting(), 0);
}
