//! The log as the producer's task sees it: takes records in, answers those who wait for the disk, and feeds what was read back to
//! the pipeline.

use std::{
    collections::{BTreeMap, HashSet},
    path::PathBuf,
    sync::{Arc, atomic::Ordering, mpsc},
    time::{Duration, Instant},
};

use kinesis_record::Origin;
use tokio::sync::{
    Semaphore,
    mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
};
use tracing::{error, info, warn};

use crate::{
    error::PutError,
    pipeline::{
        Accepted, Pipeline,
        batch::routing_hash_key,
        request::BatchId,
        spool_marks::SpoolMarks,
        spooled::{Place, Unsettled},
    },
    record::{Delivered, Record},
    reply::{Reply, SpoolResult},
    spool::{
        Log, Series, SpoolConfig, SpoolError, SpoolPolicy,
        core::{Core, Limits, ReadBack, Waiting},
        frame::{ORIGIN_BYTES, frame_bytes},
        worker::{self, Done, Job, Worker},
    },
    stats::{Counters, count},
};

/// How often it is looked whether a record has waited too long, as a part of that time.
const CHECKS_PER_WAIT: u32 = 4;

#[derive(Debug)]
pub(crate) struct Spool {
    core: Core,
    policy: SpoolPolicy,
    folder: PathBuf,
    /// Dropped when the producer ends; then the thread ends.
    jobs: Option<mpsc::Sender<Job>>,
    done: UnboundedReceiver<Done>,
    /// What became of records that were read back.
    results: UnboundedReceiver<SpoolResult>,
    results_sender: UnboundedSender<SpoolResult>,
    counters: Arc<Counters>,
    /// Until the pipeline is told.
    series: Option<Vec<Series>>,
    /// Below this much free room for senders, records take the way over the log.
    free_bytes_min: usize,
    /// When to look whether a record has waited too long.
    check_at: Option<Instant>,
}

/// What the spool needs to know of the producer.
#[derive(Debug)]
pub(crate) struct Setting {
    pub(crate) config: SpoolConfig,
    /// For what is read back.
    pub(crate) window_bytes: usize,
    /// For what senders put in.
    pub(crate) senders_bytes: usize,
    pub(crate) counters: Arc<Counters>,
}

impl Spool {
    /// Opens the folder and starts the thread. Blocks on the disk for as long as it takes to read the last file, 32 MiB at
    /// most, or what one buffer holds more.
    pub(crate) fn open(setting: Setting) -> Result<Self, SpoolError> {
        let Setting { config, window_bytes, senders_bytes, counters } = setting;
        let (log, found) = Log::open(&config.folder, config.segment_bytes())?;
        let backlog = found.next - found.done_below;
        if backlog > 0 {
            info!(records = backlog, folder = %config.folder.display(), "spool: records are left to be sent");
        }
        let series = Some(log.series().to_vec());
        let Worker { jobs, done } = worker::start(log)?;
        let limits = Limits { bytes_max: config.bytes_max, window_bytes, policy: config.policy };
        let (results_sender, results) = unbounded_channel();
        counters.spool_disk_bytes.store(found.disk_bytes, Ordering::Relaxed);
        counters.spool_backlog.store(backlog, Ordering::Relaxed);
        Ok(Spool {
            core: Core::new(limits, found, false),
            policy: config.policy,
            folder: config.folder,
            jobs: Some(jobs),
            done,
            results,
            results_sender,
            counters,
            series,
            free_bytes_min: senders_bytes / 4,
            check_at: None,
        })
    }

    /// Whether records take the way over the log.
    pub(crate) fn is_open(&self) -> bool {
        self.core.is_open()
    }

    /// Whether its thread has ended before its time.
    pub(crate) fn is_gone(&self) -> bool {
        self.jobs.is_none()
    }

    /// The stream's shards are known.
    pub(crate) fn set_ready(&mut self) {
        self.core.set_ready();
    }

    /// When to call [`act`](Spool::act) if nothing happens before.
    pub(crate) fn wake(&self) -> Option<Instant> {
        [self.core.wake(), self.check_at].into_iter().flatten().min()
    }

    /// What the thread has done; `None` if it is gone.
    pub(crate) async fn done(&mut self) -> Option<Done> {
        self.done.recv().await
    }

