//! What the log on disk needs of the pipeline: records that never expire, because they are durable; and handing over to the log
//! what waits in memory.

use std::time::{Duration, Instant};

use kinesis_record::Origin;

use crate::{
    pipeline::{Pipeline, batch::Pending, request::BatchId, spool_marks::SpoolMarks},
    record::Record,
    reply::Reply,
};

/// The deadline of a durable record: none that anybody will see.
pub(super) const FOREVER: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// A record in memory whose sender waits.
#[derive(Debug)]
pub(crate) struct Unsettled {
    /// The order of acceptance.
    pub(crate) number: u64,
    pub(crate) record: Record,
    pub(crate) place: Place,
}

/// Where it was.
#[derive(Debug)]
pub(crate) enum Place {
    /// In a lane; it was taken out. What it held of the buffer is still charged.
    Waiting { reply: Reply, epoch: u64, cost: u32 },
    /// On its way, at this position of a batch, which may have a mark; it stays there.
    Sent { batch: BatchId, position: usize, origin: Option<Origin> },
}

impl Pipeline {
    /// What the log on disk knows of the records in it.
    pub(crate) fn spool_marks(&mut self) -> &mut SpoolMarks {
        &mut self.spool_marks
    }

    /// Counts a record in that flushes wait for and that does not come through a lane. Returns its epoch.
    pub(crate) fn count_in(&mut self) -> u64 {
        self.outstanding.accept()
    }

    /// Counts such a record out.
    pub(crate) fn count_out(&mut self, epoch: u64) {
        self.outstanding.settle(epoch);
    }

    /// When the record was accepted whose sender waits longest, give or take what a reshard moved.
    pub(crate) fn oldest_accepted(&self) -> Option<Instant> {
        let waiting = self.lanes.iter().filter_map(|lane| lane.first_undurable_deadline());
        let sent = self.batches.values().filter_map(|batch| {
            batch.tickets.iter().find(|ticket| !ticket.reply.is_durable()).map(|ticket| ticket.deadline)
        });
        waiting.chain(sent).min().and_then(|deadline| deadline.checked_sub(self.config.record_deadline))
    }

    /// All records whose senders wait, in the order of acceptance. Those that are not on their way yet leave the pipeline.
    pub(crate) fn take_unsettled(&mut self) -> Vec<Unsettled> {
        let mut unsettled = Vec::new();
        for (id, batch) in &self.batches {
            if batch.tickets.iter().all(|ticket| ticket.reply.is_durable()) {
                continue;
            }
            let origin = batch.origin();
            for (position, (pending, ticket)) in batch.records().into_iter().zip(&batch.tickets).enumerate() {
                if ticket.reply.is_durable() {
                    continue;
                }
                let (partition_key, data) = pending;
                let explicit_hash_key = ticket.hash_key_is_explicit.then_some(ticket.hash_key);
                let record = Record { partition_key: (*partition_key).to_owned(), explicit_hash_key, data };
                let place = Place::Sent { batch: *id, position, origin };
                unsettled.push(Unsettled { number: ticket.number, record, place });
            }
        }
        for lane in &mut self.lanes {
            let (mut durable, waiting): (Vec<Pending>, Vec<Pending>) =
                lane.take_pending().partition(|pending| pending.ticket.reply.is_durable());
            durable.sort_by_key(|pending| pending.ticket.number);
            durable.into_iter().for_each(|pending| lane.push(pending));
            unsettled.extend(waiting.into_iter().map(Unsettled::from_waiting));
        }
        let taken = unsettled.iter().filter(|record| matches!(record.place, Place::Waiting { .. })).count();
        self.held -= taken;
        unsettled.sort_by_key(|record| record.number);
        unsettled
    }

    /// A record on its way is durable now: whoever sent it is told by others.
    pub(crate) fn make_durable(&mut self, batch: BatchId, position: usize, reply: Reply) -> Option<(Reply, u64)> {
        let deadline = self.started_at + FOREVER;
        let is_marked = self.config.dedupe_tag.is_some();
        let batch = self.batches.get_mut(&batch)?;
        // The log has the mark under which it is on its way, so it must not get another one.
        batch.is_adopted |= is_marked;
        let ticket = batch.tickets.get_mut(position)?;
        ticket.deadline = deadline;
        Some((std::mem::replace(&mut ticket.reply, reply), ticket.epoch))
    }
}

impl Unsettled {
    fn from_waiting(pending: Pending) -> Self {
        let ticket = pending.ticket;
        let explicit_hash_key = ticket.hash_key_is_explicit.then_some(ticket.hash_key);
        Unsettled {
            number: ticket.number,
            record: Record {
                partition_key: (*pending.partition_key).to_owned(),
                explicit_hash_key,
                data: pending.data,
            },
            place: Place::Waiting { reply: ticket.reply, epoch: ticket.epoch, cost: ticket.cost },
        }
    }
}
