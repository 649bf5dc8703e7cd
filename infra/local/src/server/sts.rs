//! STS as far as clients ask it who they are: `GetCallerIdentity`, in the query protocol.

use http::{Response, StatusCode};
use url::form_urlencoded;
use uuid::Uuid;

use super::{Body, guard};
use crate::kinesis::ACCOUNT;
use crate::signature::Refusal;
use crate::wire::xml_text;

const NAMESPACE: &str = "https://sts.amazonaws.com/doc/2011-06-15/";

/// Answers a request whose body is whole.
pub(super) fn answer(body: &[u8]) -> Response<Body> {
    let action = form_urlencoded::parse(body).find(|(name, _)| name == "Action").map(|(_, value)| value);
    match action.as_deref() {
        Some("GetCallerIdentity") => {
            let text = format!(
                "<GetCallerIdentityResponse xmlns=\"{NAMESPACE}\"><GetCallerIdentityResult>\
                 <Arn>arn:aws:iam::{ACCOUNT}:root</Arn><UserId>{ACCOUNT}</UserId><Account>{ACCOUNT}</Account>\
                 </GetCallerIdentityResult><ResponseMetadata><RequestId>{}</RequestId></ResponseMetadata>\
                 </GetCallerIdentityResponse>",
                Uuid::new_v4()
            );
            guard::xml(StatusCode::OK, text)
        }
        Some(other) => {
            let message = format!("{other} is not implemented by the Millrace local cloud (of STS: GetCallerIdentity)");
            error(StatusCode::BAD_REQUEST, "InvalidAction", &message)
        }
        None => error(StatusCode::BAD_REQUEST, "MissingAction", "The request names no Action"),
    }
}

/// What STS says to a request that was not signed as it should be.
pub(super) fn refused(refusal: &Refusal) -> Response<Body> {
    let (code, status) = guard::query_error(refusal);
    error(status, code, &refusal.to_string())
}

fn error(status: StatusCode, code: &str, message: &str) -> Response<Body> {
    let text = format!(
        "<ErrorResponse xmlns=\"{NAMESPACE}\"><Error><Type>Sender</Type><Code>{code}</Code><Message>{}</Message>\
         </Error><RequestId>{}</RequestId></ErrorResponse>",
        xml_text(message),
        Uuid::new_v4()
    );
    guard::xml(status, text)
}
