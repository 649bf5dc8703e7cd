//! Settings of `ingest-server` and `ingest-lambda`, read once from the environment.

use std::collections::HashMap;
use std::fmt;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use kinesis_producer::SpoolConfig;

use crate::ingest::Settings;
use crate::server::{Limits, Peers};
use crate::tenants::source::Location;
use crate::tls::TlsFiles;

/// What a record of a stream holds, unless the stream was set to more (service quota).
const RECORD_BYTES: usize = 1 << 20;

/// Largest body of one event where large ones are stored beside the stream; what API Gateway takes.
const STORED_BODY_BYTES_LIMIT: usize = 10 << 20;

/// Default of that: as base64 it is still within the 6 MB that a function can be called with.
const STORED_BODY_BYTES: usize = 4 << 20;

/// Largest body of one event that always fits a record. Of a record an event may take the body twice over (a body of
/// many lines travels as an escaped string) and its id once more, and some for the envelope: hence a third, less room
/// for the rest.
pub(crate) const fn travelling_body_bytes(record_bytes_max: usize) -> usize {
    (record_bytes_max - 64 * 1024) / 3
}

/// One variable of the environment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Variable {
    /// Its name.
    pub name: &'static str,
    /// What holds where it is not set.
    pub default: &'static str,
    /// What it does, in which unit, in which range.
    pub meaning: &'static str,
}

/// Every variable, in the order in which `--help` lists them.
pub const VARIABLES: [Variable; 22] = [
    Variable { name: LISTEN, default: "127.0.0.1:8080", meaning: "address and port to serve on (server only)" },
    Variable { name: RAW_STREAM, default: "ad-events", meaning: "name or ARN of the Kinesis stream" },
    Variable {
        name: TENANTS_FILE,
        default: "none",
        meaning: "file that names tenants and their keys, read again when it changes; without tenants the server takes \
                  connections from its own machine only, and the function relies on what is in front of it",
    },
    Variable {
        name: TENANTS_SECRET_ID,
        default: "none",
        meaning: "name or ARN of a Secrets Manager secret that holds the same document, read again every minute; one of \
                  the three at most",
    },
    Variable {
        name: TENANTS_SSM_PARAMETER,
        default: "none",
        meaning: "name or ARN of a Systems Manager parameter that holds it, likewise",
    },
    Variable {
        name: TENANT_ID,
        default: "demo",
        meaning: "whose events these are without a tenants file, 1 to 64 letters, digits, - or _",
    },
    Variable {
        name: LINGER_MS,
        default: "5; classic Lambda: 0",
        meaning: "longest wait of an event for others to share a record with, 0 to 1000 ms",
    },
    Variable {
        name: BODY_BYTES_MAX,
        default: "262144; with a bucket 4194304",
        meaning: "largest event, decompressed: 1024 to 327680 bytes, or a third of RECORD_BYTES_MAX; 10485760 with \
                  CLAIM_CHECK_BUCKET",
    },
    Variable {
        name: CLAIM_CHECK_BUCKET,
        default: "none",
        meaning: "S3 bucket for events larger than a record: stored whole, with a pointer on the stream",
    },
    Variable {
        name: RECORD_BYTES_MAX,
        default: "1048576",
        meaning: "largest record that the stream is set to take, 1048576 to 10485760 bytes; Lambda reads up to 4 MB",
    },
    Variable {
        name: COMPRESSION_LEVEL,
        default: "none",
        meaning: "compress what goes onto the stream at this level of zstd, 1 to 9: a shard then carries several times as \
                  much, but only Millrace's own readers can read it",
    },
    Variable {
        name: BATCH_BYTES_MAX,
        default: "4194304",
        meaning: "largest batch, 1024 to 33554432 bytes decompressed",
    },
    Variable {
        name: MEMORY_BYTES_MAX,
        default: "268435456",
        meaning: "all bodies being received together, 1048576 to 68719476736 bytes",
    },
    Variable {
        name: BUFFER_BYTES_MAX,
        default: "67108864",
        meaning: "events waiting for the stream, 4194304 to 68719476736 bytes; 503 above",
    },
    Variable {
        name: SPOOL_DIR,
        default: "none",
        meaning: "folder for events that the stream does not take within a second, sent later, after a restart too; \
                  one process a folder; half of BUFFER_BYTES_MAX then holds what is read back (server only)",
    },
    Variable {
        name: SPOOL_BYTES_MAX,
        default: "1073741824",
        meaning: "what the spool may take on disk, 1048576 to 1099511627776 bytes; 503 above (server only)",
    },
    Variable {
        name: WAIT_MS_MAX,
        default: "2000",
        meaning: "longest time that events may wait for the stream, 100 to 10000 ms: 503 while even the quickest wait longer",
    },
    Variable {
        name: TLS_CERT,
        default: "none",
        meaning: "file with the certificate and those above it as PEM, read again when it changes and at SIGHUP; needs \
                  TLS_KEY (server only)",
    },
    Variable {
        name: TLS_KEY,
        default: "none",
        meaning: "file with its private key as PEM; needs TLS_CERT (server only)",
    },
    Variable { name: CONNECTIONS_MAX, default: "10000", meaning: "connections at once, 1 to 1000000 (server only)" },
    Variable {
        name: HEAD_TIMEOUT_MS,
        default: "75000",
        meaning: "longest idle time of a connection and time for a head, 100 to 600000 ms; keep it above a load \
                  balancer's idle time, and at a few seconds where there is none (server only)",
    },
    Variable {
        name: AWS_ENDPOINT_URL,
        default: "AWS",
        meaning: "where AWS's services are, as for every AWS SDK, with AWS_REGION and the credential variables; also as \
                  AWS_ENDPOINT_URL_S3, _SECRETS_MANAGER and _SSM",
    },
];

