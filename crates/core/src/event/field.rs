//! The names of an event's top-level fields, and whether a filter can compare them.
//!
//! <https://docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-event-reference-record-contents.html>

use crate::suggest;

/// Fields whose value is a text, a number or a boolean.
const COMPARABLE: [&str; 23] = [
    "accountId",
    "apiVersion",
    "awsRegion",
    "errorCode",
    "errorMessage",
    "eventCategory",
    "eventID",
    "eventId",
    "eventName",
    "eventSource",
    "eventTime",
    "eventType",
    "eventVersion",
    "managementEvent",
    "readOnly",
    "recipientAccountId",
    "requestID",
    "sessionCredentialFromConsole",
    "sharedEventID",
    "sourceIPAddress",
    "userAgent",
    "vpcEndpointAccountId",
    "vpcEndpointId",
];

/// Fields whose value is an object or an array.
const NESTED: [&str; 13] = [
    "addendum",
    "additionalEventData",
    "edgeDeviceDetails",
    "eventContext",
    "insightDetails",
    "requestParameters",
    "resources",
    "responseElements",
    "serviceEventDetails",
    "summary",
    "timeWindow",
    "tlsDetails",
    "userIdentity",
];

/// Checks that a filter can compare this field. A filter on any other field would drop nothing.
///
/// # Errors
/// A message that distinguishes unknown fields, with a suggestion, from fields that contain other fields.
pub(crate) fn check(field: &str) -> Result<(), String> {
    if COMPARABLE.contains(&field) {
        return Ok(());
    }
    if NESTED.contains(&field) {
        return Err(format!(
            "{field} contains other fields: a filter compares only top-level fields whose value is a text, a number or \
             a boolean, such as eventName"
        ));
    }
    let hint = suggest::did_you_mean(field, COMPARABLE.into_iter().chain(NESTED));
    Err(format!("unknown field {field:?}: expected a top-level field of CloudTrail events, such as eventName{hint}"))
}
