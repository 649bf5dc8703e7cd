//! A Kinesis record on its way: what is sent, and whom to answer. Immutable once it is made; every attempt sends the same
//! bytes.

use std::{sync::Arc, time::Instant};

use crate::{
    pipeline::{key::Key, lane::LaneId},
    record::Record,
    reply::Reply,
};
use bytes::Bytes;
use kinesis_record::{CONTENT_BYTES_MAX, HashRange, Origin, Unpacked, hash_key, unpack, unpack_aggregate};

/// One entry of a `PutRecords` request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) partition_key: Arc<str>,
    /// In decimal digits, as the service takes it.
    pub(crate) explicit_hash_key: Option<Arc<str>>,
    pub(crate) data: Bytes,
}

impl Entry {
    /// What counts against the limits of records, requests and shards.
    pub(crate) fn bytes(&self) -> usize {
        self.partition_key.len() + self.data.len()
    }
}

/// The claim of one user record to an answer.
#[derive(Debug)]
pub(crate) struct Ticket {
    pub(crate) reply: Reply,
    /// Decides the lane: the explicit hash key, or else the partition key's.
    pub(crate) hash_key: u128,
    pub(crate) hash_key_is_explicit: bool,
    /// The order of acceptance.
    pub(crate) number: u64,
    /// Which flush waits for it.
    pub(crate) epoch: u64,
    /// What it is charged against the buffer.
    pub(crate) cost: u32,
    /// Requests that carried it in batches that were taken apart.
    pub(crate) attempts_before: u32,
    pub(crate) deadline: Instant,
}

/// A user record that waits for its turn in a lane.
#[derive(Debug)]
pub(crate) struct Pending {
    pub(crate) partition_key: Key,
    pub(crate) data: Bytes,
    pub(crate) ticket: Ticket,
}

impl Pending {
    pub(crate) fn new(record: Record, ticket: Ticket) -> Self {
        Pending { partition_key: record.partition_key.into(), data: record.data, ticket }
    }
}

/// How long a batch stays what it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Expires {
    /// Until its first record expires: those that have time left are cut anew.
    WithFirst,
    /// Until its last one does, for it carries a mark. Cut anew, its records would get another mark, while an attempt without
    /// an answer may have stored them under this one.
    WithLast,
}

#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a question of its own; no two of them make a state")]
pub(crate) struct Batch {
    pub(crate) lane: LaneId,
    /// The hash keys whose order depends on this batch: no later record of them may be sent before it is settled.
    pub(crate) keys: HashRange,
    /// The hash key by which the service chooses the shard.
    pub(crate) landing: u128,
    pub(crate) entry: Entry,
    /// The user records inside, by sub-sequence number.
    pub(crate) tickets: Vec<Ticket>,
    pub(crate) is_aggregate: bool,
    pub(crate) expires: Expires,
    pub(crate) attempts: u32,
    /// Attempts that ended so that the stream may have stored it.
    pub(crate) doubtful_attempts: u32,
    /// Goes in a request of its own: a request that it shared was refused, and it may be the reason.
    pub(crate) alone: bool,
    /// The log on disk holds records of it under its mark, so it is never cut anew.
    pub(crate) is_adopted: bool,
}

impl Batch {
    /// A record that goes as it was put.
    pub(crate) fn plain(lane: LaneId, pending: Pending) -> Self {
        let ticket = pending.ticket;
        let explicit = ticket.hash_key_is_explicit.then(|| ticket.hash_key.to_string().into());
        Batch {
            lane,
            keys: HashRange { start: ticket.hash_key, end: ticket.hash_key },
            landing: ticket.hash_key,
            entry: Entry {
                partition_key: (*pending.partition_key).into(),
                explicit_hash_key: explicit,
                data: pending.data,
            },
            tickets: vec![ticket],
            is_aggregate: false,
            expires: Expires::WithFirst,
            attempts: 0,
            doubtful_attempts: 0,
            alone: false,
            is_adopted: false,
        }
    }

    /// When to stop sending it as it is.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        // Records of a lane are accepted, and so expire, in their order.
        let ticket = match self.expires {
            Expires::WithFirst => self.tickets.first(),
            Expires::WithLast => self.tickets.last(),
        };
        ticket.map(|ticket| ticket.deadline)
    }

    /// The partition keys and data of the user records inside, by sub-sequence number.
    pub(crate) fn records(&self) -> Vec<(Arc<str>, Bytes)> {
        let records: Vec<(Arc<str>, Bytes)> = match unpack(&self.entry.data) {
            Ok(Unpacked::Aggregate(records)) if self.is_aggregate => {
                records.into_iter().map(|record| (record.partition_key, record.data)).collect()
            }
            // A plain record stays what it is, even if its payload happens to be an aggregate.
            Ok(Unpacked::Plain | Unpacked::Aggregate(_)) | Err(_) => {
                vec![(Arc::clone(&self.entry.partition_key), self.entry.data.clone())]
            }
        };
        debug_assert_eq!(records.len(), self.tickets.len(), "an aggregate of ours reads back as it was packed");
        records
    }

    /// The mark of an aggregate, if it has one.
    pub(crate) fn origin(&self) -> Option<Origin> {
        if !self.is_aggregate {
            return None;
        }
        unpack_aggregate(&self.entry.data, CONTENT_BYTES_MAX).ok().flatten()?.origin()
    }

    /// Whether a record inside is durable, so that giving it up is out of the question.
    pub(crate) fn is_durable(&self) -> bool {
        self.tickets.iter().any(|ticket| ticket.reply.is_durable())
    }

    /// Takes the batch apart again, so that the records that still have time can be cut anew.
    pub(crate) fn into_pending(self) -> Vec<Pending> {
        let records = self.records();
        let pending = |((key, data), ticket): ((Arc<str>, Bytes), Ticket)| Pending {
            partition_key: (*key).to_owned().into(),
            data,
            ticket,
        };
        let attempts = self.attempts;
        let tickets = self
            .tickets
            .into_iter()
            .map(|ticket| Ticket { attempts_before: ticket.attempts_before.saturating_add(attempts), ..ticket });
        records.into_iter().zip(tickets).map(pending).collect()
    }
}

/// The hash key by which `record` is routed.
pub(crate) fn routing_hash_key(record: &Record) -> u128 {
    record.explicit_hash_key.unwrap_or_else(|| hash_key(&record.partition_key))
}