const LISTEN: &str = "MILLRACE_LISTEN";
const RAW_STREAM: &str = "RAW_STREAM";
const TENANTS_FILE: &str = "TENANTS_FILE";
const TENANTS_SECRET_ID: &str = "TENANTS_SECRET_ID";
const TENANTS_SSM_PARAMETER: &str = "TENANTS_SSM_PARAMETER";
const TENANT_ID: &str = "TENANT_ID";
const LINGER_MS: &str = "LINGER_MS";
const BODY_BYTES_MAX: &str = "BODY_BYTES_MAX";
const CLAIM_CHECK_BUCKET: &str = "CLAIM_CHECK_BUCKET";
const RECORD_BYTES_MAX: &str = "RECORD_BYTES_MAX";
const COMPRESSION_LEVEL: &str = "COMPRESSION_LEVEL";
const BATCH_BYTES_MAX: &str = "BATCH_BYTES_MAX";
const MEMORY_BYTES_MAX: &str = "MEMORY_BYTES_MAX";
const BUFFER_BYTES_MAX: &str = "BUFFER_BYTES_MAX";
const SPOOL_DIR: &str = "SPOOL_DIR";
const SPOOL_BYTES_MAX: &str = "SPOOL_BYTES_MAX";
const WAIT_MS_MAX: &str = "WAIT_MS_MAX";
const TLS_CERT: &str = "TLS_CERT";
const TLS_KEY: &str = "TLS_KEY";
const CONNECTIONS_MAX: &str = "CONNECTIONS_MAX";
const HEAD_TIMEOUT_MS: &str = "HEAD_TIMEOUT_MS";
/// Set by Lambda itself, not by people.
const LAMBDA_MAX_CONCURRENCY: &str = "AWS_LAMBDA_MAX_CONCURRENCY";
const AWS_ENDPOINT_URL: &str = "AWS_ENDPOINT_URL";
const AWS_ENDPOINT_URL_SECRETS_MANAGER: &str = "AWS_ENDPOINT_URL_SECRETS_MANAGER";
const AWS_ENDPOINT_URL_SSM: &str = "AWS_ENDPOINT_URL_SSM";
const AWS_ENDPOINT_URL_S3: &str = "AWS_ENDPOINT_URL_S3";

/// Everything that a binary is told.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where the server listens.
    pub listen: SocketAddr,
    /// Name or ARN of the raw stream.
    pub raw_stream: String,
    /// Where the tenants are; none for the built-in one.
    pub tenants: Option<Location>,
    /// Where the service that has them is, if not at AWS.
    pub tenants_endpoint: Option<String>,
    /// How long an event may wait for company.
    pub linger: Duration,
    /// How aggregates are compressed, if they are.
    pub compression_level: Option<i32>,
    /// Events that may wait for the stream, in bytes.
    pub buffer_bytes_max: usize,
    /// Where events wait on disk while the stream does not take them; nowhere without it. A function has none: what it
    /// wrote would be gone with its environment.
    pub spool: Option<SpoolConfig>,
    /// Certificate and key, where the server encrypts its connections itself.
    pub tls: Option<TlsFiles>,
    /// Largest record of the stream, with its partition key, in bytes.
    pub record_bytes_max: usize,
    /// Where events above that lie.
    pub claim_check_bucket: Option<String>,
    /// Where S3 is, if not at AWS.
    pub s3_endpoint: Option<String>,
    /// Settings of the collection API, but for the bucket of large events, which is opened later.
    pub settings: Settings,
    /// Limits of the server's connections.
    pub limits: Limits,
}