    /// Takes in what the thread has done.
    pub(crate) fn take_done(&mut self, now: Instant, done: Option<Done>) {
        match done {
            Some(done) => self.core.done(now, done),
            None => self.gone(),
        }
        self.counters.spool_disk_bytes.store(self.core.disk_bytes(), Ordering::Relaxed);
    }

    /// Records in the log that the stream is not known to have stored.
    fn tell_backlog(&self) {
        self.counters.spool_backlog.store(self.core.backlog(), Ordering::Relaxed);
    }

    /// Takes a record in that somebody has just sent.
    pub(crate) fn take_in(&mut self, record: &Record, waiting: Waiting, pipeline: &mut Pipeline, budget: &Semaphore) {
        count(&self.counters.offered, 1);
        if let Err((waiting, error)) = self.core.stage(record, waiting) {
            self.answer(waiting, Some(error), pipeline, budget);
        }
    }

    /// Does what is to be done now. The pipeline is polled afterwards.
    pub(crate) fn act(&mut self, now: Instant, pipeline: &mut Pipeline, budget: &Semaphore) {
        if let Some(series) = self.series.take() {
            *pipeline.spool_marks() = SpoolMarks::new(series);
        }
        self.take_results(now);
        pipeline.spool_marks().advance(self.core.done_below());
        self.open_or_close(now, pipeline, budget);
        for (waiting, error) in self.core.take_settled() {
            self.answer(waiting, error, pipeline, budget);
        }
        for ReadBack { number, record, sent_as } in self.core.take_read_back() {
            if let Some(origin) = sent_as {
                pipeline.spool_marks().was_sent_as(number, origin);
            }
            let hash_key = routing_hash_key(&record);
            let reply = Reply::Spool { number, results: self.results_sender.clone() };
            // It was charged against the part of the buffer that is kept for the log.
            pipeline.accept(now, Accepted { record, hash_key, cost: 0, reply });
        }
        self.tell_backlog();
        while let Some(job) = self.core.poll(now) {
            let is_sent = self.jobs.as_ref().is_some_and(|jobs| jobs.send(job).is_ok());
            if !is_sent {
                self.gone();
                break;
            }
        }
    }

    /// Notes on disk what was drained, and closes the log. What is not drained is sent after the next start.
    pub(crate) async fn end(mut self, now: Instant, pipeline: &mut Pipeline, budget: &Semaphore) {
        self.core.end();
        self.act(now, pipeline, budget);
        while !self.core.is_settled() {
            let done = self.done().await;
            self.take_done(now, done);
            self.act(now, pipeline, budget);
        }
        self.jobs = None;
        // The log is closed, and its folder free, when the channel is.
        while self.done.recv().await.is_some() {}
    }

    fn take_results(&mut self, now: Instant) {
        let mut drained = 0;
        while let Ok((number, result)) = self.results.try_recv() {
            match result {
                Ok(_stored) => {
                    drained += 1;
                    self.core.stored(now, number);
                }
                Err(PutError::Refused(failure)) => {
                    let failure = &failure as &dyn std::error::Error;
                    error!(error = failure, "spool: the stream refuses a record for good; it is kept in `rejected`");
                    self.core.refuse(number);
                }
                Err(error @ (PutError::Expired { .. } | PutError::Spool(_) | PutError::Closed)) => {
                    // Not noted as done: it is sent after the next start.
                    let error = &error as &dyn std::error::Error;
                    error!(error, "spool: a record was not sent");
                }
            }
        }
        count(&self.counters.spool_drained, drained);
    }

    fn open_or_close(&mut self, now: Instant, pipeline: &mut Pipeline, budget: &Semaphore) {
        let SpoolPolicy::WhenSlow { after } = self.policy else { return };
        if self.core.is_open() {
            self.check_at = None;
            if self.core.close_if_drained(now) {
                info!(folder = %self.folder.display(), "spool: drained, the stream keeps pace again");
            }
            return;
        }
        let is_full = budget.available_permits() < self.free_bytes_min;
        if pipeline.is_empty() {
            self.check_at = None;
        } else if is_full || self.check_at.is_some_and(|at| at <= now) {
            let waited = pipeline.oldest_accepted().map_or(Duration::ZERO, |at| now.saturating_duration_since(at));
            if is_full || waited >= after {
                warn!(waited_ms = waited.as_millis(), is_full, "spool: records take the way over the disk");
                self.check_at = None;
                self.core.open();
                self.adopt(pipeline, budget);
            } else {
                self.check_at = Some(now + after / CHECKS_PER_WAIT);
            }
        } else if self.check_at.is_none() {
            self.check_at = Some(now + after / CHECKS_PER_WAIT);
        }
    }

