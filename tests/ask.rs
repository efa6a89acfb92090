//! `trailhose ask`: answers questions about the sample bucket and about the folder that it is delivered to.

mod laptop;

use laptop::{run, text};
use std::path::Path;

const SAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/events/bucket");

#[test]
fn question_has_the_same_answer_for_a_bucket_and_for_a_synced_folder() {
    let dest = tempfile::tempdir().unwrap();
    assert_eq!(run(&["sync", SAMPLE, text(dest.path())]).code(), 0);
    let questions = [
        "console logins by the root user in 2026",
        "CreateUser events by user on 2026-02-28",
        "how many different users used KMS in account 111122223333 on 2026-02-28",
    ];
    for question in questions {
        let answers = [Path::new(SAMPLE), dest.path()].map(|source| {
            let ran = run(&["ask", text(source), question, "--json"]);
            assert!([0, 4].contains(&ran.code()), "{question}: {ran:?}");
            let mut answer = ran.json();
            answer.as_object_mut().unwrap().remove("scanned");
            answer
        });
        assert_eq!(answers[0], answers[1], "{question}");
    }
}

#[test]
fn answer_is_the_question_restated_then_a_summary_and_a_table() {
    let ran = run(&["ask", SAMPLE, "console logins by the root user in 2026"]);
    assert_eq!(ran.code(), 0, "{ran:?}");
    let out = ran.out();
    let restated = "The newest 100 events from 2026-01-01 through 2026-12-31 (UTC) where eventName is \"ConsoleLogin\" and \
                    userIdentity.type is \"Root\" and userIdentity.invokedBy is missing, newest first.";
    assert_eq!(out.lines().next(), Some(restated));
    assert!(
        out.contains("\n1 event from 2026-02-28T23:43:58Z to 2026-02-28T23:43:58Z: 1 principal, 1 account"),
        "{out}"
    );
    assert!(out.contains("signin:ConsoleLogin"), "{out}");
    let row = out.lines().last().unwrap();
    assert!(row.starts_with("2026-02-28T23:43:58Z") && row.contains("arn:aws:iam::444455556666:root"), "{out}");
    assert!(ran.err().contains("searched 497 events in 29 files"), "{ran:?}");
}

#[test]
fn answer_says_that_events_are_not_grouped() {
    let question = "which instances were terminated in 2026";
    let note = "The events are not grouped by instanceId, because one request of TerminateInstances can be about several; each \
                event contains all of them.";
    let ran = run(&["ask", SAMPLE, question]);
    assert!(ran.out().lines().next().unwrap().ends_with(note), "{ran:?}");
    assert_eq!(run(&["ask", SAMPLE, question, "--json"]).json()["note"], note);
    let grouped = run(&["ask", SAMPLE, "which buckets were created in 2026", "--json"]).json();
    assert_eq!(grouped.get("note"), None, "{grouped}");
}

#[test]
fn list_contains_the_newest_or_oldest_events_and_the_summary_all_of_them() {
    let ran = run(&["ask", SAMPLE, "last 3 events in 2026", "--json"]);
    let answer = ran.json();
    assert_eq!(answer["rows"].as_array().unwrap().len(), 3, "{answer}");
    assert_eq!(answer["is_limited"], true);
    assert_eq!(answer["totals"]["events"], answer["events"]);
    assert!(answer["events"].as_u64().unwrap() > 300, "{answer}");
    let last = answer["totals"]["last"].as_str().unwrap();
    assert_eq!(answer["rows"][0][0], last);
}

#[test]
fn empty_answer_offers_a_longer_time() {
    let ran = run(&["ask", SAMPLE, "who deleted the bucket reports-prod?"]);
    assert_eq!(ran.code(), 4);
    let out = ran.out();
    assert!(out.contains("The question names no time, so these are the last 24 hours."), "{out}");
    assert!(out.contains("No event matches. Ask about a longer time, for example \"in the last 7 days\"."), "{out}");
}

#[test]
fn question_that_is_not_understood_is_not_run() {
    let ran = run(&["ask", "/no/such/folder", "console logins of alice at lunch", "--json"]);
    assert_eq!(ran.code(), 2);
    let reason = ran.json()["reason"].as_str().unwrap().to_owned();
    assert!(reason.contains("this word was not understood: lunch"), "{reason}");
    assert!(reason.contains("the question means: The newest 100 events"), "{reason}");
}

#[test]
fn plan_is_shown_without_opening_the_source() {
    let ran = run(&["ask", "/no/such/folder", "denied requests by user on 2026-11-03", "--show-plan"]);
    assert_eq!(ran.code(), 0, "{ran:?}");
    let plan = ran.json();
    assert_eq!(plan["groups"]["by"][0], "principal");
    assert_eq!(plan["time"]["since"], "2026-11-03T00:00:00Z");
}

#[test]
fn options_can_be_before_between_and_after_source_and_question() {
    let question = "denied requests by user on 2026-11-03";
    let folder = "/no/such/folder";
    let plan = run(&["ask", folder, question, "--show-plan"]);
    assert_eq!(plan.code(), 0, "{plan:?}");
    for arguments in [
        &["ask", "--show-plan", folder, question][..],
        &["ask", folder, "--show-plan", question],
        &["ask", folder, "--threads", "2", "--show-plan", "--json", question],
        &["ask", "--threads=2", folder, "--show-plan", "--", question],
        // The settings name the source.
        &["ask", question, "--show-plan"],
        &["ask", "--show-plan", question],
    ] {
        let ran = run(arguments);
        assert_eq!((ran.code(), ran.out()), (0, plan.out()), "{arguments:?}: {ran:?}");
    }
    for (arguments, expected) in [
        (&["ask", "--json"][..], "the question is missing"),
        (&["ask", folder, "--json", question, "more"], "unexpected argument 'more'"),
        (&["ask", "gs://bucket", question], "invalid source \"gs://bucket\": unknown scheme gs://"),
        (&["ask", folder, "--athena", "lake", question], "cannot be used with --athena"),
    ] {
        let ran = run(arguments);
        assert_eq!(ran.code(), 2, "{arguments:?}: {ran:?}");
        assert!(format!("{}{}", ran.out(), ran.err()).contains(expected), "{arguments:?}: {ran:?}");
    }
}
