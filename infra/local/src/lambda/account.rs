//! The account's concurrency: one pool that all functions share, and the bulkheads that some reserve of it.
//!
//! A reservation is a guarantee and a ceiling at once: nobody else can take it, and its function gets no more. At least
//! 100 stay unreserved, as at AWS.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::clock::Clock;
use crate::meter::{Level, Reading, count};

/// Concurrent invocations that no reservation may take.
pub const UNRESERVED_MIN: usize = 100;
/// Synchronous requests a second that each unit of concurrency allows, however short they are.
const REQUESTS_PER_ENVIRONMENT_PER_S: usize = 10;

/// Why an invocation was throttled, by the service's own names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Throttle {
    /// The unreserved concurrency of the account is used up.
    #[error("the account's unreserved concurrency is used up")]
    Account,
    /// The function's reserved concurrency is used up.
    #[error("the function's reserved concurrency is used up")]
    Reserved,
    /// More than ten synchronous requests a second for each unit of concurrency.
    #[error("more than ten requests a second for each unit of concurrency")]
    Rate,
    /// More new environments than the function may get: 1,000 every ten seconds.
    #[error("more than 1,000 new environments within ten seconds")]
    Scaling,
}

impl Throttle {
    /// The `Reason` of a `TooManyRequestsException`.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Account | Self::Scaling => "ConcurrentInvocationLimitExceeded",
            Self::Reserved => "ReservedFunctionConcurrentInvocationLimitExceeded",
            Self::Rate => "FunctionInvocationRateLimitExceeded",
        }
    }
}

/// A reservation that would leave less than [`UNRESERVED_MIN`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("reserving {asked} leaves less than {UNRESERVED_MIN} of the account's {limit} unreserved")]
pub struct NotReservable {
    /// What was asked for.
    pub asked: usize,
    /// The account's concurrency.
    pub limit: usize,
}

/// What is in use, and by whom.
#[derive(Debug)]
struct Usage {
    limit: usize,
    /// By function: those that run, and those that have reserved.
    functions: BTreeMap<String, Share>,
    /// All that are in use, and those that no function has reserved.
    levels: Levels,
}

#[derive(Debug, Clone, Copy, Default)]
struct Share {
    /// What the function has reserved, if it has.
    limit: Option<usize>,
    in_use: usize,
    level: Level,
}

#[derive(Debug, Clone, Copy, Default)]
struct Levels {
    all: Level,
    unreserved: Level,
    throttled: u64,
}

/// The account's concurrency at one moment.
#[derive(Debug, Clone)]
pub(super) struct ConcurrencyUse {
    /// Of the account: the limit and its use.
    pub(super) account: (u64, Reading),
    /// Of what no function has reserved.
    pub(super) unreserved: (u64, Reading),
    /// Invocations that found neither.
    pub(super) throttled: u64,
    /// By function.
    pub(super) reserved: Vec<(String, u64, Reading)>,
}

impl Usage {
    fn unreserved_limit(&self) -> usize {
        let reserved: usize = self.functions.values().filter_map(|share| share.limit).sum();
        self.limit.saturating_sub(reserved)
    }

    fn unreserved_in_use(&self) -> usize {
        self.functions.values().filter(|share| share.limit.is_none()).map(|share| share.in_use).sum()
    }

    fn reserve(&mut self, function: &str, asked: usize) -> Result<(), NotReservable> {
        let others = self.functions.iter().filter(|(name, _)| *name != function);
        let others: usize = others.filter_map(|(_, share)| share.limit).sum();
        if others.saturating_add(asked).saturating_add(UNRESERVED_MIN) > self.limit {
            return Err(NotReservable { asked, limit: self.limit });
        }
        self.functions.entry(function.to_owned()).or_default().limit = Some(asked);
        Ok(())
    }

    /// What runs of the function counts as unreserved from here on.
    fn release(&mut self, function: &str) {
        if let Some(share) = self.functions.get_mut(function) {
            share.limit = None;
        }
        self.functions.retain(|_, share| share.limit.is_some() || share.in_use > 0);
    }

    fn take(&mut self, function: &str) -> Result<(), Throttle> {
        let has_unreserved = self.unreserved_in_use() < self.unreserved_limit();
        match self.functions.get_mut(function) {
            Some(Share { limit: Some(limit), in_use, .. }) if *in_use < *limit => *in_use += 1,
            Some(Share { limit: Some(_), .. }) => return Err(Throttle::Reserved),
            Some(_) | None if !has_unreserved => return Err(Throttle::Account),
            Some(share) => share.in_use += 1,
            None => {
                let share = Share { limit: None, in_use: 1, level: Level::default() };
                self.functions.insert(function.to_owned(), share);
            }
        }
        Ok(())
    }