    /// Writes everything that waits in memory; what is on its way to the stream stays there too.
    fn adopt(&mut self, pipeline: &mut Pipeline, budget: &Semaphore) {
        let unsettled = pipeline.take_unsettled();
        let adopted = self.batches_with_room(&unsettled);
        let (sent, waiting): (Vec<Unsettled>, Vec<Unsettled>) =
            unsettled.into_iter().partition(|unsettled| matches!(unsettled.place, Place::Sent { .. }));
        // What is on its way comes before what waits, within each key.
        for unsettled in sent {
            if let Place::Sent { batch, position, origin } = unsettled.place
                && adopted.contains(&batch)
            {
                self.adopt_sent(&unsettled.record, origin.as_ref(), (batch, position), pipeline);
            }
        }
        for unsettled in waiting {
            if let Place::Waiting { reply: Reply::Sender(sender), epoch, cost } = unsettled.place {
                let waiting = Waiting { sender, epoch, cost };
                if let Err((waiting, error)) = self.core.stage(&unsettled.record, waiting) {
                    self.answer(waiting, Some(error), pipeline, budget);
                }
            }
        }
    }

    /// The batches on their way whose records all find room in the log. The others stay what they are, with a deadline: a batch
    /// of which a part is durable could neither be given up nor cut anew.
    fn batches_with_room(&self, unsettled: &[Unsettled]) -> HashSet<BatchId> {
        let mut frames: BTreeMap<BatchId, usize> = BTreeMap::new();
        for unsettled in unsettled {
            if let Place::Sent { batch, origin, .. } = &unsettled.place {
                let bytes = frame_bytes(&unsettled.record) + origin.map_or(0, |_| ORIGIN_BYTES);
                *frames.entry(*batch).or_default() += bytes;
            }
        }
        let mut taken = 0;
        let mut fits = |bytes: usize| {
            let has_room = self.core.has_room_for(taken + bytes);
            taken += if has_room { bytes } else { 0 };
            has_room
        };
        frames.into_iter().filter(|(_, bytes)| fits(*bytes)).map(|(batch, _)| batch).collect()
    }

    fn adopt_sent(
        &mut self,
        record: &Record,
        origin: Option<&Origin>,
        (batch, position): (BatchId, usize),
        pipeline: &mut Pipeline,
    ) {
        let number = self.core.next_number();
        let reply = Reply::Spool { number, results: self.results_sender.clone() };
        let Some((Reply::Sender(sender), epoch)) = pipeline.make_durable(batch, position, reply) else { return };
        // Its room in the buffer is given back when it has arrived.
        let waiting = Waiting { sender, epoch, cost: 0 };
        match self.core.stage_sent(record, origin, waiting) {
            Ok(number) => self.core.adopt(number),
            Err((waiting, _)) => drop(waiting),
        }
    }

    fn answer(&self, waiting: Waiting, error: Option<SpoolError>, pipeline: &mut Pipeline, budget: &Semaphore) {
        let result = match error {
            None => {
                count(&self.counters.spooled, 1);
                Ok(Delivered::Spooled)
            }
            Some(error) => {
                count(&self.counters.failed, 1);
                count(&self.counters.spool_refused, 1);
                Err(PutError::Spool(error))
            }
        };
        // Whoever sent it may not care.
        drop(waiting.sender.send(result));
        pipeline.count_out(waiting.epoch);
        budget.add_permits(usize::try_from(waiting.cost).expect("a cost was a usize before"));
    }

    fn gone(&mut self) {
        if self.jobs.take().is_some() {
            error!(folder = %self.folder.display(), "spool: its thread is gone, nothing is made durable any more");
        }
        self.core.gone();
    }
}
