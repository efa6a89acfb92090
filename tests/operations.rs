//! The operation of one deployed stack on an emulator of AWS: pause and resume, an outage, and every command of
//! `docs/operations.md`. A command or section of the page that this test does not know fails it.
//!
//! Differences from AWS: the emulator changes an event source mapping at once, so that the states `Disabling` and
//! `Enabling` do not occur; `src/pause.rs` tests the steps for every state. It raises no alarms, so the test creates the
//! state that raises an alarm and executes the commands of its section. `tests/operations/aws` replaces the AWS CLI
//! and derives its operations and options from botocore's service models. `sam deploy` is the test environment's.

mod bed;
mod laptop;
mod operations {
    pub mod alarm_states;
    pub mod page;
}

use bed::faults::Fault;
use bed::stack::lake::{each_once, id};
use bed::stack::{LOG_BUCKET, Stack};
use laptop::{Ran, trailhose_at};
use operations::alarm_states as states;
use operations::page::{self, Section, Shell};
use serde_json::{Value, json};
use std::collections::{BTreeSet, HashMap};
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};
use trailhose::notification::{self, FIRST_SEEN_ATTRIBUTE, REASON_ATTRIBUTE, SOURCE_ATTRIBUTE};
use trailhose::object::ObjectRef;

/// On a busy machine, a message can become visible while its first receiver still works. It is then hidden until that
/// receiver's lease expires, for six minutes: slow, but correct.
const PATIENCE: Duration = Duration::from_secs(420);

/// The name of the stack in the test environment.
const STACK: &str = "trailhose";

fn ingest() -> PathBuf {
    bed::lambda_program("ingest")
}

/// Returns a CloudTrail object with this event.
fn object(number: u32) -> Vec<u8> {
    laptop::gzip(&log(number, "GetObject"))
}

/// Returns the content of an object with one event.
fn log(number: u32, name: &str) -> String {
    log_at(number, name, format!("2026-11-20T10:{:02}:00Z", number % 60).parse().unwrap())
}

/// Returns the content of an object with one event of this time.
fn log_at(number: u32, name: &str, time: jiff::Timestamp) -> String {
    let event = json!({
        "eventVersion": "1.11",
        "eventTime": time.to_string(),
        "eventName": name,
        "awsRegion": "eu-west-1",
        "recipientAccountId": "111122223333",
        "eventID": id(number),
    });
    json!({ "Records": [event] }).to_string()
}

fn key(number: u32) -> String {
    format!(
        "AWSLogs/111122223333/CloudTrail/eu-west-1/2026/11/20/\
         111122223333_CloudTrail_eu-west-1_20261120T10{:02}Z_{number:016}.json.gz",
        number % 60
    )
}

async fn put(stack: &Stack, numbers: std::ops::Range<u32>) {
    for number in numbers {
        stack.put(&key(number), object(number)).await;
    }
}

fn run(stack: &Stack, arguments: &[&str]) -> Ran {
    Ran(trailhose_at(&stack.endpoint()).args(arguments).output().unwrap())
}

/// Returns the state of the ingestion.
fn status(stack: &Stack) -> Value {
    let ran = run(stack, &["pause", "--stack", STACK, "--status", "--json"]);
    assert_eq!(ran.code(), 0, "{ran:?}");
    ran.json()
}