    fn give_back(&mut self, function: &str) {
        let Some(share) = self.functions.get_mut(function) else { return };
        share.in_use = share.in_use.saturating_sub(1);
        if share.in_use == 0 && share.limit.is_none() {
            self.functions.remove(function);
        }
    }

    /// Notes what is in use after a change.
    fn note(&mut self, function: &str, now_ms: i64) {
        let all = self.functions.values().map(|share| share.in_use).sum();
        let unreserved = self.unreserved_in_use();
        self.levels.all.set(all, now_ms);
        self.levels.unreserved.set(unreserved, now_ms);
        if let Some(share) = self.functions.get_mut(function) {
            share.level.set(share.in_use, now_ms);
        }
    }

    fn reserved(&self, function: &str) -> Option<usize> {
        self.functions.get(function)?.limit
    }

    /// What a function may have at most.
    fn ceiling(&self, function: &str) -> usize {
        self.reserved(function).unwrap_or_else(|| self.unreserved_limit())
    }
}

/// The account's concurrency. Cheap to clone; all clones are one account.
#[derive(Debug, Clone)]
pub(super) struct Account {
    /// Held for a few additions.
    usage: Arc<Mutex<Usage>>,
    clock: Clock,
}

/// The right to one invocation; given back when it is dropped.
#[derive(Debug)]
pub(super) struct Permit {
    account: Account,
    function: String,
}

impl Account {
    /// An account with this many concurrent invocations, at least one.
    pub(super) fn new(limit: usize, clock: Clock) -> Self {
        let usage = Usage { limit: limit.max(1), functions: BTreeMap::new(), levels: Levels::default() };
        Self { usage: Arc::new(Mutex::new(usage)), clock }
    }

    /// Sets apart `asked` for a function.
    pub(super) fn reserve(&self, function: &str, asked: usize) -> Result<(), NotReservable> {
        self.usage().reserve(function, asked)
    }

    /// Gives back what a function had set apart, if it had.
    pub(super) fn release(&self, function: &str) {
        self.usage().release(function);
    }

    /// What a function has set apart.
    pub(super) fn reserved(&self, function: &str) -> Option<usize> {
        self.usage().reserved(function)
    }

    /// Takes one for an invocation of a function.
    pub(super) fn take(&self, function: &str) -> Result<Permit, Throttle> {
        let mut usage = self.usage();
        let taken = usage.take(function);
        usage.note(function, self.clock.now_ms());
        usage.levels.throttled += u64::from(taken.is_err());
        taken?;
        Ok(Permit { account: self.clone(), function: function.to_owned() })
    }

    /// Synchronous requests a second that a function may have.
    pub(super) fn requests_per_s(&self, function: &str) -> usize {
        self.usage().ceiling(function).saturating_mul(REQUESTS_PER_ENVIRONMENT_PER_S)
    }

    /// What is in use, and was at most.
    pub(super) fn read(&self) -> ConcurrencyUse {
        let (usage, now_ms) = (self.usage(), self.clock.now_ms());
        let reserved = usage.functions.iter().filter_map(|(name, share)| Some((name, share.limit?, share.level)));
        ConcurrencyUse {
            account: (count(usage.limit), usage.levels.all.read(now_ms)),
            unreserved: (count(usage.unreserved_limit()), usage.levels.unreserved.read(now_ms)),
            throttled: usage.levels.throttled,
            reserved: reserved.map(|(name, limit, level)| (name.clone(), count(limit), level.read(now_ms))).collect(),
        }
    }

    fn usage(&self) -> MutexGuard<'_, Usage> {
        self.usage.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut usage = self.account.usage();
        usage.give_back(&self.function);
        usage.note(&self.function, self.account.clock.now_ms());
    }
}

/// A bucket of tokens that refills steadily.
#[derive(Debug, Clone)]
pub(super) struct TokenBucket {
    /// Millionths of a token, so that slow rates refill exactly.
    micros: u128,
    filled_at: Instant,
}

const MICROS_PER_TOKEN: u128 = 1_000_000;

impl TokenBucket {
    /// A full bucket of `size` tokens.
    pub(super) fn full(size: usize, now: Instant) -> Self {
        Self { micros: tokens(size), filled_at: now }
    }

