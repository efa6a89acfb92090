//! The states that raise alarms, as far as a test can create them, and what shows that a section's commands found the
//! cause or corrected it.

use crate::bed::stack::Stack;
use crate::bed::stack::lake::id;
use crate::{PATIENCE, key, object, wait_for};
use aws_sdk_lambda::types::Environment;
use std::collections::HashMap;
use std::time::Duration;

/// The setting without which the ingest function cannot start.
const SETTING: &str = "TRAILHOSE_TABLE";

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

/// All events of this test are older than an hour, so the function has written a lag that raises the alarm.
pub fn lag_exceeds_an_hour(stack: &Stack) {
    let log = stack.log();
    let lags = log.split("\"Lag\":").skip(1).filter_map(|rest| rest.split([',', '}']).next()?.parse::<u64>().ok());
    assert!(lags.max().is_some_and(|lag| lag > 3_600), "{}", stack.log_tail());
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