/// Waits until this number of messages is in the ingest queue.
async fn waiting(stack: &Stack, messages: u64) {
    let start = Instant::now();
    while stack.messages_in("IngestQueueUrl").await != messages {
        assert!(start.elapsed() < PATIENCE, "{}", stack.log_tail());
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

async fn check_that_pause_survives_a_deployment_and_loses_nothing(stack: &Stack) {
    put(stack, 0..3).await;
    stack.drained(PATIENCE).await;
    let before = status(stack);
    assert_eq!(
        (&before["ingestion"], before["mappings"].as_array().unwrap().len()),
        (&json!("running"), 5),
        "{before}"
    );

    // A dry run changes nothing.
    let ran = run(stack, &["pause", "--stack", STACK, "--dry-run"]);
    assert_eq!(ran.code(), 0, "{ran:?}");
    assert!(ran.out().contains("would disable the event source mapping IngestFunctionQueue"), "{ran:?}");
    assert!(ran.out().contains("would update the stack: set PausedSince=2"), "{ran:?}");
    assert_eq!(status(stack), before);

    let ran = run(stack, &["pause", "--stack", STACK]);
    assert_eq!(ran.code(), 0, "{ran:?}");
    for words in ["paused since", "resume before", "BacklogAlarm after 1 hour", "disabled"] {
        assert!(ran.out().contains(words), "{words}: {ran:?}");
    }
    let paused = status(stack);
    assert_eq!((&paused["ingestion"], &paused["schedule_enabled"]), (&json!("paused"), &json!(false)), "{paused}");
    let time = |name: &str| paused[name].as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
    let life = time("resume_before").duration_since(time("paused_since"));
    assert_eq!(life.as_hours(), 8 * 24, "the retention of the ingest queue");

    // A second pause changes nothing, in particular not the time.
    let ran = run(stack, &["pause", "--stack", STACK, "--json"]);
    assert_eq!((ran.code(), ran.json()), (0, paused.clone()), "{ran:?}");
    assert_eq!(ran.err(), "", "no step");

    // New objects wait. A deployment in between changes the function, and not the pause.
    put(stack, 3..6).await;
    waiting(stack, 3).await;
    stack.deploy_again(&ingest(), &["MemoryMiB=640"]);
    stack.set_visibility(Duration::from_secs(5)).await;
    put(stack, 6..8).await;
    waiting(stack, 5).await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    let deployed = status(stack);
    assert_eq!(deployed["waiting"]["ingest"], 5, "{deployed}");
    for member in ["ingestion", "paused_since", "mappings", "schedule_enabled"] {
        assert_eq!(deployed[member], paused[member], "{member}");
    }
    assert_eq!(stack.lake().await, each_once(0..3), "nothing is delivered during the pause");

    let ran = run(stack, &["resume", "--stack", STACK, "--dry-run", "--json"]);
    assert_eq!(
        (ran.code(), &ran.json()["steps"][0]),
        (0, &json!({"step": "update_stack", "paused_since": ""})),
        "{ran:?}"
    );
    assert_eq!(status(stack)["ingestion"], "paused", "a dry run changes nothing");
    let ran = run(stack, &["resume", "--stack", STACK, "--json"]);
    assert_eq!((ran.code(), &ran.json()["ingestion"]), (0, &json!("running")), "{ran:?}");
    stack.drained(PATIENCE).await;
    assert_eq!(stack.lake().await, each_once(0..8), "{}", stack.log_tail());
    let ran = run(stack, &["resume", "--stack", STACK, "--dry-run"]);
    assert_eq!((ran.code(), ran.out()), (0, "nothing to change\n".to_owned()), "{ran:?}");

    // A mapping that a person disabled in the console is shown, and resume enables it.
    let lambda = aws_sdk_lambda::Client::new(&stack.config());
    let mapping = |name: &str| {
        let found = before["mappings"].as_array().unwrap().iter().find(|mapping| mapping["name"] == name);
        found.unwrap()["id"].as_str().unwrap().to_owned()
    };
    lambda.update_event_source_mapping().uuid(mapping("IngestFunctionQueue")).enabled(false).send().await.unwrap();
    assert_eq!(status(stack)["ingestion"], "inconsistent");
    let ran = run(stack, &["resume", "--stack", STACK]);
    assert_eq!(ran.code(), 0, "{ran:?}");
    assert_eq!(ran.err().trim(), "enable the event source mapping IngestFunctionQueue", "{ran:?}");
    put(stack, 8..9).await;
    stack.drained(PATIENCE).await;
    assert_eq!(stack.lake().await, each_once(0..9), "{}", stack.log_tail());

    let ran = run(stack, &["pause", "--stack", "no-such-stack"]);
    assert_eq!(ran.code(), 2, "{ran:?}");
    assert!(ran.err().contains("stack no-such-stack does not exist in the region us-east-1"), "{ran:?}");
}

/// The commands of the page that another test executes, and that test.
const EXECUTED_ELSEWHERE: [(&str, &str); 1] =
    [("sam build", "events/README.md and the packaging test build the functions")];

/// Waits until this holds.
async fn wait_for(stack: &Stack, what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let start = Instant::now();
    while !holds().await {
        assert!(start.elapsed() < PATIENCE, "{what}:\n{}", stack.log_tail());
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
}

/// Creates the state in which the section's commands are needed. Returns the settings of the function to restore.
async fn prepare(stack: &Stack, section: &str, shell: &mut Shell<'_>) -> HashMap<String, String> {
    match section {
        "BreakerAlarm" => {
            stack.faults.on("PutRecordBatch", 0..usize::MAX, Fault::Deny);
            put(stack, 20..24).await;
            wait_for(stack, "objects are deferred", async || stack.messages_in("DeferredQueueUrl").await >= 4).await;
            // After four days the function would move a message to the dead-letter queue. A test cannot wait so long, so it
            // sends the message that the function sends then; tests/outage.rs tests the four days.
            let queue = stack.output("IngestQueueArn").to_owned();
            let four_days_ago = (jiff::Timestamp::now().as_second() - 4 * 86_400).to_string();
            let reason = "access denied to Firehose: allow firehose:PutRecordBatch on this stream for this role";
            let mut send = stack.sqs.send_message().queue_url(stack.output("DeadLetterQueueUrl"));
            for (name, value) in
                [(FIRST_SEEN_ATTRIBUTE, &*four_days_ago), (SOURCE_ATTRIBUTE, &queue), (REASON_ATTRIBUTE, reason)]
            {
                let value =
                    aws_sdk_sqs::types::MessageAttributeValue::builder().data_type("String").string_value(value);
                send = send.message_attributes(name, value.build().unwrap());
            }
            put(stack, 24..25).await;
            let object = ObjectRef::new(LOG_BUCKET, key(24));
            send.message_body(notification::render(&object)).send().await.unwrap();
        }
        "DeadLettersAlarm" => {
            stack.faults.heal();
            // A new instance has a closed breaker. Otherwise the next sections would wait a minute for the probe of the
            // open one, which tests/deploy.rs tests.
            stack.kill_functions(usize::MAX);
        }
        "QuarantineAlarm" => {
            let damaged = &object(50)[..40];
            stack.put(&key(50), damaged).await;
            let ledger = format!("dynamodb://{}", stack.output("LedgerTableName"));
            let list = ["ledger", "quarantine", "list", "--ledger", &ledger];
            wait_for(stack, "the object is quarantined", async || run(stack, &list).out().contains(&key(50))).await;
            let head = stack.s3.head_object().bucket(LOG_BUCKET).key(key(50)).send().await.unwrap();
            let etag = head.e_tag().unwrap().trim_matches('"').to_owned();
            shell.define("object", &format!("s3://{LOG_BUCKET}/{}#{etag}", key(50)));
        }
        "BackfillDeadLettersAlarm" => {
            stack.set_backfill_visibility(Duration::from_secs(1)).await;
            stack.send_task("no task").await;
            wait_for(stack, "the task is given up", async || {
                stack.messages_in("BackfillDeadLetterQueueUrl").await == 1
            })
            .await;
        }
        "NoObjectsAlarm" => states::notification_is_removed(stack).await,
        "DeferredAgeAlarm" => states::object_waits_for_two_days(stack).await,
        "LagAlarm" => states::backlog_is_two_hours_old(stack).await,
        "ConflictsAlarm" => states::event_conflicts(stack).await,
        "ErrorsAlarm" => return states::function_cannot_start(stack).await,
        "ThrottlesAlarm" => states::function_is_throttled(stack).await,
        "Replay" => {
            stack.drained(PATIENCE).await;
            let lake = stack.lake().await;
            let outage: Vec<_> = (20..25).chain([26]).map(|number| lake.get(&id(number)).copied()).collect();
            assert_eq!(outage, [Some(1); 6], "each object of the outage is delivered once\n{}", stack.log_tail());
            kill_a_replay(stack, shell).await;
        }
        _ => {}
    }
    HashMap::new()
}

/// Starts the replay of the section and kills it after some of its objects were delivered. The section's command then
/// continues it.
async fn kill_a_replay(stack: &Stack, shell: &Shell<'_>) {
    let before = stack.faults.count("PutRecordBatch");
    // A refused call has no effect, and the program repeats it.
    stack.faults.on("PutRecordBatch", before + 4..usize::MAX, Fault::Unavailable);
    let mut command = trailhose_at(&stack.faults.endpoint());
    command.args(["replay", "--stack", STACK, "--since", "2026-11-20", "--until", "2026-11-21", "--yes"]);
    command.current_dir(shell.folder()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut replay = command.spawn().unwrap();
    wait_for(stack, "calls are refused", async || stack.faults.count("PutRecordBatch") >= before + 8).await;
    replay.kill().unwrap();
    assert_eq!(replay.wait().unwrap().code(), None, "the replay ended before it was killed");
    stack.faults.heal();
    let lake = stack.lake().await;
    let again = lake.values().filter(|copies| **copies > 1).count();
    assert!((1..=4).contains(&again), "{lake:?}");
}

/// Checks what a section's commands printed, and their effect.
async fn check(stack: &Stack, section: &str, printed: &[String], settings: HashMap<String, String>) {
    let says =
        |words: &str| assert!(printed.iter().any(|text| text.contains(words)), "{section}: {words}: {printed:#?}");
    match section {
        "Pause and resume" => {
            says("would update the stack");
            assert_eq!(status(stack)["ingestion"], "running");
        }
        "BreakerAlarm" => {
            says("firehose:PutRecordBatch");
            says("ACTIVE");
        }
        "UnfinishedAlarm" => says("messages in deferred"),
        "DeferredAgeAlarm" => {
            says("messages in deferred");
            says("firehose:PutRecordBatch");
            assert!(states::seconds(&printed[1], "OldestUnfinishedAge").any(|age| age >= 2 * 86_400), "{printed:#?}");
        }
        "LagAlarm" => {
            says("running");
            assert!(states::seconds(&printed[1], "Lag").any(states::is_two_hours), "{printed:#?}");
        }
        "DeadLettersAlarm" => {
            says("would be returned");
            says("PutRecordBatch");
            assert_eq!(stack.messages_in("DeadLetterQueueUrl").await, 0);
            // Before the section "Replay", the test asserts that the objects are delivered.
        }
        "QuarantineAlarm" => {
            says("1 object accepted");
            says("gzip");
            wait_for(stack, "the backfill is recorded", async || {
                let ledger = format!("dynamodb://{}", stack.output("LedgerTableName"));
                run(stack, &["backfill", "status", "--ledger", &ledger]).code() == 0
            })
            .await;
        }
        "BacklogAlarm" => says("running"),
        "NoObjectsAlarm" => {
            says(stack.output("IngestQueueArn"));
            says("AllowLogBucket");
            says(&key(0));
            assert!(
                !printed[0].contains(stack.output("IngestQueueArn")),
                "the first command shows the cause: {printed:?}"
            );
            states::notification_is_added_again(stack).await;
        }
        "ConflictsAlarm" => states::conflict_names_its_object(&printed[0]),
        "ErrorsAlarm" => {
            says("Active");
            states::function_starts_again(stack, settings).await;
        }
        "ThrottlesAlarm" => {
            says("ReservedConcurrentExecutions");
            states::function_is_not_throttled(stack).await;
        }
        "BackfillDeadLettersAlarm" => says("would be returned"),
        "BackfillEmptyAlarm" => says("AWSLogs/"),
        "LakeAlarm" => says("ACTIVE"),
        "RulesUnusableAlarm" => says("cannot read s3://security-rules/trailhose/manifest.json"),
        "DetectErrorsAlarm" => says("Active"),
        "Replay" => {
            let [before, _, after] = printed else { panic!("{printed:?}") };
            let left = |text: &str| -> u64 {
                let line = text.lines().find(|line| line.trim_start().starts_with("left")).unwrap();
                line.split_whitespace().nth(1).unwrap().parse().unwrap()
            };
            assert!(left(before) >= 10 && left(after) <= 1, "only the damaged object is left: {printed:#?}");
            let lake = stack.lake().await;
            let copies: BTreeSet<_> =
                (0..9).chain(20..25).chain([26, 27, 61, 63, 64]).map(|number| lake[&id(number)]).collect();
            assert_eq!(copies, [2].into(), "each event is delivered once more: {lake:?}");
        }
        "Upgrade" => {
            says("IngestFunction");
            says("running");
        }
        "Removal" => {
            let tables = stack.dynamodb.list_tables().send().await.unwrap();
            assert!(tables.table_names().is_empty(), "{tables:?}");
            let buckets = stack.s3.list_buckets().send().await.unwrap();
            let names: Vec<_> = buckets.buckets().iter().filter_map(|bucket| bucket.name()).collect();
            assert!(!names.contains(&stack.output("LakeBucketName")), "{names:?}");
        }
        _ => {}
    }
}

/// Executes the commands of a section.
async fn execute(stack: &Stack, Section { name, commands }: &Section, shell: &mut Shell<'_>) {
    let settings = prepare(stack, name, shell).await;
    let mut printed = Vec::new();
    for command in commands {
        if EXECUTED_ELSEWHERE.iter().any(|(elsewhere, _)| elsewhere == command) || command.starts_with("object='s3://")
        {
            continue;
        }
        if let Some(options) = command.strip_prefix("sam deploy --stack-name trailhose") {
            match options {
                "" => stack.deploy_again(&ingest(), &["MemoryMiB=704"]),
                " --no-execute-changeset" => stack.create_change_set(&ingest(), &["MemoryMiB=704"]),
                other => panic!("{command}: unknown option {other}"),
            }
            continue;
        }
        // The damaged object, which `explain` reports and a replay quarantines.
        let exit_code = if command.starts_with("trailhose explain") || command.ends_with("--yes") && name == "Replay" {
            3
        } else {
            0
        };
        printed.push(shell.run(&command.replace("my-trail-bucket", LOG_BUCKET), exit_code));
    }
    check(stack, name, &printed, settings).await;
}

#[test]
fn page_has_a_section_with_commands_for_each_alarm() {
    let sections: BTreeSet<String> = page::sections().into_iter().map(|section| section.name).collect();
    let alarms = page::alarms();
    assert!(alarms.len() >= 14, "{alarms:?}");
    let missing: Vec<_> = alarms.difference(&sections).collect();
    assert!(missing.is_empty(), "docs/operations.md has no section with commands for {missing:?}");
}

#[test]
fn section_of_each_alarm_names_the_checks_that_find_its_cause() {
    let read = |page: &str| std::fs::read_to_string(bed::root().join(page)).unwrap();
    let (operations, doctor) = (read("docs/operations.md"), read("docs/doctor.md"));
    for alarm in page::alarms() {
        let (_, section) = operations.split_once(&format!("\n### {alarm}\n")).unwrap();
        let (text, _) = section.split_once("\n```").unwrap();
        let (_, look) = text.split_once("\n- **Look at** ").unwrap_or_else(|| panic!("{alarm}: what to look at"));
        let (look, _) = look.split_once("\n- **").unwrap();
        let quoted = look.split('`').skip(1).step_by(2);
        let checks: Vec<_> = quoted.filter(|name| name.contains('.')).collect();
        for check in &checks {
            assert!(doctor.contains(&format!("\n| `{check}` |")), "{alarm}: {check} is no check of trailhose doctor");
        }
        assert!(!checks.is_empty() || look.contains("No check of `trailhose doctor`"), "{alarm}: {look}");
    }
}

#[tokio::test]
async fn every_command_of_the_page_works_on_a_deployed_stack() {
    // No rules are published there, so the detection records and sends nothing.
    let rules = "RulesLocation=s3://security-rules/trailhose";
    let stack = Stack::deploy_with(&ingest(), &[rules]).await;
    check_that_pause_survives_a_deployment_and_loses_nothing(&stack).await;
    let folder = tempfile::tempdir().unwrap();
    let endpoint = stack.endpoint();
    let mut shell = Shell::new(&endpoint, folder.path());
    for section in page::sections() {
        let start = Instant::now();
        execute(&stack, &section, &mut shell).await;
        println!("{}: {} commands, {:.0?}", section.name, section.commands.len(), start.elapsed());
    }
}