/// Which front end is configured; they differ in their defaults.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Front {
    /// A process that serves many calls at once.
    Server,
    /// A function. A classic one serves one call at a time, so that waiting for company would only be waiting.
    Lambda,
}

/// All that is wrong with the environment, one line per variable.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct ConfigFaults {
    faults: Vec<&'static Variable>,
}

impl fmt::Display for ConfigFaults {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, variable) in self.faults.iter().enumerate() {
            let separator = if index == 0 { "" } else { "\n" };
            write!(formatter, "{separator}{} is not valid: {}", variable.name, variable.meaning)?;
        }
        Ok(())
    }
}

impl Config {
    /// Reads the process's environment.
    ///
    /// # Errors
    /// Every variable that is out of its range.
    pub fn from_env(front: Front) -> Result<Self, ConfigFaults> {
        let as_text = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
            // A name that is not Unicode is none of ours; a value that is not will not fit its range.
            Some((name.into_string().ok()?, value.to_string_lossy().into_owned()))
        };
        Self::from_vars(std::env::vars_os().filter_map(as_text), front)
    }

    /// Reads variables; unknown names are somebody else's.
    ///
    /// # Errors
    /// Every variable that is out of its range, all at once.
    pub fn from_vars(vars: impl IntoIterator<Item = (String, String)>, front: Front) -> Result<Self, ConfigFaults> {
        let mut reader = Reader { vars: vars.into_iter().collect(), faults: Vec::new() };
        let defaults = (Settings::default(), Limits::default());
        let linger_ms = match front {
            Front::Server => 5,
            Front::Lambda if reader.serves_many() => 5,
            Front::Lambda => 0,
        };
        let (spool, tls) = (reader.spool(front), reader.tls(front));
        let tenants = reader.tenants();
        let peers = if tenants.is_some() { Peers::Any } else { Peers::Loopback };
        let record_bytes_max = reader.number(RECORD_BYTES_MAX, RECORD_BYTES, RECORD_BYTES..=(10 << 20));
        let claim_check_bucket = reader.text(CLAIM_CHECK_BUCKET);
        let (body_bytes, body_bytes_limit) = match claim_check_bucket {
            Some(_) => (STORED_BODY_BYTES, STORED_BODY_BYTES_LIMIT),
            None => (defaults.0.body_bytes_max, travelling_body_bytes(record_bytes_max)),
        };
        let config = Self {
            listen: reader.parsed(LISTEN, SocketAddr::from(([127, 0, 0, 1], 8080)), |_| true),
            raw_stream: reader.parsed(RAW_STREAM, "ad-events".to_owned(), |name| !name.is_empty() && name.len() <= 512),
            tenants_endpoint: reader.tenants_endpoint(tenants.as_ref()),
            tenants,
            linger: reader.millis(LINGER_MS, Duration::from_millis(linger_ms), 0..=1_000),
            compression_level: reader.compression_level(),
            buffer_bytes_max: reader.number(BUFFER_BYTES_MAX, 64 << 20, (4 << 20)..=(64 << 30)),
            spool,
            tls,
            record_bytes_max,
            claim_check_bucket,
            s3_endpoint: reader.text(AWS_ENDPOINT_URL_S3).or_else(|| reader.text(AWS_ENDPOINT_URL)),
            settings: Settings {
                tenant_id: reader.parsed(TENANT_ID, defaults.0.tenant_id.clone(), |id| is_tenant_id(id)),
                body_bytes_max: reader.number(BODY_BYTES_MAX, body_bytes, 1024..=body_bytes_limit),
                batch_bytes_max: reader.number(BATCH_BYTES_MAX, defaults.0.batch_bytes_max, 1024..=(32 << 20)),
                memory_bytes_max: reader.number(MEMORY_BYTES_MAX, defaults.0.memory_bytes_max, (1 << 20)..=(64 << 30)),
                wait_max: reader.millis(WAIT_MS_MAX, defaults.0.wait_max, 100..=10_000),
                serves_metrics: front == Front::Server,
                ..defaults.0
            },
            limits: Limits {
                connections_max: reader.number(CONNECTIONS_MAX, defaults.1.connections_max, 1..=1_000_000),
                head_timeout: reader.millis(HEAD_TIMEOUT_MS, defaults.1.head_timeout, 100..=600_000),
                peers,
                ..defaults.1
            },
        };
        if reader.faults.is_empty() { Ok(config) } else { Err(ConfigFaults { faults: reader.faults }) }
    }
}