    /// Takes a token from a bucket that holds `size` and refills in `refill`. Both may change from call to call.
    pub(super) fn take(&mut self, size: usize, refill: Duration, now: Instant) -> bool {
        let elapsed_us = now.saturating_duration_since(self.filled_at).as_micros();
        let refill_us = refill.as_micros().max(1);
        let gained = tokens(size).saturating_mul(elapsed_us) / refill_us;
        self.micros = self.micros.saturating_add(gained).min(tokens(size));
        self.filled_at = self.filled_at.max(now);
        let has_one = self.micros >= MICROS_PER_TOKEN;
        if has_one {
            self.micros -= MICROS_PER_TOKEN;
        }
        has_one
    }
}

fn tokens(count: usize) -> u128 {
    u128::try_from(count).unwrap_or(u128::MAX).saturating_mul(MICROS_PER_TOKEN)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_bulkhead_is_a_guarantee_and_a_ceiling() {
        let account = Account::new(103, Clock::standing_at(0));
        account.reserve("mine", 2).unwrap();
        let mine: Vec<Permit> = (0..2).map(|_| account.take("mine").unwrap()).collect();
        assert_eq!(account.take("mine").unwrap_err(), Throttle::Reserved);
        let others: Vec<Permit> = (0..101).map(|_| account.take("other").unwrap()).collect();
        assert_eq!(account.take("another").unwrap_err(), Throttle::Account);
        let used = account.read();
        assert_eq!(used.account, (103, Reading { now: 103, peak: 103 }));
        assert_eq!(used.unreserved, (101, Reading { now: 101, peak: 101 }));
        assert_eq!(used.reserved, [("mine".to_owned(), 2, Reading { now: 2, peak: 2 })]);
        assert_eq!(used.throttled, 2);
        drop(mine);
        assert_eq!(account.read().reserved, [("mine".to_owned(), 2, Reading { now: 0, peak: 2 })]);
        assert_eq!(account.take("another").unwrap_err(), Throttle::Account, "what is reserved stays so");
        account.take("mine").unwrap();
        drop(others);
        account.take("another").unwrap();
        assert_eq!((account.requests_per_s("mine"), account.requests_per_s("other")), (20, 1_010));
    }

    #[test]
    fn a_hundred_stay_unreserved() {
        let account = Account::new(1_000, Clock::standing_at(0));
        account.reserve("a", 500).unwrap();
        account.reserve("b", 400).unwrap();
        assert_eq!(account.reserve("c", 1).unwrap_err(), NotReservable { asked: 1, limit: 1_000 });
        account.reserve("b", 399).unwrap();
        account.reserve("c", 1).unwrap();
        account.reserve("c", 0).unwrap();
        assert_eq!(account.take("c").unwrap_err(), Throttle::Reserved, "a reservation of 0 is an off switch");
    }

    #[test]
    fn reservations_may_change_while_invocations_run() {
        let account = Account::new(102, Clock::standing_at(0));
        let first = account.take("f").unwrap();
        account.reserve("f", 1).unwrap();
        assert_eq!(account.take("f").unwrap_err(), Throttle::Reserved, "what runs counts as the function's own");
        assert_eq!(account.read().unreserved, (101, Reading { now: 0, peak: 1 }));
        account.release("f");
        assert_eq!((account.reserved("f"), account.requests_per_s("f")), (None, 1_020));
        let _second = account.take("f").unwrap();
        drop(first);
        assert_eq!(account.read().account.1.now, 1);
        account.reserve("f", usize::MAX).unwrap_err();
    }

    proptest! {
        #[test]
        fn a_bucket_never_gives_more_than_its_size_and_its_rate(
            size in 1_usize..20,
            gaps_ms in proptest::collection::vec(0_u64..400, 1..200),
        ) {
            let start = Instant::now();
            let refill = Duration::from_secs(1);
            let mut bucket = TokenBucket::full(size, start);
            let mut elapsed_ms = 0;
            let mut taken = 0_u128;
            for gap_ms in gaps_ms {
                elapsed_ms += gap_ms;
                taken += u128::from(bucket.take(size, refill, start + Duration::from_millis(elapsed_ms)));
                let allowed = u128::try_from(size).unwrap() * (1_000 + u128::from(elapsed_ms)) / 1_000;
                prop_assert!(taken <= allowed, "{} of {} after {} ms", taken, allowed, elapsed_ms);
            }
        }
    }
}
