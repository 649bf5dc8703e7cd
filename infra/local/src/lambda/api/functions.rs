//! Functions over the REST API: made from an archive, changed, described, deleted.

use std::collections::BTreeMap;

use bytes::Bytes;
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};
use url::form_urlencoded;
use uuid::Uuid;

use super::Refusal;
use crate::lambda::code::{CodeError, UNZIPPED_BYTES_MAX, ZIPPED_BYTES_MAX, sha256};
use crate::lambda::destination::{Destination, Use};
use crate::lambda::function::{Function, FunctionError, VERSION, is_variable_name};
use crate::lambda::registry::{Definition, Phase};
use crate::lambda::{FunctionConfig, Lambda};
use crate::s3::StoreError;

mod describe;

use describe::{architecture, of_definition};

/// The longest body of a request that brings code: 50 MB as base64, and what stands around it.
pub(crate) const CODE_BODY_BYTES_MAX: usize = 70_167_211;
/// What runs here: binaries that bring their runtime along.
const RUNTIMES: [&str; 2] = ["provided.al2023", "provided.al2"];
/// Functions in one page of a list.
const PAGE_MAX: usize = 50;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Create {
    #[serde(default)]
    function_name: Option<String>,
    #[serde(default)]
    code: Option<CodeInput>,
    #[serde(default)]
    package_type: Option<String>,
    #[serde(default)]
    publish: bool,
    #[serde(default)]
    tags: BTreeMap<String, String>,
    #[serde(default)]
    architectures: Vec<String>,
    #[serde(flatten)]
    settings: SettingsInput,
}

