//! Questions about resources that belong to other resources, and about what the parameters of events name.

use super::*;
use crate::plan::PlanOutput;

fn now() -> Timestamp {
    "2026-11-27T15:30:00Z".parse().unwrap()
}

fn read(text: &str) -> Result<String, String> {
    interpret(text, now()).map(|question| question.plan.restate()).map_err(|refusal| refusal.reason)
}

/// Each text is part of the restated plan.
fn check_parts(questions: &[(&str, &[&str])]) {
    for (text, parts) in questions {
        let plan = read(text).unwrap_or_else(|reason| panic!("{text}: {reason}"));
        for part in *parts {
            assert!(plan.contains(part), "{text}: {part} is not in: {plan}");
        }
    }
}

fn check_refusals(questions: &[(&str, &str)]) {
    for (text, expected) in questions {
        let reason = read(text).expect_err(text);
        assert!(reason.contains(expected), "{text}: {reason}");
    }
}

#[test]
fn member_of_a_container_is_removed_by_the_operation_that_joins_both() {
    check_parts(&[
        (
            "which users were deleted from the group admins today",
            &["\"RemoveUserFromGroup\"", "groupName is \"admins\"", "for each requestParameters.userName"],
        ),
        ("who dropped a user from a group today", &["\"RemoveUserFromGroup\""]),
        ("who added the user alice to the group admins today", &["\"AddUserToGroup\"", "\"alice\"", "\"admins\""]),
        ("who deleted a policy from a role today", &["\"DetachRolePolicy\", \"DeleteRolePolicy\""]),
        ("who deleted an inline policy from the role ci today", &["eventName is \"DeleteRolePolicy\""]),
        ("who removed a managed policy from the role ci today", &["eventName is \"DetachRolePolicy\""]),
        ("who removed the policy from the bucket \"reports\" today", &["\"DeleteBucketPolicy\"", "\"reports\""]),
        ("which roles were deleted from the instance profile \"web\" today", &["\"RemoveRoleFromInstanceProfile\""]),
    ]);
    let count = read("how many users were removed from the group admins today").unwrap();
    assert!(count.starts_with("Number of different values of requestParameters.userName"), "{count}");
}

#[test]
fn container_that_the_question_asks_for_is_the_group() {
    check_parts(&[
        ("which groups did bob add users to today", &["\"AddUserToGroup\"", "for each requestParameters.groupName"]),
        ("from which groups were users removed today", &["for each requestParameters.groupName"]),
        ("to which roles was a policy attached today", &["for each requestParameters.roleName"]),
        (
            "which groups was the user bob removed from today",
            &["requestParameters.userName is \"bob\"", "for each requestParameters.groupName"],
        ),
        (
            "which roles did bob remove policies from today",
            &["\"DetachRolePolicy\", \"DeleteRolePolicy\"", "for each requestParameters.roleName"],
        ),
        ("which buckets did alice delete objects from today", &["\"DeleteObject\"", "requestParameters.bucketName."]),
    ]);
    check_parts(&[
        ("in which buckets were objects created today", &["\"PutObject\"", "for each requestParameters.bucketName."]),
        (
            "on which instances was user data changed today",
            &["\"ModifyInstanceAttribute\"", "requestParameters.instanceId."],
        ),
        ("for which users were access keys created today", &["\"CreateAccessKey\"", "requestParameters.userName."]),
        ("by which users were access keys created today", &["\"CreateAccessKey\"", "for each principal."]),
        (
            "in which accounts was the user bob created today",
            &["\"CreateUser\"", "\"bob\"", "for each recipientAccountId."],
        ),
    ]);
    // These users are the callers, and the second preposition belongs to the time or the region.
    check_parts(&[
        ("which objects were deleted from the bucket \"reports-1\" from yesterday", &["\"DeleteObject\"", ".key."]),
        ("which objects were deleted from the bucket \"reports-1\" in eu-west-1", &["\"DeleteObject\"", ".key."]),
        ("which objects were deleted in the bucket \"reports-1\" from 192.0.2.1", &["\"DeleteObject\"", ".key."]),
        ("which users deleted buckets from yesterday", &["for each principal."]),
        ("top users that deleted buckets today", &["for each principal."]),
    ]);
}

#[test]
fn condition_on_a_parameter_that_no_event_has_is_refused() {
    check_refusals(&[
        ("which users were created in the group admins today", "the parameters of CreateUser have no groupName"),
        ("which functions were removed from the stack app today", "have no stackName"),
        ("who deleted the bucket of the trail main today", "the parameters of DeleteBucket have no name or trailName"),
        ("which topics were deleted from the queue jobs today", "have no queueUrl or queueName"),
        ("DeleteUser calls in the bucket \"reports-1\" today", "the parameters of DeleteUser have no bucketName"),
        ("which functions were created with the role \"admin\" today", "have no roleName"),
    ]);
    // The parameters of these events are unknown.
    for text in ["ConsoleLogin events in the bucket \"reports-1\"", "Delete* events in the bucket \"reports-1\""] {
        assert!(read(text).is_ok(), "{text}");
    }
}

#[test]
fn events_without_the_parameter_of_a_condition_are_left_out() {
    let all = read("who deleted objects in the bucket \"reports-1\" today").unwrap();
    assert!(all.contains("\"DeleteObject\", \"DeleteObjects\""), "{all}");
    let named = read("who deleted the object \"a.csv\" today").unwrap();
    assert!(named.contains("eventName is \"DeleteObject\"") && !named.contains("DeleteObjects"), "{named}");
    let secret = read("who created the secret \"db-main\" today").unwrap();
    assert!(secret.contains("requestParameters.name is \"db-main\"") && !secret.contains("secretId"), "{secret}");
}

