//! Which call a request is, for the rules of faults, and how each service says that it is struck.

use http::{HeaderMap, Method, Request, Uri};

use crate::faults::FaultService;
use crate::wire::ServiceError;

const TOLD: &str = "a fault that was asked for.";

/// A call as rules name it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Called {
    pub(super) service: FaultService,
    pub(super) operation: String,
}

impl Called {
    /// A call of a JSON service by its `X-Amz-Target`; none for services that no rule can name.
    pub(super) fn of_target(target: &str) -> Option<Self> {
        let (service, operation) = target.split_once('.')?;
        let service = match service {
            "Kinesis_20131202" => FaultService::Kinesis,
            "Firehose_20150804" => FaultService::Firehose,
            "AWSGlue" => FaultService::Glue,
            "AmazonAthena" => FaultService::Athena,
            "AmazonSQS" => FaultService::Sqs,
            _ => return None,
        };
        Some(Self { service, operation: operation.to_owned() })
    }

    /// A call of S3.
    pub(super) fn of_s3<B>(request: &Request<B>) -> Self {
        let operation = s3_operation(request.method(), request.uri(), request.headers()).to_owned();
        Self { service: FaultService::S3, operation }
    }

    /// A call of SNS.
    pub(super) fn of_sns(action: &str) -> Self {
        Self { service: FaultService::Sns, operation: action.to_owned() }
    }

    /// A call of Lambda's REST API.
    pub(super) fn of_lambda(method: &Method, path: &str) -> Self {
        let is_invoke = method == Method::POST && path.trim_end_matches('/').ends_with("/invocations");
        let operation = match (is_invoke, method) {
            (true, _) => "Invoke",
            (false, &Method::GET) => "Get",
            (false, _) => "Change",
        };
        Self { service: FaultService::Lambda, operation: operation.to_owned() }
    }

    /// How the service says that there are too many calls.
    pub(super) fn throttled(&self) -> ServiceError {
        let message = format!("Rate exceeded: {TOLD}");
        let error = |status: u16, code: &'static str| ServiceError { status, code, message: message.clone() };
        match self.service {
            FaultService::Kinesis => error(400, "ProvisionedThroughputExceededException"),
            FaultService::Firehose => error(503, "ServiceUnavailableException"),
            FaultService::S3 => error(503, "SlowDown"),
            FaultService::Glue => error(400, "ThrottlingException"),
            FaultService::Athena => error(400, "TooManyRequestsException"),
            FaultService::Lambda => error(429, "TooManyRequestsException"),
            FaultService::Sqs => error(403, "RequestThrottled"),
            FaultService::Sns => error(429, "Throttled"),
        }
    }

    /// How the service says that it failed.
    pub(super) fn failed(&self) -> ServiceError {
        let code = match self.service {
            FaultService::Kinesis => "InternalFailureException",
            FaultService::Firehose => "InternalFailure",
            FaultService::S3 => "InternalError",
            FaultService::Glue => "InternalServiceException",
            FaultService::Athena => "InternalServerException",
            FaultService::Lambda => "ServiceException",
            FaultService::Sqs => "InternalFailure",
            FaultService::Sns => "InternalError",
        };
        ServiceError::internal(code, format!("Internal Service Failure: {TOLD}"))
    }
}

/// S3's own error document.
pub(super) fn s3_error_body(error: &ServiceError) -> String {
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{}</Code><Message>{}</Message></Error>",
        error.code, error.message
    )
}

/// The operation of a path-style request. Sub-resources that nobody here asks for go by the method alone.
fn s3_operation(method: &Method, uri: &Uri, headers: &HeaderMap) -> &'static str {
    let is_object = uri.path().trim_start_matches('/').split_once('/').is_some_and(|(_, key)| !key.is_empty());
    let is_copy = headers.contains_key("x-amz-copy-source");
    let names = uri.query().unwrap_or_default().split('&').map(|pair| pair.split('=').next().unwrap_or_default());
    let names: Vec<&str> = names.collect();
    let has = |name: &str| names.contains(&name);
    match (method.as_str(), is_object) {
        ("PUT", true) if has("partNumber") => "UploadPart",
        ("PUT", true) if is_copy => "CopyObject",
        ("PUT", true) => "PutObject",
        ("PUT", false) => "CreateBucket",
        ("POST", true) if has("uploads") => "CreateMultipartUpload",
        ("POST", true) => "CompleteMultipartUpload",
        ("POST", false) => "DeleteObjects",
        ("DELETE", true) if has("uploadId") => "AbortMultipartUpload",
        ("DELETE", true) => "DeleteObject",
        ("DELETE", false) => "DeleteBucket",
        ("HEAD", true) => "HeadObject",
        ("HEAD", false) => "HeadBucket",
        ("GET", true) if has("uploadId") => "ListParts",
        ("GET", true) => "GetObject",
        ("GET", false) if uri.path() == "/" => "ListBuckets",
        ("GET", false) if has("list-type") => "ListObjectsV2",
        _ => "ListObjects",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_of_s3_have_their_operation_s_name() {
        let check = |method: &str, uri: &str, expected: &str| {
            let request = Request::builder().method(method).uri(uri).body(()).unwrap();
            assert_eq!(Called::of_s3(&request).operation, expected, "{method} {uri}");
        };
        check("PUT", "/bucket/a/b", "PutObject");
        check("PUT", "/bucket/a?partNumber=1&uploadId=x", "UploadPart");
        check("PUT", "/bucket", "CreateBucket");
        check("PUT", "/bucket/", "CreateBucket");
        check("POST", "/bucket/a?uploads", "CreateMultipartUpload");
        check("POST", "/bucket/a?uploadId=x", "CompleteMultipartUpload");
        check("POST", "/bucket?delete", "DeleteObjects");
        check("GET", "/bucket?list-type=2&prefix=a", "ListObjectsV2");
        check("GET", "/bucket/a", "GetObject");
        check("GET", "/", "ListBuckets");
        check("HEAD", "/bucket/a", "HeadObject");
        check("DELETE", "/bucket/a?uploadId=x", "AbortMultipartUpload");
        let copy = Request::put("/bucket/b").header("x-amz-copy-source", "/bucket/a").body(()).unwrap();
        assert_eq!(Called::of_s3(&copy).operation, "CopyObject");
    }

    #[test]
    fn calls_by_target_and_path() {
        let check = |called: Option<Called>, service: FaultService, operation: &str| {
            assert_eq!(called, Some(Called { service, operation: operation.to_owned() }));
        };
        check(Called::of_target("AWSGlue.GetTable"), FaultService::Glue, "GetTable");
        check(Called::of_target("Firehose_20150804.PutRecord"), FaultService::Firehose, "PutRecord");
        check(Called::of_target("AmazonSQS.SendMessage"), FaultService::Sqs, "SendMessage");
        check(Some(Called::of_sns("Publish")), FaultService::Sns, "Publish");
        assert_eq!(Called::of_target("Nobody.Calls"), None);
        let path = "/2015-03-31/functions/f/invocations";
        check(Some(Called::of_lambda(&Method::POST, path)), FaultService::Lambda, "Invoke");
        check(Some(Called::of_lambda(&Method::GET, "/2015-03-31/functions/f")), FaultService::Lambda, "Get");
    }
}
