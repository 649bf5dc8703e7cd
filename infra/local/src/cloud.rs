//! The local cloud as a whole: opens its parts on one data directory and serves them on one port.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::task::{JoinError, JoinHandle};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::athena::Athena;
use crate::clock::Clock;
use crate::cloudwatch::{self, CloudWatch, Sampler};
use crate::data_dir::{DataDir, DataDirError};
use crate::faults::{FaultError, FaultRule, Faults, action};
use crate::firehose::{Firehose, Surroundings};
use crate::glue::Glue;
use crate::kinesis::{Kinesis, Store, StoreError};
use crate::lambda::{self, CONCURRENCY_DEFAULT, EventSourceMapping, Lambda, Mapping, MappingError, Target};
use crate::s3::{self, S3};
use crate::server::{self, Guard, Listener, Services};
use crate::signature::KeyRing;
use crate::sns::Sns;
use crate::sqs::Sqs;
use crate::tls::{Identity, TlsError};
use crate::vault::Vault;

/// How long streams are in between states unless something else is asked for: seen by whoever looks, waited for by
/// nobody. At the service it is some ten seconds.
pub const STREAM_TRANSITION_DEFAULT: Duration = Duration::from_millis(200);

/// How often the disk is freed of what retention does not keep.
/// How often on-demand streams are looked at; most looks find that a minute is not over yet.
const GROWTH_INTERVAL: Duration = Duration::from_secs(5);
const TRIM_INTERVAL: Duration = Duration::from_secs(60);

/// What a local cloud is started with.
#[derive(Debug, Clone)]
pub struct CloudConfig {
    /// The data directory; it is made if it is missing.
    pub data_dir: PathBuf,
    /// The address to listen on; port 0 takes a free one.
    pub listen: SocketAddr,
    /// How it is reached; by plain HTTP alone and by anybody by default.
    pub doors: Doors,
    /// Whether Kinesis shards keep to their limits of writing and reading; on by default, off for benchmarks of the store
    /// itself.
    pub kinesis_is_limited: bool,
    /// How long streams are `CREATING`, `UPDATING` and `DELETING`.
    pub stream_transition: Duration,
    /// Whether Kinesis keeps to the account's calls a second of the operations that manage streams; on by default.
    pub call_rates: bool,
    /// Lambda invocations at once; 1,000 by default, as an account's.
    pub concurrency: usize,
    /// The clock of all services.
    pub clock: Clock,
    /// Faults from the start on; none by default.
    pub faults: Vec<FaultRule>,
}

/// How a local cloud is reached, beside plain HTTP.
#[derive(Debug, Clone, Default)]
pub struct Doors {
    /// The port of the HTTPS door, at the same IP address; 0 takes a free one, none opens no such door.
    pub https_port: Option<u16>,
    /// Who may call, where signatures are to be checked; with none anybody may, signed or not.
    pub keys: Option<KeyRing>,
}

impl CloudConfig {
    /// A cloud with the service's limits.
    pub fn new(data_dir: impl Into<PathBuf>, listen: SocketAddr) -> Self {
        Self {
            data_dir: data_dir.into(),
            listen,
            doors: Doors::default(),
            kinesis_is_limited: true,
            stream_transition: STREAM_TRANSITION_DEFAULT,
            call_rates: true,
            concurrency: CONCURRENCY_DEFAULT,
            clock: Clock::default(),
            faults: Vec::new(),
        }
    }
}