#[test]
fn name_in_a_list_is_searched_anywhere() {
    check_parts(&[
        ("who deleted the alarm \"cpu-high\" today", &["\"DeleteAlarms\" and \"cpu-high\" occurs in the event"]),
        ("who read the parameter \"/prod/db\" today", &["\"GetParameters\" and \"/prod/db\" occurs in the event"]),
    ]);
}

#[test]
fn unnamed_resource_that_the_events_are_not_about_is_refused() {
    check_refusals(&[
        ("which subnets were deleted from the vpc vpc-0a1b2c3d today", "do not name the vpc vpc-0a1b2c3d"),
        ("which snapshots of the volume vol-0a1b2c3d were deleted today", "do not name the volume"),
        ("which alarms were deleted for the instance i-0a1b2c3d4e5f67890 today", "do not name the instance"),
        ("who deleted buckets of stacks today", "do not name the stacks"),
        ("who removed the security group from an instance today", "do not name the instance"),
    ]);
    // The responses of these events describe what was created.
    check_parts(&[
        ("which subnets were created in the vpc vpc-0a1b2c3d today", &["responseElements.subnet.subnetId"]),
        ("who launched instances in the subnet subnet-0a1b2c3d today", &["\"RunInstances\""]),
    ]);
}

#[test]
fn group_by_a_parameter_that_no_event_has_is_refused_or_found_in_the_response() {
    check_parts(&[
        ("which volumes were created today", &["for each responseElements.volumeId."]),
        ("which certificates were imported today", &["responseElements.certificateArn"]),
        ("which of the buckets were deleted today", &["for each requestParameters.bucketName"]),
        ("which KMS keys were created today", &["for each responseElements.keyMetadata.keyId."]),
        (
            "which access keys were created today",
            &["requestParameters.userName and responseElements.accessKey.accessKeyId"],
        ),
        ("which access keys were deleted today", &["requestParameters.userName and requestParameters.accessKeyId"]),
        ("which policies were attached to users today", &["for each requestParameters.policyArn."]),
    ]);
    check_refusals(&[
        ("which vpn connections were described per bucket today", "have no bucketName"),
        ("CreateUser calls per bucket today", "the parameters of CreateUser have no bucketName"),
        ("which buckets were deleted per volume today", "the parameters of DeleteBucket have no volumeId"),
        ("top 5 terminated instances today", "the parameters of TerminateInstances have no instanceId"),
        ("top 5 deleted clusters today", "not known which parameter names the clusters"),
    ]);
}

#[test]
fn events_that_concern_several_resources_are_listed_with_a_note() {
    for (text, expected) in [
        ("which instances were stopped today", "not grouped by instanceId, because one request of StopInstances"),
        ("which alarms were deleted today", "not grouped by alarmName, because one request of DeleteAlarms"),
        ("which clusters were deleted in eks today", "The events are not grouped by clusters."),
    ] {
        let question = interpret(text, now()).unwrap();
        assert!(matches!(question.plan.output(), PlanOutput::Events { .. }), "{text}");
        let note = question.note.unwrap_or_default();
        assert!(note.contains(expected), "{text}: {note}");
    }
    let changed = read("which instances were changed today").unwrap();
    assert!(changed.contains("for each requestParameters.instanceId"), "{changed}");
    assert_eq!(interpret("who stopped instances today", now()).unwrap().note, None);
}

#[test]
fn events_without_a_single_name_are_noted() {
    let note = |text| interpret(text, now()).unwrap().note;
    let expected =
        "Events of DeleteParameters are one row without a name, because no parameter contains a single name.";
    assert_eq!(note("which parameters were deleted from ssm today").as_deref(), Some(expected));
    assert_eq!(note("which buckets were deleted today"), None);
}

#[test]
fn relative_clause_with_other_events_is_refused() {
    check_refusals(&[
        (
            "which volumes were deleted by the user who created the snapshot snap-0a1b2c3d today",
            "cannot compare several",
        ),
        ("who deleted the roles that created buckets today", "cannot compare several"),
        ("which users that deleted buckets also created roles today", "cannot compare several"),
    ]);
    let both = read("who created users and deleted buckets today").unwrap();
    assert!(both.contains("\"CreateUser\"") && both.contains("\"DeleteBucket\""), "{both}");
}

#[test]
fn two_names_for_one_parameter_are_refused() {
    check_refusals(&[
        (
            "which objects were copied from the bucket \"a-1\" to the bucket \"b-1\" today",
            "bucketName cannot be both \"a-1\" and \"b-1\" in one event",
        ),
        ("who deleted the policy of the role \"ci-1\" from the role \"ci-2\" today", "roleName cannot be both"),
    ]);
    check_parts(&[("who deleted the bucket \"a-1\" or \"b-1\" today", &["\"a-1\"", "\"b-1\""])]);
}

#[test]
fn account_that_a_request_names_is_not_the_account_of_the_event() {
    check_parts(&[
        ("who closed the account 444455556666 today", &["\"CloseAccount\" and \"444455556666\" occurs in the event"]),
        ("which snapshots were shared with account 444455556666 today", &["\"444455556666\" occurs in the event"]),
        ("logins to account 444455556666 today", &["recipientAccountId is \"444455556666\""]),
        ("which buckets were deleted in the account 444455556666 today", &["recipientAccountId is \"444455556666\""]),
    ]);
}
