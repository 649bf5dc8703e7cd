//! What a crash leaves at the end of a log: cut where it was never acknowledged, said where it was.

use proptest::prelude::*;

use super::*;

/// A log of a few commits: its last segment's bytes, and where each commit ends with what it had made readable.
async fn commits() -> (Vec<u8>, Vec<(usize, Vec<usize>)>) {
    let bench = Bench::new();
    let open = bench.open();
    let mut ends = vec![(usize::try_from(fs::metadata(bench.last_segment()).unwrap().len()).unwrap(), vec![0, 0, 0])];
    for texts in [&[(0, "one"), (1, "two"), (1, "three")][..], &[(2, "four")], &[(0, "five"), (2, ""), (1, "six")]] {
        open.append(texts).await.unwrap();
        let end = usize::try_from(fs::metadata(bench.last_segment()).unwrap().len()).unwrap();
        let counts = open.shards.iter().map(|shard| usize::try_from(shard.tail().next_counter - 1).unwrap()).collect();
        ends.push((end, counts));
    }
    (fs::read(bench.last_segment()).unwrap(), ends)
}

/// Opens a log whose only segment has these bytes.
fn reopened(bench: &Bench, bytes: &[u8]) -> Result<Open, LogError> {
    fs::create_dir_all(bench.dir()).unwrap();
    fs::write(bench.dir().join("000000000001-1000000.log"), bytes).unwrap();
    bench.try_open()
}

fn counts(open: &Open) -> Vec<usize> {
    open.shards.iter().map(|shard| read_all(shard, LARGE).len()).collect()
}

/// The commit that was whole at this length.
fn acknowledged_at(ends: &[(usize, Vec<usize>)], length: usize) -> &(usize, Vec<usize>) {
    ends.iter().rev().find(|(end, _)| *end <= length).unwrap()
}

#[tokio::test]
async fn cut_at_every_byte_no_acknowledged_record_is_lost() {
    let (whole, ends) = commits().await;
    for length in ends[0].0..=whole.len() {
        let bench = Bench::new();
        let open = reopened(&bench, &whole[..length]).unwrap();
        let (_, acknowledged) = acknowledged_at(&ends, length);
        let there = counts(&open);
        assert!(there.iter().zip(acknowledged).all(|(there, count)| there >= count), "{there:?} at {length}");
        let kept = fs::metadata(bench.last_segment()).unwrap().len();
        let torn = open.torn.as_ref().map_or(0, |torn| torn.bytes);
        assert_eq!(kept + torn, u64::try_from(length).unwrap(), "what was cut is said");
        assert_eq!(open.torn.as_ref().map(|torn| torn.offset), (torn > 0).then_some(kept));
        assert_eq!(open.append_one("next").await, Ok(vec![Some(u64::try_from(there[0]).unwrap() + 1)]));
        drop(open);
        assert_eq!(bench.open().torn, None, "the next start finds nothing to cut");
    }
}

#[tokio::test]
async fn garbled_at_every_byte_of_the_last_commit_it_alone_is_cut() {
    let (whole, ends) = commits().await;
    let (last_but_one, acknowledged) = &ends[ends.len() - 2];
    for at in *last_but_one..whole.len() {
        let bench = Bench::new();
        let mut bytes = whole.clone();
        bytes[at] ^= 0x5a;
        let open = reopened(&bench, &bytes).unwrap();
        let there = counts(&open);
        assert!(there.iter().zip(acknowledged).all(|(there, count)| there >= count), "{there:?} at {at}");
        assert!(open.torn.is_some(), "at {at}");
    }
}

#[tokio::test]
async fn damage_before_an_acknowledged_commit_is_not_taken_for_a_torn_write() {
    let (whole, ends) = commits().await;
    // The first commit: behind it lie two more, so it was acknowledged whatever of it is damaged.
    for at in ends[0].0..ends[1].0 {
        let bench = Bench::new();
        let mut bytes = whole.clone();
        bytes[at] ^= 0x5a;
        let opened = reopened(&bench, &bytes);
        assert!(matches!(opened, Err(LogError::Damaged { segment: 1, .. })), "at {at}");
        assert_eq!(fs::read(bench.last_segment()).unwrap(), bytes, "nothing is cut");
    }
    for at in 0..ends[0].0 {
        let bench = Bench::new();
        let mut bytes = whole.clone();
        bytes[at] ^= 0x5a;
        assert!(matches!(reopened(&bench, &bytes), Err(LogError::Io { .. })), "the header, at {at}");
    }
}

#[tokio::test]
async fn garbage_and_stale_blocks_behind_the_end_are_cut() {
    let (whole, ends) = commits().await;
    let stale = whole[ends[0].0..].to_vec();
    for tail in [vec![0; 5_000], vec![0xff; 40], stale] {
        let bench = Bench::new();
        let open = reopened(&bench, &[whole.clone(), tail.clone()].concat()).unwrap();
        assert_eq!(open.torn.as_ref().unwrap().bytes, u64::try_from(tail.len()).unwrap());
        assert_eq!(counts(&open), ends.last().unwrap().1);
        assert_eq!(fs::read(bench.last_segment()).unwrap(), whole);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    /// A write of which the disk took any pages in any order, or other bytes in their place.
    #[test]
    fn any_torn_last_commit_is_cut(
        length in 0_usize..400,
        holes in proptest::collection::vec((0_usize..400, 1_usize..60, any::<u8>()), 0..4),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let (whole, ends) = commits().await;
            let (start, acknowledged) = &ends[ends.len() - 2];
            let mut bytes = whole[..(start + length).min(whole.len())].to_vec();
            for (at, size, fill) in holes {
                let end = bytes.len();
                bytes[(start + at).min(end)..(start + at + size).min(end)].fill(fill);
            }
            let bench = Bench::new();
            let open = reopened(&bench, &bytes).unwrap();
            let there = counts(&open);
            assert!(there.iter().zip(acknowledged).all(|(there, count)| there >= count), "{there:?}");
            open.append_one("next").await.unwrap();
            drop(open);
            assert_eq!(bench.open().torn, None);
        });
    }
}