/// Why a local cloud cannot start.
#[derive(Debug, thiserror::Error)]
pub enum CloudError {
    /// The data directory cannot be used.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// Another program listens on the address.
    #[error("{address} is in use by another program: choose another address for the local cloud")]
    Busy {
        /// The address.
        address: SocketAddr,
    },
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the operating system said.
        source: io::Error,
    },
    /// A rule of faults is none.
    #[error("cannot take the faults that were asked for")]
    Faults(#[from] FaultError),
    /// The HTTPS door has no certificate.
    #[error("cannot open the HTTPS door")]
    Tls(#[from] TlsError),
    /// The streams cannot be opened.
    #[error("cannot open the streams")]
    Kinesis(#[from] StoreError),
    /// The object store cannot be opened.
    #[error("cannot open the object store")]
    S3(#[from] s3::StoreError),
    /// The catalog cannot be opened.
    #[error("cannot open the catalog")]
    Glue(#[source] io::Error),
    /// The delivery streams cannot be opened.
    #[error("cannot open the delivery streams")]
    Firehose(#[source] io::Error),
    /// The secrets and parameters cannot be opened.
    #[error("cannot open the secrets and parameters")]
    Vault(#[source] io::Error),
    /// The queues and topics cannot be opened.
    #[error("cannot open the queues and topics")]
    Queues(#[source] io::Error),
    /// The functions of before cannot be opened.
    #[error("cannot open the functions")]
    Lambda(#[source] io::Error),
    /// The metrics cannot be opened.
    #[error("cannot open the metrics")]
    CloudWatch(#[source] io::Error),
    /// The query engine cannot be opened.
    #[error("cannot open the query engine")]
    Athena(#[source] anyhow::Error),
    /// The task that opens the streams did not finish.
    #[error("cannot open the streams")]
    Task(#[from] JoinError),
}

/// A running local cloud. Dropped without [`Cloud::shutdown`] it stops like a process that is killed: nothing that was
/// acknowledged is lost.
#[derive(Debug)]
pub struct Cloud {
    address: SocketAddr,
    https: Option<Https>,
    services: Arc<Services>,
    server: JoinHandle<()>,
    stop: CancellationToken,
    _stop_when_dropped: DropGuard,
}

/// The HTTPS door.
#[derive(Debug)]
struct Https {
    address: SocketAddr,
    identity: Identity,
}

impl Cloud {
    /// Opens the data directory, recovers what is in it, and serves.
    ///
    /// # Errors
    /// See [`CloudError`]; a refused data directory is not touched.
    pub async fn start(config: CloudConfig) -> Result<Self, CloudError> {
        let data = Arc::new(DataDir::open(&config.data_dir)?);
        let (listener, address) = listen(config.listen).await?;
        let mut listeners = vec![Listener { tcp: listener, tls: None }];
        let https = open_https(&data, &config, address, &mut listeners).await?;
        let faults = data.faults().clone();
        faults.set(config.faults, config.clock.now_ms())?;
        let (store_data, clock, is_limited) = (Arc::clone(&data), config.clock.clone(), config.kinesis_is_limited);
        let store = tokio::task::spawn_blocking(move || Store::open(store_data, clock, is_limited)).await??;
        store.set_transition_time(config.stream_transition);
        let s3 = S3::open_with(data.join("s3"), faults.clone(), config.clock.clone()).await?;
        let clock = config.clock.clone();
        let glue = Glue::open_with(data.join("glue"), faults.clone(), clock.clone()).await.map_err(CloudError::Glue)?;
        let (kinesis, faults_too) = (store.clone(), faults.clone());
        let around = Surroundings { s3: s3.clone(), glue: glue.clone(), kinesis, faults: faults_too, clock };
        let firehose = Firehose::open(data.join("firehose"), around).await.map_err(CloudError::Firehose)?;
        let vault_dir = data.join("vault");
        let vault = tokio::task::spawn_blocking(move || Vault::open(&vault_dir)).await?.map_err(CloudError::Vault)?;
        let athena = Athena::open_with(data.join("athena"), s3.clone(), glue.clone(), config.clock.clone()).await;
        let athena = athena.map_err(CloudError::Athena)?;
        let cloudwatch = CloudWatch::open(data.join("cloudwatch"), config.clock.clone(), faults.clone()).await;
        let cloudwatch = cloudwatch.map_err(CloudError::CloudWatch)?;
        let sampler = Sampler::new(cloudwatch.clone(), store.clone());
        let endpoint = format!("http://{address}");
        let (sqs, sns) = open_queues(&data, &endpoint, (faults, config.clock)).await?;
        let parts = lambda::Parts {
            data,
            store: store.clone(),
            sinks: lambda::Sinks { s3: s3.clone(), sqs: sqs.clone(), sns: sns.clone() },
            endpoint,
            concurrency: config.concurrency,
            cloudwatch: Some(cloudwatch.clone()),
        };
        let lambda = Lambda::open(parts).await.map_err(CloudError::Lambda)?;
        let guard = Guard { keys: config.doors.keys };
        let stop = CancellationToken::new();
        tokio::spawn(stop.clone().run_until_cancelled_owned(trim(store.clone())));
        tokio::spawn(stop.clone().run_until_cancelled_owned(grow(store.clone())));
        let kinesis = Kinesis::new(store);
        let kinesis = if config.call_rates { kinesis.with_call_rates() } else { kinesis };
        tokio::spawn(stop.clone().run_until_cancelled_owned(action::keep_acting(kinesis.clone())));
        let services = Arc::new(Services {
            kinesis,
            firehose,
            glue,
            athena,
            s3,
            lambda,
            vault,
            sqs,
            sns,
            cloudwatch: cloudwatch.clone(),
            sampler,
        });
        let sampled = Arc::downgrade(&services);
        let sampling = cloudwatch::keep_sampling(cloudwatch, move || {
            if let Some(services) = sampled.upgrade() {
                services.sample();
            }
        });
        tokio::spawn(stop.clone().run_until_cancelled_owned(sampling));
        let server = tokio::spawn(server::serve(listeners, Arc::clone(&services), guard, stop.clone()));
        let stop_when_dropped = stop.clone().drop_guard();
        Ok(Self { address, https, services, server, stop, _stop_when_dropped: stop_when_dropped })
    }

    /// Where it listens, such as `http://127.0.0.1:4566`.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The faults that were asked for.
    pub fn faults(&self) -> &Faults {
        self.services.kinesis.faults()
    }

    /// Where it speaks HTTPS, such as `https://127.0.0.1:4567`, if it was asked to.
    pub fn https_endpoint(&self) -> Option<String> {
        self.https.as_ref().map(|https| format!("https://{}", https.address))
    }

    /// The file with the certificate that clients of the HTTPS door are to trust, as in `AWS_CA_BUNDLE`.
    pub fn authority(&self) -> Option<&Path> {
        self.https.as_ref().map(|https| https.identity.authority())
    }

    /// Kinesis Data Streams.
    pub fn kinesis(&self) -> &Kinesis {
        &self.services.kinesis
    }

    /// Firehose.
    pub fn firehose(&self) -> &Firehose {
        &self.services.firehose
    }

    /// The Glue Data Catalog.
    pub fn glue(&self) -> &Glue {
        &self.services.glue
    }

    /// Athena.
    pub fn athena(&self) -> &Athena {
        &self.services.athena
    }

    /// S3.
    pub fn s3(&self) -> &S3 {
        &self.services.s3
    }

    /// Lambda: functions and event source mappings.
    pub fn lambda(&self) -> &Lambda {
        &self.services.lambda
    }

    /// SQS.
    pub fn sqs(&self) -> &Sqs {
        &self.services.sqs
    }

    /// SNS.
    pub fn sns(&self) -> &Sns {
        &self.services.sns
    }

    /// Starts an event source mapping that calls a handler in this process, or a deployed function.
    ///
    /// # Errors
    /// When a setting is out of range, the stream is missing, or a mapping of this name runs.
    pub async fn map(&self, mapping: EventSourceMapping, target: impl Into<Target>) -> Result<Mapping, MappingError> {
        self.services.lambda.map(mapping, target).await
    }

    /// Stops in order: mappings after their invocations in flight, the door after its requests, deliveries after what
    /// is buffered, then the logs.
    pub async fn shutdown(self) {
        self.services.lambda.stop().await;
        self.services.kinesis.end_subscriptions();
        self.stop.cancel();
        if let Err(error) = self.server.await {
            tracing::error!(%error, "the server did not end well");
        }
        self.services.athena.shutdown().await;
        self.services.firehose.shutdown().await;
        self.services.glue.shutdown().await;
        self.services.sample();
        if let Err(error) = self.services.cloudwatch.flush().await {
            tracing::error!(%error, "the last metrics could not be written");
        }
        self.services.kinesis.store().close().await;
    }
}

impl Https {
    async fn open(data: &Arc<DataDir>, address: SocketAddr, clock: &Clock) -> Result<(TcpListener, Self), CloudError> {
        let (dir, now_ms) = (data.join("tls"), clock.now_ms());
        let identity = tokio::task::spawn_blocking(move || Identity::open(&dir, address.ip(), now_ms)).await??;
        let (listener, address) = listen(address).await?;
        Ok((listener, Self { address, identity }))
    }
}

/// Opens the second door, if there is to be one.
async fn open_https(
    data: &Arc<DataDir>,
    config: &CloudConfig,
    address: SocketAddr,
    listeners: &mut Vec<Listener>,
) -> Result<Option<Https>, CloudError> {
    let Some(port) = config.doors.https_port else { return Ok(None) };
    let (tcp, https) = Https::open(data, SocketAddr::new(address.ip(), port), &config.clock).await?;
    listeners.push(Listener { tcp, tls: Some(https.identity.acceptor().clone()) });
    Ok(Some(https))
}

/// Queues, and the topics that publish to them.
async fn open_queues(
    data: &Arc<DataDir>,
    endpoint: &str,
    (faults, clock): (Faults, Clock),
) -> Result<(Sqs, Sns), CloudError> {
    let (data, endpoint) = (Arc::clone(data), endpoint.to_owned());
    let opening = tokio::task::spawn_blocking(move || {
        let sqs = Sqs::open(data.join("sqs"), &endpoint, faults.clone(), clock.clone())?;
        let sns = Sns::open(&data.join("sns"), sqs.clone(), faults, clock)?;
        Ok((sqs, sns))
    });
    opening.await?.map_err(CloudError::Queues)
}

async fn listen(address: SocketAddr) -> Result<(TcpListener, SocketAddr), CloudError> {
    let failed = |source: io::Error| {
        if source.kind() == io::ErrorKind::AddrInUse {
            CloudError::Busy { address }
        } else {
            CloudError::Listen { address, source }
        }
    };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    Ok((listener, bound))
}

async fn grow(store: Store) {
    let mut ticks = tokio::time::interval(GROWTH_INTERVAL);
    loop {
        ticks.tick().await;
        store.grow().await;
    }
}

async fn trim(store: Store) {
    let mut ticks = tokio::time::interval(TRIM_INTERVAL);
    loop {
        ticks.tick().await;
        if let Err(error) = store.trim().await {
            tracing::error!(error = &error as &dyn std::error::Error, "cannot free the disk of expired records");
        }
    }
}

#[cfg(test)]
mod tests;
