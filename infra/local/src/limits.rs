//! Every limit that the local cloud holds, with how much of it is used: `GET /_millrace/limits`, and `millrace limits`.
//!
//! A service says its limits where it holds them (`limits` of each); here they are put in one order, the nearest first.
//! A peak is the most since midnight UTC, or since the start of the process. What was refused is counted since the start.

use std::cmp::Reverse;

use serde::{Deserialize, Serialize};

use crate::meter::Reading;

pub mod command;

/// One limit, and how much of it is used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LimitUse {
    /// The service that has it.
    pub service: String,
    /// What is limited.
    pub limit: String,
    /// Where: a stream, a shard, a function. Of many alike, the one that is nearest to its limit.
    pub at: String,
    /// The use now.
    pub now: u64,
    /// The most today.
    pub peak: u64,
    /// The most that is allowed.
    pub allowed: u64,
    /// What is counted.
    pub unit: String,
    /// The peak as a share of what is allowed, in thousandths.
    pub used_permille: u64,
    /// What was refused for it; none where that is not counted.
    pub refused: Option<u64>,
    /// Where it is documented, below `https://docs.aws.amazon.com/`.
    pub source: String,
}

impl LimitUse {
    /// A limit of a service: `(service, what)`, where, `(allowed, unit)` and its use.
    pub(crate) fn new(
        (service, limit): (&str, &str),
        at: impl Into<String>,
        (allowed, unit): (u64, &str),
        used: Reading,
        source: &str,
    ) -> Self {
        let peak = used.peak.max(used.now);
        let share = u128::from(peak) * 1_000 / u128::from(allowed.max(1));
        Self {
            service: service.to_owned(),
            limit: limit.to_owned(),
            at: at.into(),
            now: used.now,
            peak,
            allowed,
            unit: unit.to_owned(),
            used_permille: u64::try_from(share).unwrap_or(u64::MAX),
            refused: None,
            source: source.to_owned(),
        }
    }

    /// The same with what was refused.
    pub(crate) fn refused(mut self, refused: u64) -> Self {
        self.refused = Some(refused);
        self
    }
}

/// Puts the nearest first: by the share of the peak, then by what was refused.
pub(crate) fn sort(limits: &mut [LimitUse]) {
    limits.sort_by(|one, other| {
        let key = |limit: &LimitUse| (Reverse(limit.used_permille), Reverse(limit.refused.unwrap_or(0)));
        let name = |limit: &LimitUse| (limit.service.clone(), limit.limit.clone(), limit.at.clone());
        key(one).cmp(&key(other)).then_with(|| name(one).cmp(&name(other)))
    });
}

/// Of uses that are alike but for where, the fullest, with what all of them refused.
pub(crate) fn fullest<T>(
    uses: impl IntoIterator<Item = (T, Reading, u64)>,
    empty: impl FnOnce() -> T,
) -> (T, Reading, u64) {
    let mut uses = uses.into_iter();
    let Some(first) = uses.next() else { return (empty(), Reading::default(), 0) };
    uses.fold(first, |(at, used, refused), (other_at, other, other_refused)| {
        let is_fuller = used.or_higher(other) != used;
        let refused = refused + other_refused;
        if is_fuller { (other_at, other, refused) } else { (at, used, refused) }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limit(name: &str, now: u64, peak: u64, allowed: u64) -> LimitUse {
        LimitUse::new(("s", name), "x", (allowed, "bytes"), Reading { now, peak }, "page")
    }

    #[test]
    fn the_nearest_comes_first() {
        let mut limits =
            [limit("idle", 0, 0, 10), limit("over", 0, 30, 20), limit("near", 9, 0, 10), limit("half", 1, 5, 10)];
        sort(&mut limits);
        let order: Vec<(&str, u64)> = limits.iter().map(|limit| (limit.limit.as_str(), limit.used_permille)).collect();
        assert_eq!(order, [("over", 1_500), ("near", 900), ("half", 500), ("idle", 0)]);
        assert_eq!(limit("none", 1, 1, 0).used_permille, 1_000, "a limit of nothing is not divided by");
    }

    #[test]
    fn the_fullest_stands_for_all() {
        let reading = |now, peak| Reading { now, peak };
        let uses = [("a", reading(1, 5), 2), ("b", reading(0, 9), 1), ("c", reading(8, 8), 0)];
        assert_eq!(fullest(uses, || "none"), ("b", reading(0, 9), 3));
        assert_eq!(fullest([], || "none"), ("none", Reading::default(), 0));
    }
}
