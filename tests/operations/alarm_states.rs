//! The states that raise alarms, as far as a test can create them, and what shows that a section's commands found the
//! cause or corrected it.

use crate::bed::stack::lake::id;
use crate::bed::stack::{LOG_BUCKET, Stack};
use crate::{PATIENCE, STACK, key, log_at, object, put, run, wait_for};
use aws_sdk_lambda::types::Environment;
use aws_sdk_sqs::types::MessageAttributeValue;
use std::collections::HashMap;
use std::time::Duration;
use trailhose::notification::{self, FIRST_SEEN_ATTRIBUTE, SOURCE_ATTRIBUTE};
use trailhose::object::ObjectRef;

/// The setting without which the ingest function cannot start.
const SETTING: &str = "TRAILHOSE_TABLE";

/// The object of an outage of two days.
const WAITING: u32 = 26;

/// The object of a pause of two hours.
const LATE: u32 = 27;

const TWO_HOURS: u64 = 2 * 3600;

fn lambda(stack: &Stack) -> aws_sdk_lambda::Client {
    aws_sdk_lambda::Client::new(&stack.config())
}

/// Waits until this object's event is delivered.
async fn delivered(stack: &Stack, number: u32) {
    wait_for(stack, "the object is delivered", async || stack.lake().await.contains_key(&id(number))).await;
}

/// The bucket does not notify the queue: `trailhose wire` connects them again.
pub async fn notification_is_removed(stack: &Stack) {
    stack.unwire().await;
    stack.put(&key(60), object(60)).await;
}

pub async fn notification_is_added_again(stack: &Stack) {
    stack.put(&key(61), object(61)).await;
    delivered(stack, 61).await;
}

/// An object has waited in the deferred queue for two days, and the outage lasts. A test cannot wait so long, so it sends the
/// message that the function sent two days ago. The function receives it and reports its age.
pub async fn object_waits_for_two_days(stack: &Stack) {
    let written = stack.log().len();
    let queue = stack.output("IngestQueueArn").to_owned();
    let two_days_ago = (jiff::Timestamp::now().as_second() - 2 * 86_400).to_string();
    let mut send = stack.sqs.send_message().queue_url(stack.output("DeferredQueueUrl"));
    for (name, text) in [(FIRST_SEEN_ATTRIBUTE, &two_days_ago), (SOURCE_ATTRIBUTE, &queue)] {
        let value = MessageAttributeValue::builder().data_type("String").string_value(text).build().unwrap();
        send = send.message_attributes(name, value);
    }
    put(stack, WAITING..WAITING + 1).await;
    send.message_body(notification::render(&ObjectRef::new(LOG_BUCKET, key(WAITING)))).send().await.unwrap();
    wait_for(stack, "the age is reported", async || {
        seconds(&stack.log()[written..], "OldestUnfinishedAge").any(|age| age >= 2 * 86_400)
    })
    .await;
}

/// A pause leaves an object whose event is two hours old. The function delivers it after the pause.
pub async fn backlog_is_two_hours_old(stack: &Stack) {
    let ran = run(stack, &["pause", "--stack", STACK]);
    assert_eq!(ran.code(), 0, "{ran:?}");
    let written = stack.log().len();
    let time = jiff::Timestamp::from_second(jiff::Timestamp::now().as_second() - TWO_HOURS as i64).unwrap();
    stack.put(&key(LATE), crate::laptop::gzip(&log_at(LATE, "GetObject", time))).await;
    wait_for(stack, "the notification waits", async || stack.messages_in("IngestQueueUrl").await > 0).await;
    let ran = run(stack, &["resume", "--stack", STACK]);
    assert_eq!(ran.code(), 0, "{ran:?}");
    delivered(stack, LATE).await;
    wait_for(stack, "the lag is reported", async || seconds(&stack.log()[written..], "Lag").any(is_two_hours)).await;
}

/// Returns whether a lag is that of [`backlog_is_two_hours_old`]. All other events of this test are days old.
pub fn is_two_hours(lag: u64) -> bool {
    (TWO_HOURS..TWO_HOURS + PATIENCE.as_secs()).contains(&lag)
}

/// Returns the values of a metric in lines of a log.
pub fn seconds(log: &str, metric: &str) -> impl Iterator<Item = u64> {
    let name = format!("\"{metric}\":");
    let values = log.split(&*name).skip(1).filter_map(|rest| rest.split([',', '}']).next()?.trim().parse().ok());
    values.collect::<Vec<_>>().into_iter()
}

/// Two objects contain different events with the same ID.
pub async fn event_conflicts(stack: &Stack) {
    stack.put(&key(62), crate::laptop::gzip(&crate::log(0, "CHANGED"))).await;
    // The function writes the log after it has processed the object.
    wait_for(stack, "the conflict is logged", async || stack.log().contains(&key(62))).await;
    stack.drained(PATIENCE).await;
}

/// The function cannot start, because its setting was removed outside of the stack. The error that names the setting is
/// in the emulator's own log: unlike Lambda, it does not add the output of such a function to the log group.
pub async fn function_cannot_start(stack: &Stack) -> HashMap<String, String> {
    // The messages are not received so often that they go to the dead-letter queue.
    stack.set_visibility(Duration::from_secs(10)).await;
    let name = stack.output("IngestFunctionName");
    let configuration = lambda(stack).get_function_configuration().function_name(name).send().await.unwrap();
    let settings = configuration.environment.unwrap().variables.unwrap();
    let mut fewer = settings.clone();
    assert!(fewer.remove(SETTING).is_some(), "{settings:?}");
    set(stack, fewer).await;
    let written = stack.log().len();
    stack.put(&key(63), object(63)).await;
    wait_for(stack, "the function fails", async || stack.log()[written..].contains(SETTING)).await;
    settings
}

pub async fn function_starts_again(stack: &Stack, settings: HashMap<String, String>) {
    assert!(!stack.lake().await.contains_key(&id(63)));
    set(stack, settings).await;
    delivered(stack, 63).await;
    stack.set_visibility(Duration::from_secs(5)).await;
}

async fn set(stack: &Stack, settings: HashMap<String, String>) {
    let environment = Environment::builder().set_variables(Some(settings)).build();
    let update = lambda(stack).update_function_configuration().function_name(stack.output("IngestFunctionName"));
    update.environment(environment).send().await.unwrap();
}

/// Lambda starts no invocation.
pub async fn function_is_throttled(stack: &Stack) {
    let put = lambda(stack).put_function_concurrency().function_name(stack.output("IngestFunctionName"));
    put.reserved_concurrent_executions(0).send().await.unwrap();
    stack.put(&key(64), object(64)).await;
}

pub async fn function_is_not_throttled(stack: &Stack) {
    assert!(!stack.lake().await.contains_key(&id(64)), "the function ran");
    let delete = lambda(stack).delete_function_concurrency().function_name(stack.output("IngestFunctionName"));
    delete.send().await.unwrap();
    delivered(stack, 64).await;
}

/// Asserts that the section's command printed the object whose event was not delivered, and no other line of the log.
pub fn conflict_names_its_object(printed: &str) {
    assert!(printed.contains(&key(62)) && !printed.contains("EventsConflicting"), "{printed}");
}
