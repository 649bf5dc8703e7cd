//! What every JSON service of the local cloud shares: its error shape, and reading and writing of bodies.
//!
//! AWS JSON 1.0/1.1: one POST to `/`, the operation in `X-Amz-Target`, an error as
//! `{"__type": code, "message": text}` with status 400, or 500 when the fault is the service's own.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::cbor;

/// A failure as a service puts it on the wire.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {message}")]
pub struct ServiceError {
    /// HTTP status: 400 for the caller's faults, 500 for ours.
    pub status: u16,
    /// The service's own name of the error, such as `ResourceNotFoundException`.
    pub code: &'static str,
    /// One sentence for a person.
    pub message: String,
}

impl ServiceError {
    /// A fault of the caller: status 400.
    pub fn client(code: &'static str, message: impl Into<String>) -> Self {
        Self { status: 400, code, message: message.into() }
    }

    /// A fault of ours: status 500.
    pub fn internal(code: &'static str, message: impl Into<String>) -> Self {
        Self { status: 500, code, message: message.into() }
    }

    /// The operation exists at AWS and not here.
    pub fn not_here(service: &str, operation: &str) -> Self {
        Self::client(
            "UnknownOperationException",
            format!("{service} {operation} is not implemented by the Millrace local cloud"),
        )
    }
}

/// How a request and its answer are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// AWS JSON 1.0 or 1.1.
    Json,
    /// `application/x-amz-cbor-1.1`, which the AWS SDKs for Java speak to Kinesis.
    Cbor,
}

/// A request as it came.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// How it is written, and its answer will be.
    pub protocol: Protocol,
    /// Its body.
    pub body: &'a [u8],
}

impl Protocol {
    /// The value of `Content-Type`.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Json => "application/x-amz-json-1.1",
            Self::Cbor => "application/x-amz-cbor-1.1",
        }
    }

    /// Writes an answer's body, or the payload of an event.
    ///
    /// # Errors
    /// `InternalFailure` when the answer cannot be written.
    pub fn write<T: Serialize>(self, value: &T) -> Result<Vec<u8>, ServiceError> {
        match self {
            Self::Json => answer(value),
            Self::Cbor => {
                cbor::to_vec(value).map_err(|error| ServiceError::internal("InternalFailure", error.to_string()))
            }
        }
    }
}

impl<'a> Request<'a> {
    /// A request in JSON.
    pub fn json(body: &'a [u8]) -> Self {
        Self { protocol: Protocol::Json, body }
    }

    /// Reads the body, borrowing from it. An empty one has no fields.
    ///
    /// # Errors
    /// `SerializationException` when the body is not of the operation's shape.
    pub fn parse<T: Deserialize<'a>>(&self) -> Result<T, ServiceError> {
        let refused = |error: String| ServiceError::client("SerializationException", error);
        match (self.protocol, self.body) {
            (Protocol::Json, []) => serde_json::from_slice(b"{}").map_err(|error| refused(error.to_string())),
            (Protocol::Json, body) => serde_json::from_slice(body).map_err(|error| refused(error.to_string())),
            (Protocol::Cbor, []) => cbor::from_slice(&[0xa0]).map_err(|error| refused(error.to_string())),
            (Protocol::Cbor, body) => cbor::from_slice(body).map_err(|error| refused(error.to_string())),
        }
    }

    /// Writes the answer's body.
    ///
    /// # Errors
    /// `InternalFailure` when the answer cannot be written.
    pub fn answer<T: Serialize>(&self, value: &T) -> Result<Vec<u8>, ServiceError> {
        self.protocol.write(value)
    }
}

/// Reads a request body.
///
/// # Errors
/// `SerializationException` when the body is not JSON of the operation's shape.
pub fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, ServiceError> {
    let body = if body.is_empty() { b"{}" } else { body };
    serde_json::from_slice(body).map_err(|error| ServiceError::client("SerializationException", error.to_string()))
}

/// Writes a value behind what is there.
///
/// # Errors
/// `InternalFailure` when the value cannot be written as JSON.
pub fn append<T: Serialize>(json: &mut Vec<u8>, value: &T) -> Result<(), ServiceError> {
    serde_json::to_writer(json, value).map_err(|error| ServiceError::internal("InternalFailure", error.to_string()))
}

/// Writes an answer's body.
///
/// # Errors
/// `InternalFailure` when the answer cannot be written as JSON.
pub fn answer<T: Serialize>(value: &T) -> Result<Vec<u8>, ServiceError> {
    serde_json::to_vec(value).map_err(|error| ServiceError::internal("InternalFailure", error.to_string()))
}

/// Text as it stands within XML.
pub fn xml_text(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