/// The variables as `--help` shows them.
pub fn help() -> String {
    let mut text = String::from("Settings come from the environment:\n\n");
    for Variable { name, default, meaning } in VARIABLES {
        text.push_str(&format!("  {name:<17} {meaning} [{default}]\n"));
    }
    text
}

struct Reader {
    vars: HashMap<String, String>,
    faults: Vec<&'static Variable>,
}

impl Reader {
    fn parsed<T: std::str::FromStr>(&mut self, name: &str, default: T, is_valid: impl Fn(&T) -> bool) -> T {
        let Some(text) = self.vars.get(name) else { return default };
        if let Ok(value) = text.trim().parse()
            && is_valid(&value)
        {
            return value;
        }
        self.faults.extend(VARIABLES.iter().find(|variable| variable.name == name));
        default
    }

    /// Whether the function is on Managed Instances, where an environment gets many calls at once.
    fn serves_many(&self) -> bool {
        let calls_max = self.vars.get(LAMBDA_MAX_CONCURRENCY).and_then(|text| text.trim().parse::<u32>().ok());
        calls_max.is_some_and(|calls| calls > 1)
    }

    fn text(&self, name: &str) -> Option<String> {
        self.vars.get(name).filter(|text| !text.is_empty()).cloned()
    }

    fn compression_level(&mut self) -> Option<i32> {
        self.text(COMPRESSION_LEVEL).map(|_| self.parsed(COMPRESSION_LEVEL, 1, |level| (1..=9).contains(level)))
    }

    /// Where tenants are, of which only one may be said.
    fn tenants(&mut self) -> Option<Location> {
        let file = self.text(TENANTS_FILE).map(|path| Location::File(path.into()));
        let secret = self.text(TENANTS_SECRET_ID).map(Location::Secret);
        let parameter = self.text(TENANTS_SSM_PARAMETER).map(Location::Parameter);
        let mut said = [(TENANTS_FILE, file), (TENANTS_SECRET_ID, secret), (TENANTS_SSM_PARAMETER, parameter)]
            .into_iter()
            .filter_map(|(name, location)| location.map(|location| (name, location)));
        let (_, first) = said.next()?;
        for (name, _) in said {
            self.faults.extend(VARIABLES.iter().find(|variable| variable.name == name));
        }
        Some(first)
    }

    fn tenants_endpoint(&self, tenants: Option<&Location>) -> Option<String> {
        let own = match tenants? {
            Location::File(_) => return None,
            Location::Secret(_) => AWS_ENDPOINT_URL_SECRETS_MANAGER,
            Location::Parameter(_) => AWS_ENDPOINT_URL_SSM,
        };
        self.text(own).or_else(|| self.text(AWS_ENDPOINT_URL))
    }

    fn spool(&mut self, front: Front) -> Option<SpoolConfig> {
        let bytes_max = self.parsed(SPOOL_BYTES_MAX, 1 << 30, |bytes| ((1 << 20)..=(1 << 40)).contains(bytes));
        let folder = self.text(SPOOL_DIR).filter(|_| front == Front::Server)?;
        Some(SpoolConfig { bytes_max, ..SpoolConfig::new(folder) })
    }

    fn tls(&mut self, front: Front) -> Option<TlsFiles> {
        let (cert, key) = (self.text(TLS_CERT).map(PathBuf::from), self.text(TLS_KEY).map(PathBuf::from));
        let missing = match (&cert, &key) {
            (Some(_), None) => Some(TLS_KEY),
            (None, Some(_)) => Some(TLS_CERT),
            (Some(_), Some(_)) | (None, None) => None,
        };
        self.faults.extend(VARIABLES.iter().filter(|variable| Some(variable.name) == missing));
        Some(TlsFiles { cert: cert?, key: key? }).filter(|_| front == Front::Server)
    }

    fn number(&mut self, name: &str, default: usize, range: RangeInclusive<usize>) -> usize {
        self.parsed(name, default, |value| range.contains(value))
    }

    fn millis(&mut self, name: &str, default: Duration, range: RangeInclusive<u64>) -> Duration {
        let default_ms = u64::try_from(default.as_millis()).unwrap_or(u64::MAX);
        Duration::from_millis(self.parsed(name, default_ms, |value| range.contains(value)))
    }
}

/// Whether a text may name a tenant.
pub(crate) fn is_tenant_id(id: &str) -> bool {
    (1..=64).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

#[cfg(test)]
mod tests;
