//! How a compressed aggregate grows. Its size on the wire is known only when it has been compressed, and compressing after every
//! record would cost many times the work. So a lane estimates from the aggregates before how many bytes of records will fill
//! one, compresses once, and checks: the limit is on the compressed bytes and always holds. Where the estimate was too bold, the
//! last records go back to the queue and the rest is compressed again.

use bytes::Bytes;
use kinesis_record::{AggregateBuilder, CONTENT_BYTES_MAX, Compressor, SpoolMark};

use super::{Cut, Lane, wants_wrapping};
use crate::{
    config::Config,
    pipeline::batch::{Batch, Pending},
};

/// Shares are counted in parts of this.
const WHOLE: u64 = 1 << 16;

/// An aggregate that keeps less than a 256th of its bytes is not one to reckon with.
const SHARE_MIN: u64 = WHOLE / 256;

/// The estimate fills an aggregate to this part: most then come out below the limit at the first try.
const FILL_PERCENT: usize = 96;

/// What part of its bytes an aggregate keeps, from those before. It believes bad news at once and good news by and by, for an
/// aggregate too full costs a second compression, and one not quite full costs nothing.
#[derive(Debug, Default)]
pub(super) struct Estimate {
    /// In parts of [`WHOLE`]; nothing is known at first.
    share: Option<u64>,
}

impl Estimate {
    /// Bytes of an aggregate that are likely to be compressed to `bytes_max`. At first, as if nothing were gained.
    pub(super) fn content_max(&self, bytes_max: usize) -> usize {
        let share = self.share.unwrap_or(WHOLE).clamp(SHARE_MIN, WHOLE);
        let filled = bytes_max as u64 * WHOLE / share;
        let filled = usize::try_from(filled).unwrap_or(usize::MAX) / 100 * FILL_PERCENT;
        // Never less than would go uncompressed.
        filled.clamp(bytes_max, CONTENT_BYTES_MAX.max(bytes_max))
    }

    /// Learns from an aggregate that was about as full as one can be.
    pub(super) fn learn(&mut self, content: usize, compressed: usize) {
        let sample = compressed as u64 * WHOLE / (content as u64).max(1);
        self.share = Some(match self.share {
            Some(share) if sample < share => share - (share - sample).div_ceil(4),
            Some(_) | None => sample,
        });
    }
}

/// Records on their way into an aggregate.
#[derive(Debug)]
struct Filling {
    builder: AggregateBuilder,
    mark: Option<SpoolMark>,
    taken: Vec<Pending>,
}

impl Filling {
    /// Begins anew, with these records.
    fn fill(&mut self, cut: &Cut<'_>, records: Vec<Pending>, landing: u128) {
        self.mark = records.first().and_then(|first| cut.begin(&mut self.builder, first));
        records.into_iter().for_each(|pending| self.push(pending, landing));
    }

    fn size_with(&mut self, next: &Pending, landing: u128) -> usize {
        self.builder.number_next(next.ticket.reply.spool_number());
        self.builder.size_with(&next.partition_key, Some(landing), next.data.len())
    }

    fn push(&mut self, pending: Pending, landing: u128) {
        self.builder.number_next(pending.ticket.reply.spool_number());
        self.builder.push(&pending.partition_key, Some(landing), pending.data.clone());
        self.taken.push(pending);
    }
}

impl Lane {
    /// Bytes of records that fill the next aggregate of so many bytes on the wire.
    pub(super) fn aggregate_content_max(&self, bytes_max: usize, config: &Config) -> usize {
        if config.compression_level.is_some() { self.estimate.content_max(bytes_max) } else { bytes_max }
    }

    /// Cuts the next batch into at most `bytes_max` of compressed bytes; a record that is larger by itself goes alone.
    pub(super) fn cut_compressed(
        &mut self,
        bytes_max: usize,
        cut: Cut<'_>,
        config: &Config,
        compressor: &mut Compressor,
    ) -> Option<Batch> {
        let content_max = self.estimate.content_max(bytes_max);
        let landing = self.range.start;
        let mut filling = Filling { builder: AggregateBuilder::new(), mark: None, taken: Vec::new() };
        filling.fill(&cut, vec![self.queue.pop()?], landing);
        while let Some(next) = self.queue.front()
            && cut.joins(filling.mark.as_ref(), next)
            && filling.size_with(next, landing) <= content_max
            && let Some(next) = self.queue.pop()
        {
            filling.push(next, landing);
        }
        loop {
            let content = filling.builder.size();
            let data = match compressor.compress(&filling.builder) {
                Ok(data) if data.len() < content => data,
                // Nothing is gained, or zstd has no memory: readers take the other form as well.
                Ok(_) | Err(_) => filling.builder.encode(),
            };
            let is_too_large = data.len() > bytes_max && filling.taken.len() > 1;
            let is_full = content >= content_max / 2;
            if is_too_large || is_full {
                self.estimate.learn(content, data.len());
            }
            if !is_too_large {
                return Some(self.batch(filling.taken, data, config));
            }
            let fitting = filling.taken.len() * bytes_max / data.len() * FILL_PERCENT / 100;
            let keep = fitting.clamp(1, filling.taken.len() - 1);
            while filling.taken.len() > keep
                && let Some(last) = filling.taken.pop()
            {
                self.queue.push_front(last);
            }
            let taken = std::mem::take(&mut filling.taken);
            filling.fill(&cut, taken, landing);
        }
    }

    /// The batch of what was taken: the aggregate, or a single record as it is where that is smaller.
    fn batch(&self, mut taken: Vec<Pending>, data: Bytes, config: &Config) -> Batch {
        if let [single] = &*taken {
            let plain_bytes = single.partition_key.len() + single.data.len();
            let packed_bytes = self.outer_key.len() + data.len();
            let is_worth_packing = packed_bytes < plain_bytes || wants_wrapping(single, config);
            let goes_plain = !is_worth_packing || packed_bytes > config.record_bytes_max;
            if goes_plain && let Some(single) = taken.pop() {
                return Batch::plain(self.id, single);
            }
        }
        self.aggregate(data, taken.into_iter().map(|pending| pending.ticket).collect(), config)
    }
}

#[cfg(test)]
mod tests;