/// What can be said when it is made and later on.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct SettingsInput {
    runtime: Option<String>,
    role: Option<String>,
    handler: Option<String>,
    description: Option<String>,
    timeout: Option<u64>,
    memory_size: Option<u32>,
    environment: Option<Environment>,
    dead_letter_config: Option<DeadLetters>,
    ephemeral_storage: Option<Storage>,
    tracing_config: Option<Tracing>,
    logging_config: Option<Logging>,
    revision_id: Option<String>,
    /// What is not here.
    #[serde(flatten)]
    others: BTreeMap<String, Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Environment {
    #[serde(default)]
    variables: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DeadLetters {
    #[serde(default)]
    target_arn: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Storage {
    size: u32,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Tracing {
    mode: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Logging {
    log_format: Option<String>,
}

/// Where code comes from.
#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct CodeInput {
    #[serde(default)]
    zip_file: Option<String>,
    #[serde(default)]
    s3_bucket: Option<String>,
    #[serde(default)]
    s3_key: Option<String>,
    #[serde(default)]
    s3_object_version: Option<String>,
    #[serde(default)]
    image_uri: Option<String>,
    #[serde(default)]
    publish: bool,
    #[serde(default)]
    dry_run: bool,
    #[serde(default)]
    revision_id: Option<String>,
    #[serde(default)]
    architectures: Vec<String>,
}

impl Lambda {
    /// Makes a function from an archive; it is kept, and can be called, when this returns its description.
    pub(super) async fn create_from_archive(&self, body: &[u8]) -> Result<Value, Refusal> {
        let input: Create = parse(body)?;
        let name = input.function_name.as_deref().ok_or_else(|| Refusal::invalid("FunctionName is required"))?;
        let name = name.rsplit(':').next().unwrap_or_default().to_owned();
        if input.package_type.as_deref().is_some_and(|kind| kind != "Zip") {
            return Err(not_here("a function of an image"));
        }
        if input.publish {
            return Err(not_here("Publish"));
        }
        check_architectures(&input.architectures)?;
        let settings = input.settings;
        if settings.runtime.is_none() || settings.handler.is_none() {
            return Err(Refusal::invalid(
                "Runtime and Handler are mandatory parameters for functions created with deployment packages.",
            ));
        }
        let new = Definition {
            name: name.clone(),
            runtime: String::new(),
            role: settings.role.clone().ok_or_else(|| Refusal::invalid("Role is required"))?,
            handler: String::new(),
            description: String::new(),
            timeout_s: 3,
            memory_mb: 128,
            variables: BTreeMap::new(),
            dead_letter: None,
            storage_mb: 512,
            tracing: "PassThrough".to_owned(),
            tags: input.tags,
            code: String::new(),
            code_bytes: 0,
            code_sha256: String::new(),
            modified_ms: 0,
            revision: String::new(),
        };
        let definition = self.with_settings(new, settings)?;
        let code = input.code.ok_or_else(|| Refusal::invalid("Code is required"))?;
        let archive = self.archive(code).await?;
        let _one_change_at_a_time = self.changes.lock().await;
        if self.function(&name).is_some() {
            return Err(Refusal::conflict(format!("Function already exist: {name}")));
        }
        let code = self.registry.unpack(archive).await.map_err(|error| refused_code(&error))?;
        let definition = definition.with_code(&code);
        self.registry.put(definition.clone(), Phase::Pending).await.map_err(|error| disk(&error))?;
        let made = self.create_function(definition.config(self.registry.root())).await;
        let function = match made {
            Ok(function) => function,
            Err(error) => {
                self.registry.remove(&name).await.map_err(|error| disk(&error))?;
                self.registry.remove_code_later(definition.code);
                return Err(refused(&error));
            }
        };
        Ok(self.description(&function))
    }

    pub(super) async fn update_code(&self, name: &str, body: &[u8]) -> Result<Value, Refusal> {
        let function = self.named(name)?;
        let input: CodeInput = parse(body)?;
        if input.publish {
            return Err(not_here("Publish"));
        }
        check_architectures(&input.architectures)?;
        let (is_dry_run, revision) = (input.dry_run, input.revision_id.clone());
        let archive = self.archive(input).await?;
        let _one_change_at_a_time = self.changes.lock().await;
        let definition = self.changeable(&function, revision.as_deref())?;
        if is_dry_run {
            let mut shown = self.description(&function);
            if let Value::Object(shown) = &mut shown {
                shown.insert("CodeSha256".to_owned(), Value::from(sha256(&archive)));
            }
            return Ok(shown);
        }
        let code = self.registry.unpack(archive).await.map_err(|error| refused_code(&error))?;
        let old = definition.code.clone();
        let changed = self.renewed(definition.with_code(&code));
        self.change(&function, changed).await?;
        self.registry.remove_code_later(old);
        Ok(self.description(&function))
    }

    pub(super) async fn update_configuration(&self, name: &str, body: &[u8]) -> Result<Value, Refusal> {
        let function = self.named(name)?;
        let input: SettingsInput = parse(body)?;
        let _one_change_at_a_time = self.changes.lock().await;
        let definition = self.changeable(&function, input.revision_id.as_deref())?;
        let changed = self.with_settings(definition, input)?;
        self.change(&function, changed).await?;
        Ok(self.description(&function))
    }

    async fn change(&self, function: &Function, changed: Definition) -> Result<(), Refusal> {
        let config = FunctionConfig {
            reserved_concurrency: function.config().reserved_concurrency,
            ..changed.config(self.registry.root())
        };
        config.check().map_err(|error| refused(&error))?;
        self.registry.put(changed, Phase::InProgress).await.map_err(|error| disk(&error))?;
        function.change(config).await.map_err(|error| refused(&error))
    }

    pub(super) async fn delete_function(&self, name: &str) -> Result<(), Refusal> {
        let function = self.named(name)?;
        let _one_change_at_a_time = self.changes.lock().await;
        let definition = self.registry.get(function.name()).ok_or_else(|| not_from_archive(&function))?;
        self.registry.remove(function.name()).await.map_err(|error| disk(&error))?;
        self.stop_mappings_of(function.name()).await;
        self.functions().retain(|other| other.name() != function.name());
        function.stop().await;
        self.account.release(function.name());
        let forgotten = self.settings.change(function.name(), |settings| *settings = Default::default());
        forgotten.await.map_err(|error| disk(&error))?;
        self.events.forget(function.name()).await;
        self.registry.remove_code_later(definition.code);
        Ok(())
    }

    pub(super) fn get_function(&self, name: &str) -> Result<Value, Refusal> {
        let function = self.named(name)?;
        let mut answer = json!({ "Configuration": self.description(&function), "Code": { "RepositoryType": "S3" } });
        if let Value::Object(answer) = &mut answer {
            let reserved = self.account.reserved(function.name());
            let tags =
                self.registry.get(function.name()).map(|definition| definition.tags).filter(|tags| !tags.is_empty());
            answer.extend(tags.map(|tags| ("Tags".to_owned(), json!(tags))));
            answer.extend(
                reserved.map(|most| ("Concurrency".to_owned(), json!({ "ReservedConcurrentExecutions": most }))),
            );
        }
        Ok(answer)
    }

    pub(super) fn list_functions(&self, query: &str) -> Value {
        let asked: BTreeMap<_, _> = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        let page = asked.get("MaxItems").and_then(|items| items.parse().ok()).unwrap_or(PAGE_MAX).clamp(1, PAGE_MAX);
        let mut functions = self.functions().clone();
        functions.sort_by(|one, other| one.name().cmp(other.name()));
        let mut found = functions
            .iter()
            .filter(|function| asked.get("Marker").is_none_or(|marker| function.name() > marker.as_str()));
        let given: Vec<&Function> = found.by_ref().take(page).collect();
        let marker = found.next().and(given.last()).map(|last| last.name().to_owned());
        let shown: Vec<Value> = given.into_iter().map(|function| self.description(function)).collect();
        match marker {
            Some(marker) => json!({ "Functions": shown, "NextMarker": marker }),
            None => json!({ "Functions": shown }),
        }
    }

    /// A function as the service describes it.
    pub(super) fn description(&self, function: &Function) -> Value {
        let config = function.config();
        let mut shown = json!({
            "FunctionName": config.name,
            "FunctionArn": config.arn(),
            "Runtime": "provided.al2023",
            "Handler": config.handler,
            "MemorySize": config.memory_mb,
            "Timeout": config.timeout.as_secs(),
            "Version": VERSION,
            "State": "Active",
            "LastUpdateStatus": "Successful",
            "PackageType": "Zip",
            "Architectures": [architecture()],
            "Environment": { "Variables": config.environment },
        });
        if let (Some(definition), Value::Object(shown)) = (self.registry.get(&config.name), &mut shown) {
            shown.extend(of_definition(&definition));
            let phase = match self.registry.phase(&config.name) {
                Phase::Pending => json!({
                    "State": "Pending", "StateReason": "The function is being created.", "StateReasonCode": "Creating",
                }),
                Phase::InProgress => json!({
                    "LastUpdateStatus": "InProgress", "LastUpdateStatusReason": "The function is being created.",
                    "LastUpdateStatusReasonCode": "Creating",
                }),
                Phase::Ready => json!({}),
            };
            shown.extend(phase.as_object().cloned().unwrap_or_default());
        }
        shown
    }

    /// Refuses what cannot be called yet.
    pub(super) fn check_is_active(&self, function: &Function) -> Result<(), Refusal> {
        if self.registry.phase(function.name()) != Phase::Pending {
            return Ok(());
        }
        Err(Refusal::conflict(
            "The operation cannot be performed at this time. The function is currently in the following state: Pending",
        ))
    }

    /// The definition of a function that may be changed now.
    fn changeable(&self, function: &Function, revision: Option<&str>) -> Result<Definition, Refusal> {
        let definition = self.registry.get(function.name()).ok_or_else(|| not_from_archive(function))?;
        match self.registry.phase(function.name()) {
            Phase::Ready => {}
            Phase::Pending => self.check_is_active(function)?,
            Phase::InProgress => {
                return Err(Refusal::conflict(format!(
                    "The operation cannot be performed at this time. An update is in progress for resource: {}",
                    function.config().arn()
                )));
            }
        }
        if revision.is_some_and(|revision| revision != definition.revision) {
            let message = "The RevisionId provided does not match the latest RevisionId. Call the GetFunction/GetAlias API to \
                           retrieve the latest RevisionId";
            let refusal = Refusal::client("PreconditionFailedException", message);
            return Err(Refusal { status: StatusCode::PRECONDITION_FAILED, ..refusal });
        }
        Ok(definition)
    }

    fn renewed(&self, definition: Definition) -> Definition {
        let (modified_ms, revision) = (self.store.clock().now_ms(), Uuid::new_v4().to_string());
        Definition { modified_ms, revision, ..definition }
    }

    /// A definition with what is given anew, and all of it as it may be.
    fn with_settings(&self, mut definition: Definition, given: SettingsInput) -> Result<Definition, Refusal> {
        if let Some(runtime) = given.runtime {
            if !RUNTIMES.contains(&runtime.as_str()) {
                return Err(not_here(&format!("runtime {runtime} ({} are)", RUNTIMES.join(" and "))));
            }
            definition.runtime = runtime;
        }
        if let Some(environment) = given.environment {
            if let Some(name) = environment.variables.keys().find(|name| !is_variable_name(name)) {
                return Err(Refusal::invalid(format!(
                    "{name} is no name of a variable, or one that Lambda sets itself"
                )));
            }
            definition.variables = environment.variables;
        }
        if let Some(dead_letters) = given.dead_letter_config {
            let arn = Some(dead_letters.target_arn).filter(|arn| !arn.is_empty());
            let target = arn.map(|arn| Destination::for_use(&arn, Use::DeadLetters)).transpose();
            definition.dead_letter = target.map_err(|error| Refusal::invalid(error.to_string()))?;
        }
        if let Some(mode) = given.tracing_config.and_then(|tracing| tracing.mode) {
            if !matches!(mode.as_str(), "Active" | "PassThrough") {
                return Err(Refusal::invalid("TracingConfig.Mode is Active or PassThrough"));
            }
            definition.tracing = mode;
        }
        if given.logging_config.and_then(|logging| logging.log_format).is_some_and(|format| format != "Text") {
            return Err(not_here("LogFormat JSON"));
        }
        definition.storage_mb = given.ephemeral_storage.map_or(definition.storage_mb, |storage| storage.size);
        definition.role = given.role.unwrap_or(definition.role);
        definition.handler = given.handler.unwrap_or(definition.handler);
        definition.description = given.description.unwrap_or(definition.description);
        definition.timeout_s = given.timeout.unwrap_or(definition.timeout_s);
        definition.memory_mb = given.memory_size.unwrap_or(definition.memory_mb);
        let ranges = [
            (definition.role.starts_with("arn:aws:iam::"), "Role must be the ARN of a role"),
            ((512..=10_240).contains(&definition.storage_mb), "EphemeralStorage.Size must be 512 to 10240"),
            (definition.description.chars().count() <= 256, "Description must be at most 256 characters"),
            (is_handler(&definition.handler), "Handler must be 1 to 128 characters without spaces"),
        ];
        if let Some((_, message)) = ranges.into_iter().find(|(is_valid, _)| !is_valid) {
            return Err(Refusal::invalid(message));
        }
        // Nothing or an empty setting is what a function without it has.
        let is_set = |value: &Value| match value {
            Value::Null => false,
            Value::Array(values) => !values.is_empty(),
            Value::Object(fields) => {
                fields.values().any(|field| field.as_array().is_none_or(|values| !values.is_empty()) && field != "None")
            }
            Value::Bool(_) | Value::Number(_) | Value::String(_) => true,
        };
        if let Some((name, _)) = given.others.iter().find(|(_, value)| is_set(value)) {
            return Err(not_here(name));
        }
        definition.config(self.registry.root()).check().map_err(|error| refused(&error))?;
        Ok(self.renewed(definition))
    }

    /// The archive that code comes in.
    async fn archive(&self, code: CodeInput) -> Result<Vec<u8>, Refusal> {
        if code.image_uri.is_some() || code.s3_object_version.is_some() {
            return Err(not_here("code from an image, or of a version of an object"));
        }
        match (code.zip_file, code.s3_bucket, code.s3_key) {
            (Some(text), None, None) => {
                let archive = base64_simd::STANDARD.decode_to_vec(text);
                let archive = archive.map_err(|_not_base64| Refusal::invalid("ZipFile is not base64"))?;
                if archive.len() > ZIPPED_BYTES_MAX {
                    let message = format!("A zip file in the request has at most {ZIPPED_BYTES_MAX} bytes; use S3");
                    let refusal = Refusal::client("RequestTooLargeException", message);
                    return Err(Refusal { status: StatusCode::PAYLOAD_TOO_LARGE, ..refusal });
                }
                Ok(archive)
            }
            (None, Some(bucket), Some(key)) => {
                let read: Result<Bytes, StoreError> = self.sinks.s3.get(&bucket, &key, UNZIPPED_BYTES_MAX).await;
                read.map(Vec::from).map_err(|error| {
                    let code = if matches!(error, StoreError::NoSuchKey { .. }) {
                        "NoSuchKey"
                    } else if matches!(error, StoreError::NoSuchBucket { .. }) {
                        "NoSuchBucket"
                    } else {
                        "InternalError"
                    };
                    let message =
                        format!("Error occurred while GetObject. S3 Error Code: {code}. S3 Error Message: {error}");
                    Refusal::invalid(message)
                })
            }
            _ => Err(Refusal::invalid("Please provide a source for function code: ZipFile, or S3Bucket and S3Key.")),
        }
    }
}

fn check_architectures(asked: &[String]) -> Result<(), Refusal> {
    match asked.iter().find(|asked| *asked != architecture()) {
        Some(other) => Err(not_here(&format!("architecture {other}: this machine runs {}", architecture()))),
        None => Ok(()),
    }
}

fn is_handler(handler: &str) -> bool {
    (1..=128).contains(&handler.chars().count()) && !handler.contains(char::is_whitespace)
}

fn parse<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, Refusal> {
    serde_json::from_slice(body).map_err(|error| Refusal::client("InvalidRequestContentException", error.to_string()))
}

fn not_here(what: &str) -> Refusal {
    Refusal::invalid(format!("{what} is not implemented by the Millrace local cloud"))
}

/// A function that the program made, not a client.
fn not_from_archive(function: &Function) -> Refusal {
    Refusal::conflict(format!("Function {} was not made over this API, and is not changed over it", function.name()))
}

fn refused(error: &FunctionError) -> Refusal {
    match error {
        FunctionError::Log { .. } => Refusal::service(error.to_string()),
        FunctionError::Exists { function } => Refusal::conflict(format!("Function already exist: {function}")),
        FunctionError::Setting { .. } | FunctionError::Bootstrap { .. } | FunctionError::Reservation { .. } => {
            Refusal::invalid(error.to_string())
        }
    }
}

fn refused_code(error: &CodeError) -> Refusal {
    match error {
        CodeError::Disk(error) => disk(error),
        CodeError::NotAnArchive(_)
        | CodeError::Outside { .. }
        | CodeError::Link { .. }
        | CodeError::Twice { .. }
        | CodeError::TooMany
        | CodeError::TooLarge
        | CodeError::Empty => Refusal::invalid(error.to_string()),
    }
}

fn disk(error: &std::io::Error) -> Refusal {
    tracing::error!(%error, "cannot keep a function");
    Refusal::service(format!("The disk refuses: {error}"))
}
