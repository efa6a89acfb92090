//! The names of an event's fields, and which of them a filter can compare.
//!
//! <https://docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-event-reference-record-contents.html>
//! <https://docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-event-reference-user-identity.html>

// Without filter files, only the names of top-level fields are used.
#![cfg_attr(not(feature = "filter-file"), allow(dead_code))]

use crate::suggest;

/// Which values and fields a field contains.
#[derive(Debug, Clone, Copy)]
enum Shape {
    /// A text, a number or a boolean.
    Value,
    /// `true` or `false`.
    Boolean,
    /// An object with these fields.
    Object(&'static [NamedShape]),
    /// An array of objects with these fields.
    List(&'static [NamedShape]),
    /// An object whose fields depend on the service.
    Free,
    /// A field within [`Shape::Free`], with any value.
    Any,
}

type NamedShape = (&'static str, Shape);

use Shape::{Any, Boolean, Free, List, Object, Value};

/// The top-level fields.
const FIELDS: &[NamedShape] = &[
    ("accountId", Value),
    ("addendum", Object(ADDENDUM)),
    ("additionalEventData", Free),
    ("apiVersion", Value),
    ("awsRegion", Value),
    ("edgeDeviceDetails", Free),
    ("errorCode", Value),
    ("errorMessage", Value),
    ("eventCategory", Value),
    ("eventContext", Free),
    ("eventID", Value),
    ("eventId", Value),
    ("eventName", Value),
    ("eventSource", Value),
    ("eventTime", Value),
    ("eventType", Value),
    ("eventVersion", Value),
    ("insightDetails", Free),
    ("managementEvent", Boolean),
    ("readOnly", Boolean),
    ("recipientAccountId", Value),
    ("requestID", Value),
    ("requestParameters", Free),
    ("resources", List(RESOURCE)),
    ("responseElements", Free),
    ("serviceEventDetails", Free),
    ("sessionCredentialFromConsole", Boolean),
    ("sharedEventID", Value),
    ("sourceIPAddress", Value),
    ("summary", Free),
    ("timeWindow", Object(TIME_WINDOW)),
    ("tlsDetails", Object(TLS_DETAILS)),
    ("userAgent", Value),
    ("userIdentity", Object(USER_IDENTITY)),
    ("vpcEndpointAccountId", Value),
    ("vpcEndpointId", Value),
];

const ADDENDUM: &[NamedShape] =
    &[("originalEventID", Value), ("originalRequestID", Value), ("reason", Value), ("updatedFields", Value)];

const RESOURCE: &[NamedShape] = &[("accountId", Value), ("ARN", Value), ("ARNPrefix", Value), ("type", Value)];

const TIME_WINDOW: &[NamedShape] = &[("windowEnd", Value), ("windowSize", Value), ("windowStart", Value)];

const TLS_DETAILS: &[NamedShape] =
    &[("cipherSuite", Value), ("clientProvidedHostHeader", Value), ("keyExchange", Value), ("tlsVersion", Value)];

const USER_IDENTITY: &[NamedShape] = &[
    ("accessKeyId", Value),
    ("accountId", Value),
    ("arn", Value),
    ("credentialId", Value),
    ("identityProvider", Value),
    (
        "inScopeOf",
        Object(&[
            ("credentialsIssuedTo", Value),
            ("issuerType", Value),
            ("sourceAccount", Value),
            ("sourceArn", Value),
        ]),
    ),
    ("invokedBy", Value),
    ("invokedByDelegate", Object(&[("accountId", Value)])),
    ("onBehalfOf", Object(&[("identityStoreArn", Value), ("userId", Value)])),
    ("principalId", Value),
    ("sessionContext", Object(SESSION_CONTEXT)),
    ("type", Value),
    ("userName", Value),
];

const SESSION_CONTEXT: &[NamedShape] = &[
    ("assumedRoot", Value),
    ("attributes", Object(&[("creationDate", Value), ("mfaAuthenticated", Value)])),
    ("ec2RoleDelivery", Value),
    (
        "sessionIssuer",
        Object(&[("accountId", Value), ("arn", Value), ("principalId", Value), ("type", Value), ("userName", Value)]),
    ),
    ("sourceIdentity", Value),
    ("webIdFederationData", Object(&[("attributes", Free), ("federatedProvider", Value)])),
];

/// What is known about the values of a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FieldKind {
    /// Whether an event has at most one value of the field. A path through an array can have several.
    pub is_single: bool,
    /// Whether the value is `true` or `false`.
    pub is_boolean: bool,
}

/// Checks the path of a field whose values are compared.
///
/// # Errors
/// A message that distinguishes unknown fields, with a suggestion, from fields that contain other fields.
pub(crate) fn check(path: &[String]) -> Result<FieldKind, String> {
    let (shape, kind) = find(path)?;
    match shape {
        Value | Boolean | Any => Ok(kind),
        Free | Object(_) | List(_) => Err(contains_fields(&path.join("."), shape)),
    }
}

/// Checks the path of a field whose presence is tested. The field may also contain other fields.
///
/// # Errors
/// A message for an unknown field, with a suggestion.
pub fn check_presence(path: &[String]) -> Result<FieldKind, String> {
    find(path).map(|(_, kind)| kind)
}

/// Checks that the one-line syntax can compare this field. A filter on any other field would drop nothing.
///
/// # Errors
/// A message that distinguishes unknown fields, with a suggestion, from fields that contain other fields.
pub(crate) fn check_top_level(field: &str) -> Result<FieldKind, String> {
    let shape = FIELDS.iter().find(|(name, _)| *name == field).map(|(_, shape)| *shape);
    match shape {
        Some(Value) => Ok(FieldKind { is_single: true, is_boolean: false }),
        Some(Boolean) => Ok(FieldKind { is_single: true, is_boolean: true }),
        Some(_) => Err(format!(
            "{field} contains other fields: the one-line syntax compares only top-level fields whose value is a text, \
             a number or a boolean, such as eventName; a filter file compares nested fields"
        )),
        None => {
            let hint = suggest::did_you_mean(field, FIELDS.iter().map(|(name, _)| *name));
            Err(format!(
                "unknown field {field:?}: expected a top-level field of CloudTrail events, such as eventName{hint}"
            ))
        }
    }
}

/// Finds what the last name of a path contains. Below a free-form field, every name is accepted.
fn find(path: &[String]) -> Result<(Shape, FieldKind), String> {
    let (mut shape, mut is_single) = (Object(FIELDS), true);
    for (depth, name) in path.iter().enumerate() {
        let fields = match shape {
            // A field within a free-form field may contain arrays.
            Free | Any => return Ok((Any, FieldKind { is_single: false, is_boolean: false })),
            Value | Boolean => {
                return Err(format!("{} contains no other fields: remove .{name}", path[..depth].join(".")));
            }
            Object(fields) => fields,
            List(fields) => {
                is_single = false;
                fields
            }
        };
        shape = match fields.iter().find(|(known, _)| known == name) {
            Some((_, found)) => *found,
            None => return Err(unknown(path, depth, fields)),
        };
    }
    is_single &= !matches!(shape, List(_));
    Ok((shape, FieldKind { is_single, is_boolean: matches!(shape, Boolean) }))
}

/// Returns the error for the name at `depth` that is not one of `fields`. Suggests the whole path.
fn unknown(path: &[String], depth: usize, fields: &[NamedShape]) -> String {
    let parent = path[..depth].join(".");
    let hint = suggest::similar(&path[depth], fields.iter().map(|(name, _)| *name)).map(|name| {
        let mut corrected = path.to_vec();
        corrected[depth] = name.to_owned();
        format!("; did you mean {}?", corrected.join("."))
    });
    let hint = hint.unwrap_or_default();
    if depth == 0 {
        return format!(
            "unknown field {:?}: expected a field of CloudTrail events, such as eventName{hint}",
            path.join(".")
        );
    }
    let names: Vec<&str> = fields.iter().map(|(name, _)| *name).collect();
    format!("unknown field {:?}: the fields of {parent} are {}{hint}", path.join("."), names.join(", "))
}

fn contains_fields(field: &str, shape: Shape) -> String {
    let example = match shape {
        Object(fields) | List(fields) => {
            fields.iter().find(|(_, shape)| matches!(shape, Value)).map_or("NAME", |(name, _)| name)
        }
        Value | Boolean | Free | Any => "NAME",
    };
    format!("{field} contains other fields: compare one of them, such as {field}.{example}, or use exists or null")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> Vec<String> {
        text.split('.').map(str::to_owned).collect()
    }

    #[test]
    fn known_nested_and_free_form_fields_are_accepted() {
        for (text, is_single) in [
            ("eventName", true),
            ("userIdentity.sessionContext.sessionIssuer.arn", true),
            ("tlsDetails.tlsVersion", true),
            ("resources.ARN", false),
            ("requestParameters.bucketName", false),
            ("userIdentity.sessionContext.webIdFederationData.attributes.sub", false),
        ] {
            assert_eq!(check(&path(text)).map(|kind| kind.is_single), Ok(is_single), "{text}");
        }
        assert!(check_presence(&path("responseElements")).is_ok());
        assert!(check(&path("readOnly")).unwrap().is_boolean);
    }

    #[test]
    fn misspelled_nested_field_is_rejected_with_the_whole_path() {
        for (text, expected) in [
            ("useridentity.arn", "did you mean userIdentity.arn?"),
            (
                "userIdentity.sessionContext.sessionissuer.arn",
                "did you mean userIdentity.sessionContext.sessionIssuer.arn?",
            ),
            ("userIdentity.nosuch", "the fields of userIdentity are accessKeyId, "),
            ("eventName.x", "eventName contains no other fields: remove .x"),
            (
                "userIdentity",
                "userIdentity contains other fields: compare one of them, such as userIdentity.accessKeyId",
            ),
            (
                "requestParameters",
                "requestParameters contains other fields: compare one of them, such as requestParameters.NAME",
            ),
            ("resources.arn", "did you mean resources.ARN?"),
        ] {
            let error = check(&path(text)).unwrap_err();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }

    #[test]
    fn names_are_sorted_and_unique() {
        fn is_sorted(fields: &[NamedShape]) {
            assert!(fields.is_sorted_by(|(a, _), (b, _)| a.to_lowercase() <= b.to_lowercase() && a != b), "{fields:?}");
            for (_, shape) in fields {
                if let Object(nested) | List(nested) = shape {
                    is_sorted(nested);
                }
            }
        }
        is_sorted(FIELDS);
    }
}
